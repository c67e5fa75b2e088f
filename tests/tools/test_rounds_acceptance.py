"""The acceptance list of quota rounds, point by point, on the stand-in program."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest


def test_every_object_gets_exactly_its_target(experiment):
    assert experiment.run(target=21, batch=4) == 0
    for object_code in ("box", "cup"):
        final = experiment.load(object_code)
        assert {key: len(array) for key, array in final.items()} == {"samples": 21, "energies": 21, "meta": 21}
        assert experiment.manifest()["objects"][object_code]["count"] == 21


def test_samples_are_those_of_the_rounds_in_order_and_say_where_they_come_from(experiment):
    assert experiment.run("--keep_intermediate", target=10, batch=4) == 0
    final = experiment.load("cup")
    rounds = [np.load(f"data/experiments/exp__cup__r{number}/results/result.npz") for number in range(3)]
    np.testing.assert_array_equal(final["samples"], np.concatenate([found["samples"] for found in rounds])[:10])
    total = np.concatenate([found["energies.total"] for found in rounds])[:10]
    np.testing.assert_array_equal(final["energies"]["total"], total)
    assert final["meta"]["round_id"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert final["meta"]["seed"][-1] == 100_002
    assert final["meta"]["name"][-1] == "exp__cup__r2"


def test_seeds_are_all_different_follow_the_rule_and_are_in_the_manifest(experiment):
    assert experiment.run("--seed_base", "7") == 0
    manifest = experiment.manifest()
    seeds = {(line["object_index"], line["round_id"]): line["seed"] for line in manifest["rounds"]}
    assert all(seed == 7 + index * 100_000 + round_id for (index, round_id), seed in seeds.items())
    assert len(set(seeds.values())) == len(seeds) == 10
    assert manifest["objects"]["cup"]["seeds"] == [100_007 + round_id for round_id in range(5)]
    assert {line["name"] for line in experiment.rounds("box")} == {f"exp__box__r{number}" for number in range(5)}


def test_result_does_not_depend_on_the_slots(make_experiment):
    one, two = make_experiment("one"), make_experiment("two")
    one.gpus = one.gpus.split(",")[0]
    for experiment in (one, two):
        assert make_experiment(experiment.root.name) and experiment.run(fake="--sleep 0.01") == 0
    assert one.final("cup").read_bytes() == two.final("cup").read_bytes()


def test_failed_round_is_noted_and_tried_again_with_the_same_seed(experiment):
    assert experiment.run(fake="--bad exit --bad_rounds 1 --once") == 0
    [failed] = [line for line in experiment.rounds() if line["failures"]]
    assert (failed["round_id"], failed["status"], failed["merged"], failed["seed"]) == (1, "merged", True, 1)
    [failure] = failed["failures"]
    assert (failure["reason"], failure["returncode"], failure["attempt"]) == ("exit code 3", 3, 0)
    assert failure["gpu"] in experiment.gpus.split(",")


def test_round_that_fails_too_often_is_skipped_and_noted(experiment):
    assert experiment.run(fake="--bad exit --bad_rounds 1") == 0
    [skipped] = [line for line in experiment.rounds() if line["status"] == "skipped"]
    assert (skipped["round_id"], len(skipped["failures"]), skipped["merged"]) == (1, 3, False)
    assert 1 not in experiment.load()["meta"]["round_id"]
    assert len(experiment.load()["samples"]) == 20
    assert experiment.manifest()["objects"]["box"]["skipped_rounds"] == [1]


def test_program_that_never_works_is_given_up_with_exit_code_1(experiment, capsys):
    assert experiment.run("--retries", "0", "--give_up_after", "2", fake="--no-such-flag", objects=["box"]) == 1
    assert "2 rounds in a row gave no sample" in capsys.readouterr().out
    assert experiment.manifest()["objects"]["box"]["status"] == "given up"


def test_max_rounds_ends_an_object_and_resume_with_more_goes_on(experiment, capsys):
    assert experiment.run("--max_rounds", "3", objects=["box"]) == 1
    assert "max_rounds of 3 reached" in capsys.readouterr().out
    assert len(experiment.load()["samples"]) == 12
    assert experiment.run("--max_rounds", "9", "--resume", objects=["box"]) == 0
    assert len(experiment.load()["samples"]) == 20


def test_resume_runs_only_what_is_not_done(experiment):
    assert experiment.run("--max_rounds", "3") == 1
    started = {line["name"]: line["started"] for line in experiment.manifest()["rounds"]}
    assert experiment.run("--resume", "--max_rounds", "5") == 0
    again = {line["name"]: line["started"] for line in experiment.manifest()["rounds"]}
    assert {name: again[name] for name in started} == started
    assert len(again) == 10


def test_resume_with_nothing_to_resume_starts_anew(experiment):
    assert experiment.run("--resume") == 0
    assert len(experiment.load()["samples"]) == 20


def test_resume_of_a_finished_experiment_changes_nothing(experiment):
    assert experiment.run() == 0
    before = experiment.final().read_bytes(), experiment.final().stat().st_mtime_ns
    assert experiment.run("--resume") == 0
    assert (experiment.final().read_bytes(), experiment.final().stat().st_mtime_ns) == before


def test_larger_target_goes_on_and_equals_a_run_with_it(make_experiment):
    grown = make_experiment("grown")
    assert grown.run(target=10) == 0
    assert grown.run("--resume", target=23) == 0
    straight = make_experiment("straight")
    assert straight.run(target=23) == 0
    assert grown.final("cup").read_bytes() == straight.final("cup").read_bytes()


def test_no_two_programs_at_a_time_on_a_slot(experiment):
    trace = Path("trace")
    trace.mkdir()
    assert experiment.run(fake=f"--sleep 0.02 --trace {trace.absolute()}", target=40) == 0
    runs = sorted(tuple(file.read_text().split()) for file in trace.iterdir())
    assert len(runs) == 20
    assert {gpu for gpu, _, _ in runs} == set(experiment.gpus.split(","))
    for (gpu, _, end), (next_gpu, begin, _) in itertools.pairwise(runs):
        assert gpu != next_gpu or float(begin) >= float(end)


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ((), {"results/config.txt", "results/result.npz"}),
        (("--cleanup", "*"), None),
        (("--clean_after", "round"), {"results/config.txt", "results/result.npz"}),
        (
            ("--keep_intermediate",),
            {
                *("results/config.txt", "results/result.npz", "results/samples_100.npy"),
                *("frames/0.png", "optimization_0.mp4"),
            },
        ),
    ],
)
def test_only_the_final_files_and_the_wanted_traces_stay(experiment, flags, kept):
    assert experiment.run(*flags, fake="--litter") == 0
    folder = Path("data/experiments/exp__box__r0")
    found = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} if folder.exists() else None
    assert found == kept
    assert not (experiment.folder / "final" / "box" / "parts").exists()
    assert experiment.final().exists()


def test_merge_stride_does_not_change_the_result(make_experiment):
    finals = []
    for stride in ("1", "3", "50"):
        experiment = make_experiment(stride)
        assert experiment.run("--merge_stride", stride, target=37) == 0
        finals.append(experiment.final("cup").read_bytes())
    assert finals[0] == finals[1] == finals[2]


def test_missing_field_is_recorded_and_the_samples_are_kept(experiment):
    assert experiment.run(fake="--bad missing --bad_rounds 0,2") == 0
    final = experiment.load()
    gone = np.isin(final["meta"]["round_id"], (0, 2))
    np.testing.assert_array_equal(np.isnan(final["energies"]["distance"]), gone)
    np.testing.assert_array_equal(final["missing.energies.distance"], gone)
    assert [line["missing"] for line in experiment.rounds()][2] == ["energies.distance"]


def test_filter_and_near_duplicates_are_left_out_and_counted(experiment):
    flags = ("--filter", "energies.penetration<=0.5", "--min_distance", "0.2", "--keep_intermediate")
    assert experiment.run(*flags, batch=16) == 0
    final = experiment.load()
    assert len(final["samples"]) == 20
    assert (final["energies"]["penetration"] <= 0.5).all()
    gaps = np.linalg.norm(final["samples"][:, None] - final["samples"][None], axis=-1)
    assert gaps[~np.eye(20, dtype=bool)].min() > 0.2
    first = experiment.rounds()[0]
    assert first["kept"] + first["filtered"] + first["duplicates"] == first["samples"] == 16


def test_logs_are_kept_per_slot(experiment):
    assert experiment.run() == 0
    logs = "".join((experiment.folder / "logs" / f"gpu_{gpu}.log").read_text() for gpu in experiment.gpus.split(","))
    assert logs.count("=== ") == 10
    assert "exp__cup__r4 seed 100004 gpu" in logs


def test_final_has_no_time_in_it_and_the_manifest_has(experiment):
    assert experiment.run() == 0
    assert experiment.load()["meta"].dtype.names == ("seed", "round_id", "name")
    assert all(line["started"].startswith("20") for line in experiment.manifest()["rounds"])


def test_four_slots_with_a_program_that_fails_at_random(experiment):
    trace = Path("trace")
    trace.mkdir()
    experiment.gpus = ",".join(f"{experiment.gpus[:8]}{slot}" for slot in "abcd")
    assert experiment.run(fake=f"--fail_rate 0.2 --trace {trace.absolute()}", target=60) == 0
    manifest = experiment.manifest()
    runs = sorted(tuple(file.read_text().split()) for file in trace.iterdir())
    noted = sum(len(line["failures"]) for line in manifest["rounds"])
    good = sum(line["status"] in ("merged", "surplus") for line in manifest["rounds"])
    assert noted == sum(state["failures"] for state in manifest["objects"].values()) > 0
    assert noted + good == len(runs)
    for (gpu, _, end), (next_gpu, begin, _) in itertools.pairwise(runs):
        assert gpu != next_gpu or float(begin) >= float(end)
    assert {len(experiment.load(code)["samples"]) for code in ("box", "cup")} == {60}


def test_manifest_is_json_that_any_program_reads(experiment):
    assert experiment.run() == 0
    text = (experiment.folder / "manifest.json").read_text()
    assert list(json.loads(text)["objects"]) == ["box", "cup"]
