"""Tasks in words and tables."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gml.compare import compare_url, training_url
from gml.errors import DamagedError
from gml.rows import Row, best_row, left_in_error, read_rows
from gml.task import TaskFolder
from pavi import get_latest_scalar
from pavi.reader import parse_line

MAX_FAILED_SHOWN = 20


def mode_of(task: TaskFolder) -> tuple[str, bool]:
    """Returns the name of the reward and whether more of it is better."""
    searcher = task.read_config().get("searcher") or {}
    return str(searcher.get("reward_attribute", "acc")), searcher.get("optimize_mode", "maximize") == "maximize"


def task_rows(task: TaskFolder) -> list[Row]:
    """Returns the trials of a task with states that are true now."""
    return read_rows(task.db, task.is_live)


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """Returns how many jobs are in which state."""
    return dict(sorted(Counter(row.state for row in rows).items()))


def summary(task: TaskFolder, rows: Sequence[Row]) -> dict[str, Any]:
    """Returns a task as plain values, for YAML."""
    reward, maximize = mode_of(task)
    best = best_row(list(rows), maximize=maximize)
    return {
        "task": task.name,
        "folder": str(task.path),
        "schedulers": task.live_schedulers(),
        "compare": {"id": task.compare_id(), "url": compare_url(task.compare_id())},
        "reward_attribute": reward,
        "states": counts(rows),
        "best": None if best is None else job_summary(task, best),
    }


def job_summary(task: TaskFolder, row: Row) -> dict[str, Any]:
    """Returns a job as plain values, for YAML."""
    kept = ("seed", "reason", "returncode", "attempts", "gpu", "retry_of", "wall_s", "return")
    return {
        "job": row.job,
        "state": row.state,
        "reward": row.value,
        "args": row.entry.get("arg_dict", {}),
        "log": str(task.jobs / row.job / "training.log"),
        "url": training_url(row.number),
        **{key: row.entry[key] for key in kept if row.entry.get(key) not in (None, "")},
    }


def all_scalars(task: TaskFolder, row: Row) -> dict[str, list[dict[str, Any]]]:
    """Returns the scalars that a job reported through pavi."""
    file = task.jobs / row.job / "scalars.jsonl"
    if not file.is_file():
        return {}
    lines = file.read_text("utf-8", "replace").splitlines()
    names = dict.fromkeys(scalar.name for line in lines for scalar in parse_line(line))
    return {name: get_latest_scalar(file, name) for name in names}


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table of text."""
    widths = [max(len(cell) for cell in column) for column in zip(header, *lines, strict=True)]
    rows = [header, *lines]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def tasks_table(tasks: Sequence[TaskFolder]) -> str:
    """Returns a line per task."""
    lines = []
    for task in tasks:
        try:
            rows, maximize = task_rows(task), mode_of(task)[1]
        except DamagedError as error:
            lines.append((task.name, "DAMAGED", "-", str(error)))
            continue
        best = best_row(rows, maximize=maximize)
        status = "RUNNING" if task.live_schedulers() else "STOPPED"
        states = ", ".join(f"{num} {state}" for state, num in counts(rows).items())
        value = "-" if best is None or best.value is None else f"{best.value:g}"
        lines.append((task.name, status, value, states or "no jobs"))
    return table(("task", "status", "best", "jobs"), lines)


def jobs_table(task: TaskFolder, rows: Sequence[Row]) -> str:
    """Returns a line per job."""
    lines = []
    for row in rows:
        args = " ".join(f"{key}={value}" for key, value in row.entry.get("arg_dict", {}).items())
        value = "-" if row.value is None else f"{row.value:g}"
        lines.append((row.job, row.state, value, _time(row), args, row.entry.get("reason", "")))
    return table(("job", "state", mode_of(task)[0], "seconds", "args", "reason"), lines)


def _time(row: Row) -> str:
    seconds = row.entry.get("wall_s", row.seconds)
    return "-" if seconds is None else f"{seconds:.1f}"


def finish_line(task: TaskFolder, rows: list[Row], *, maximize: bool) -> str:
    """Returns how a search ended."""
    best = best_row(rows, maximize=maximize)
    states = ", ".join(f"{num} {state}" for state, num in counts(rows).items()) or "no jobs"
    if best is None:
        return f"{task.name}: {states}"
    args = " ".join(f"{key}={value}" for key, value in best.entry.get("arg_dict", {}).items())
    return f"{task.name}: {states}\nbest: {best.job} {mode_of(task)[0]} {best.value:g} with {args}"


def failed_table(task: TaskFolder, rows: list[Row]) -> str:
    """Returns a table of the jobs that are left in ERROR, with their logs; "" if there are none."""
    failed = left_in_error(rows)
    if not failed:
        return ""
    shown = failed[:MAX_FAILED_SHOWN]
    lines = [(row.job, row.entry.get("reason", ""), str(task.jobs / row.job / "training.log")) for row in shown]
    more = f"\n... and {len(failed) - len(shown)} more" if len(failed) > len(shown) else ""
    return f"{len(failed)} jobs failed; --resume runs them again\n{table(('job', 'reason', 'log'), lines)}{more}"
