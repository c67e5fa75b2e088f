"""Runs jobs again: one as it was, or the best configurations on fresh seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import optuna
import yaml

from gml import signals
from gml.book import Assignment
from gml.config import SearchConfig
from gml.environment import make_slots, mock_mode
from gml.errors import UserError
from gml.jobs import Job, JobPool, State
from gml.launch import Launcher, job_from_manifest
from gml.rows import Row
from gml.scores import JobScalars
from gml.study import open_study
from gml.summary import mode_of, table, task_rows
from gml.task import TaskFolder

FRESH_SEED = 1_000_000  # first seed of the winner check; a search counts up from task.seed
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Winner:
    """A configuration that was run again.

    Attributes:
        job: where it was found.
        first: its score in the search.
        mean: mean score on the fresh seeds; None if every run failed.
        low: lower end of the 95 % confidence interval of the mean (Student's t); None below two scores.
        high: its upper end.
        scores: score by seed.
        num_failed: runs without a score.
        args: the configuration.
    """

    job: str
    first: float
    mean: float | None
    low: float | None
    high: float | None
    scores: dict[int, float]
    num_failed: int
    args: dict


def check_winners(task: TaskFolder, *, top: int, seeds: int, rows: Sequence[Row] | None = None) -> list[Winner]:
    """Runs the best configurations on seeds that the search has not seen; writes winners.yaml.

    Args:
        task: its folder.
        top: how many configurations.
        seeds: how many runs of each.
        rows: the trials to choose from; default: all.

    Returns:
        The winners by their mean, best first.

    Raises:
        UserError: no job has a score.
    """
    maximize = mode_of(task)[1]
    done = [row for row in (rows or task_rows(task)) if row.value is not None and row.entry]
    if not done:
        raise UserError(f"task {task.name} has no job with a score to check")
    best = sorted(done, key=lambda row: row.value or 0.0, reverse=maximize)[:top]
    config = task.config()
    runs = [
        (row, Assignment(row.number, row.entry["arg_dict"], FRESH_SEED + index))
        for row in best
        for index in range(seeds)
    ]
    scores = _run_all(task, config, runs)
    winners = [_winner(row, scores[row.job], seeds) for row in best]
    order = {True: -1.0, False: 1.0}[maximize]
    winners.sort(key=lambda winner: float("inf") if winner.mean is None else order * winner.mean)
    text = yaml.safe_dump([asdict(winner) for winner in winners], sort_keys=False)
    (task.path / "winners.yaml").write_text(text, encoding="utf-8")
    return winners


def _run_all(task: TaskFolder, config: SearchConfig, runs: list[tuple[Row, Assignment]]) -> dict[str, dict[int, float]]:
    launcher = Launcher(config, task, mock=mock_mode())
    scores: dict[str, dict[int, float]] = {row.job: {} for row, _ in runs}
    started: dict[Job, tuple[Row, Assignment, JobScalars]] = {}
    with JobPool(make_slots(config)) as pool:
        while runs or pool.running:
            while runs and pool.has_room():
                row, assignment = runs.pop(0)
                job = launcher.make(assignment, name=f"check_{row.number:04d}_{assignment.seed}")
                launcher.write(assignment, job)
                started[job] = row, assignment, launcher.scalars(assignment, job)
                pool.start(job)
            signals.check()
            for job in pool.wait(1.0):
                row, assignment, scalars = started.pop(job)
                scalars.read(is_final=True)
                if job.status == State.FINISHED and scalars.score is not None:
                    scores[row.job][assignment.seed] = scalars.score
    return scores


def _winner(row: Row, scores: dict[int, float], seeds: int) -> Winner:
    found = list(scores.values())
    mean = statistics.fmean(found) if found else None
    half = confidence_half_width(found) if len(found) > 1 else None
    low, high = (None, None) if mean is None or half is None else (mean - half, mean + half)
    assert row.value is not None
    return Winner(row.job, row.value, mean, low, high, scores, seeds - len(found), row.entry["arg_dict"])


def confidence_half_width(values: Sequence[float]) -> float:
    """Returns half the width of the 95 % confidence interval of a mean (Student's t)."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2))
    return quantile * statistics.stdev(values) / len(values) ** 0.5


def winners_table(winners: Sequence[Winner]) -> str:
    """Returns a line per winner, best mean first."""

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:g}"

    lines = [
        (
            winner.job,
            shown(winner.first),
            shown(winner.mean),
            f"{shown(winner.low)} .. {shown(winner.high)}",
            str(len(winner.scores)),
            str(winner.num_failed),
            " ".join(f"{key}={value}" for key, value in winner.args.items()),
        )
        for winner in winners
    ]
    return table(("job", "in search", "fresh mean", "95 % interval", "runs", "failed", "args"), lines)


def rerun_job(task: TaskFolder, row: Row) -> tuple[Job, float | None]:
    """Runs a job again from its manifest, beside the search; returns the job and its score."""
    config, name = task.config(), row.job
    folder = task.jobs / f"{name}_again_{datetime.now():%Y%m%d%H%M%S}"
    job = job_from_manifest(task.jobs / name, name=folder.name, job_dir=folder)
    folder.mkdir(parents=True)
    results = {Path(file).name for file in config.pavi.files} | {"training.log", "scalars.jsonl", "process.json"}
    for file in (task.jobs / name).iterdir():
        if file.is_file() and file.name not in results:
            (folder / file.name).write_bytes(file.read_bytes())
    assignment = Assignment(row.number, row.entry.get("arg_dict", {}), row.entry.get("seed", 0))
    scalars = Launcher(config, task, mock=mock_mode()).scalars(assignment, job)
    with JobPool(make_slots(config)) as pool:
        pool.start(job)
        while pool.running:
            signals.check()
            pool.wait(1.0)
    scalars.read(is_final=True)
    return job, scalars.score


def importances(task: TaskFolder) -> dict[str, float]:
    """Returns how much each arg matters for the score (PED-ANOVA); nothing while too few jobs have finished."""
    study = open_study(task.db)
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(done) < 4 or len({trial.value for trial in done}) < 2:
        return {}
    return optuna.importance.get_param_importances(study)
