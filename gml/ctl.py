"""What search-ctl does, a function per verb; each returns the exit code."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from gml import archive
from gml.errors import DamagedError, UserError, unknown
from gml.jobs import State
from gml.rows import Row
from gml.summary import all_scalars, job_summary, jobs_table, mode_of, summary, table, task_rows, tasks_table
from gml.task import TaskFolder

log = logging.getLogger("gml")
STOP_LIMIT_S = 60.0


def show(options: argparse.Namespace) -> int:
    """Shows all tasks, or one."""
    if options.task is None:
        if options.jobs or options.scalar:
            raise UserError("--jobs and --scalar need --task")
        tasks = TaskFolder.all()
        if options.out:
            return _write(options.out, [summary(task, task_rows(task)) for task in tasks])
        lines = tasks_table(tasks) if tasks else "no tasks in ./gml_tasks"
        print(lines)
        return 1 if "DAMAGED" in lines else 0
    task = TaskFolder.existing(options.task)
    rows = task_rows(task)
    chosen = _chosen(rows, options.jobs)
    if options.scalar:
        return _show_scalars(task, chosen, options.out)
    content = summary(task, rows)
    if options.out:
        return _write(options.out, {**content, "jobs": [job_summary(task, row) for row in chosen]})
    best = content.pop("best")
    for key, value in content.items():
        print(f"{key}: {value if not isinstance(value, dict) else ', '.join(f'{k} {v}' for k, v in value.items())}")
    print(f"best: {'none yet: no job has finished with a score' if best is None else _short(best)}")
    if options.jobs:
        for row in chosen:
            print(yaml.safe_dump(job_summary(task, row), sort_keys=False, allow_unicode=True).rstrip())
        return 0
    print(jobs_table(task, chosen))
    return 0


def _short(best: dict) -> str:
    args = " ".join(f"{key}={value}" for key, value in best["args"].items())
    return f"{best['job']} {best['reward']:g} with {args}; {best['url']}"


def _show_scalars(task: TaskFolder, rows: Sequence[Row], out: str | None) -> int:
    scalars = {row.job: all_scalars(task, row) for row in rows}
    if out:
        return _write(out, {"task": task.name, "scalars": scalars})
    reward, maximize = mode_of(task)
    lines = []
    for row in rows:
        if row.value is not None:
            lines.append((row.job, f"{reward} (score)", "-", f"{row.value:g}", f"{row.value:g}"))
        for name, history in scalars[row.job].items():
            values = [entry["value"] for entry in history]
            best = max(values) if maximize else min(values)
            lines.append((row.job, name, str(len(history)), f"{values[-1]:g}", f"{best:g}"))
    print(table(("job", "scalar", "reports", "last", "best"), lines))
    return 0


def _chosen(rows: Sequence[Row], wanted: str | None) -> list[Row]:
    if not wanted:
        return list(rows)
    by_name = {row.job: row for row in rows}
    names = [job_name(word) for word in wanted.split(",")]
    for name in names:
        if name not in by_name:
            raise UserError(f"--jobs: {unknown('job', name, list(by_name)[:20])}")
    return [by_name[name] for name in names]


def job_name(word: str) -> str:
    """Returns the name of a job that may be given by its number."""
    return f"job_{int(word):04d}" if word.isdecimal() else word


def _write(out: str, content: object) -> int:
    path = Path(out)
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out: only YAML is written, so the file has to end in .yaml, got {out}")
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return 0


def stop(options: argparse.Namespace) -> int:
    """Stops a task."""
    task = TaskFolder.existing(options.task)
    if task.live_schedulers():
        task.request_stop(State.KILLED, "stopped by search-ctl")
    end = time.monotonic() + STOP_LIMIT_S
    while task.live_schedulers():
        if time.monotonic() > end:
            print(f"error: schedulers {task.live_schedulers()} do not answer; kill -9 them", file=sys.stderr)
            return 1
        time.sleep(0.05)
    archive.close_dead(task, State.KILLED, "stopped by search-ctl")
    print(f"{task.name}: {', '.join(f'{n} {s}' for s, n in summary(task, task_rows(task))['states'].items())}")
    return 0


def rm(options: argparse.Namespace) -> int:
    """Removes a task."""
    task = _idle(options.task)
    try:
        rows = task_rows(task)
        content = {**summary(task, rows), "jobs": [job_summary(task, row) for row in rows]}
    except DamagedError as error:
        content = {"task": task.name, "damaged": str(error)}
    with Path("summary.yaml").open("a", encoding="utf-8") as file:  # a document per task: earlier ones are kept
        yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True, explicit_start=True)
    task.remove()
    print(f"{task.name} is removed; its summary is in summary.yaml")
    return 0


def _idle(name: str) -> TaskFolder:
    task = TaskFolder.existing(name)
    if live := task.live_schedulers():
        raise UserError(f"task {name} is running ({', '.join(live)}); stop it first: search-ctl stop -t {name}")
    return task


def clean(options: argparse.Namespace) -> int:
    """Removes trials without a result."""
    task = _idle(options.task)
    gone = archive.failed_rows(task)
    for row in gone:
        print(f"{row.job}  {row.state}  {row.entry.get('reason', '')}")
    if options.dry_run:
        print(f"{len(gone)} trials would go (dry run)")
        return 0
    backup = archive.clean(task, gone)
    print(f"{len(gone)} trials removed" + (f"; the old study is {backup}" if backup else ""))
    return 0


def export(options: argparse.Namespace) -> int:
    """Packs a task."""
    print(archive.export(_idle(options.task), options.tar_path))
    return 0


def import_(options: argparse.Namespace) -> int:
    """Unpacks a task."""
    task = archive.unpack(Path(options.tar_path), options.task, force=options.force)
    print(f"{task.name}: {task.path}")
    return 0


def rerun(options: argparse.Namespace) -> int:
    """Runs a job again."""
    from gml.winners import rerun_job

    task = TaskFolder.existing(options.task)
    row, *others = _chosen(task_rows(task), options.job)
    if others:
        raise UserError(f"--job: one job is run again at a time, got {options.job}")
    job, score = rerun_job(task, row)
    print(f"{row.job} again: {job.status}{f' ({job.reason})' if job.reason else ''}")
    print(f"{mode_of(task)[0]}: {'none' if score is None else f'{score:g}'} (before: {row.value}); log: {job.log_file}")
    return 0 if job.status == State.FINISHED else 1


def winners(options: argparse.Namespace) -> int:
    """Runs the best configurations again."""
    from gml.winners import check_winners, winners_table

    if options.top < 1 or options.seeds < 1:
        raise UserError("--top and --seeds must be at least 1")
    task = TaskFolder.existing(options.task)
    found = check_winners(task, top=options.top, seeds=options.seeds)
    print(winners_table(found))
    return 0 if found and all(winner.num_failed == 0 for winner in found) else 1


def best(options: argparse.Namespace) -> int:
    """Shows the best trial and the importances."""
    from gml.winners import importances

    task = TaskFolder.existing(options.task)
    found = summary(task, task_rows(task))["best"]
    if found is None:
        print("no job has finished with a score, so there is no best one", file=sys.stderr)
        return 1
    print(_short(found))
    lines = [(name, f"{share:.3f}") for name, share in importances(task).items()]
    print(table(("arg", "importance"), lines) if lines else "too few finished jobs for importances")
    return 0


def dashboard(options: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C or SIGTERM."""
    from optuna_dashboard import wsgi

    from gml.serve import serve
    from gml.study import open_storage, open_study

    task = TaskFolder.existing(options.task)
    open_study(task.db)  # is there one?
    serve(wsgi(open_storage(task.db)), options.host, options.port, path="/dashboard/studies/1")
    return 0


def verify(_: argparse.Namespace) -> int:
    """Checks the set-up."""
    from gml.verify import verify as check

    return check()
