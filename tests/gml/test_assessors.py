"""Assessors: known answers of their rules."""

import statistics

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gml.assessors import AssessResult, build_assessor
from gml.assessors.curve_fitting import predict

Good, Bad = AssessResult.Good, AssessResult.Bad


def history(*values):
    return [{"iteration": step, "value": value, "created": 0} for step, value in enumerate(values)]


def finished(assessor, *curves):
    for number, curve in enumerate(curves):
        assessor.assess_job(f"done{number}", history(*curve))
        assessor.job_end(f"done{number}")
    return assessor


def median(**settings):
    return build_assessor({"type": "MedianStopAssessor", **settings})


def test_median_rule_compares_best_with_running_averages():
    """Optuna's MedianPruner would stop here: it compares with the raw median 0.7."""
    assessor = finished(median(), [0.1, 0.7], [0.1, 0.7], [0.1, 0.7])
    assert assessor.assess_job("x", history(0.3, 0.5)) == Good  # running averages are 0.4
    assert assessor.assess_job("y", history(0.3, 0.39)) == Bad


@pytest.mark.parametrize(("mode", "value", "result"), [("maximize", 0.2, Good), ("minimize", 0.8, Good)])
def test_median_of_an_even_number_is_in_doubt_for_the_job(mode, value, result):
    assert finished(median(optimize_mode=mode), [0.2], [0.8]).assess_job("x", history(value)) == result


def test_median_waits_for_start_step_and_for_finished_jobs():
    assert median().assess_job("x", history(0.0)) == Good
    assessor = finished(median(start_step=3), [1.0, 1.0, 1.0])
    assert assessor.assess_job("x", history(0.0, 0.0)) == Good
    assert assessor.assess_job("x", history(0.0, 0.0, 0.0)) == Bad
    assert finished(median(), [1.0]).assess_job("x", history(0.0, 0.0)) == Good  # nobody came so far


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=6), min_size=1, max_size=6), st.floats(-5, 5))
def test_median_rule_is_that_of_the_statistics_module(curves, value):
    averages = [curve[0] for curve in curves]
    expected = Good if value >= statistics.median_low(averages) else Bad
    assert finished(median(), *curves).assess_job("x", history(value)) == expected


def test_curves_are_extrapolated_to_their_end():
    curve = [1 - 0.9 * 0.8**step for step in range(10)]
    assert predict(curve, 40) == pytest.approx(1.0, abs=0.05)
    assert predict(curve[:3], 40) is None
    assert predict([0.5, float("nan"), 0.5, 0.6, 0.7], 40) is None


def test_curve_fitting_stops_what_will_stay_below():
    assessor = build_assessor({"type": "CurveFittingAssessor", "epoch_num": 20, "start_step": 6})
    good = [1 - 0.9 * 0.7**step for step in range(20)]
    poor = [0.5 - 0.4 * 0.7**step for step in range(8)]
    assert assessor.assess_job("first", history(*poor)) == Good  # nothing to compare with yet
    finished(assessor, good)
    assert assessor.assess_job("poor", history(*poor)) == Bad
    assert assessor.assess_job("poor", history(*poor[:5])) == Good  # before start_step
    assert assessor.assess_job("same", history(*good[:8])) == Good


POOR_JOB = """
import sys, time
from pavi import SummaryWriter
writer = SummaryWriter("job")
x = float(sys.argv[1])
for step in range(40 if x < 0.5 else 5):
    writer.add_scalar("acc", x, step)
    time.sleep(0.05 if x > 0.5 else 0.5)
"""


@pytest.mark.parametrize(
    "assessor", ["{type: MedianStopAssessor, start_step: 2}", "{type: ThresholdPruner, lower: 0.5}"]
)
def test_poor_job_is_stopped_early_and_keeps_its_last_report(space, assessor):
    space.write("job.py", POOR_JOB)
    space.write(
        "c.yaml",
        "task:\n  template: python job.py {x}\n  search_args: [{type: Categorical, name: x, data: [0.9, 0.1]}]\n"
        f"scheduler: {{assessor: {assessor}}}\n",
    )
    space.call("run", "-t", "t", "c.yaml")
    assert space.states() == ["FINISHED", "EARLY_STOPPED"]
    trial = optuna.load_study(study_name="t", storage=f"sqlite:///{space.task().db}").trials[1]
    assert (trial.state.name, trial.value) == ("PRUNED", 0.1)
