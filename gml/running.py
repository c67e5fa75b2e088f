"""What search-run does: config and flags to a scheduler, its end to an exit code."""

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import optuna

from gml import values
from gml.config import load_config
from gml.errors import ConfigError, UserError, user_code
from gml.rows import read_rows
from gml.schedulers import NaiveScheduler
from gml.summary import failed_table, finish_line
from gml.task import TaskFolder
from gml.winners import check_winners, winners_table

log = logging.getLogger("gml")


def run_search(options: argparse.Namespace) -> int:
    """Runs or joins a search; returns the exit code: 1 if jobs are left in ERROR or no job has a score."""
    quiet_optuna()
    task = TaskFolder.named(options.task)
    content, _ = load_config(Path(options.config))
    symlinks = [path for path in options.symlinks.split(",") if path]
    content = with_flags(content, options, task)
    try:
        with user_code():
            scheduler = _scheduler_class(options.benchmark)(task.path, content, symlinks, resume=options.resume)
    except ConfigError as error:
        raise ConfigError(f"{options.config}: {error}") from None
    if not options.benchmark and not scheduler.config.task.template.strip():
        raise ConfigError(f"{options.config}: task.template: is empty; only --benchmark runs without a command")
    with user_code():
        scheduler.run()
    rows = read_rows(task.db)
    print(finish_line(task, rows, maximize=scheduler.maximize))
    if (check := scheduler.config.winner_check).top and any(row.value is not None for row in rows):
        print(winners_table(check_winners(task, top=check.top, seeds=check.seeds)))
    if failed := failed_table(task, rows):
        print(failed, file=sys.stderr)
        return 1
    has_score = any(row.value is not None for row in rows)
    if not has_score and os.environ.get("MOCK_PAVI") != "2":
        print("no job has finished with a score, so there is no best one", file=sys.stderr)
        return 1
    return 0


def _scheduler_class(benchmark: bool) -> Any:
    if not benchmark:
        return NaiveScheduler
    from gml.benchmark.scheduler import MujocoScheduler

    return MujocoScheduler


def quiet_optuna() -> None:
    """Silences what Optuna says about every trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def with_flags(content: dict[str, Any], options: argparse.Namespace, task: TaskFolder) -> dict[str, Any]:
    """Returns the config with what the command line says instead.

    Raises:
        UserError: a bad flag.
    """
    scheduler = dict(content.get("scheduler") or {})
    if options.gpus is not None:
        scheduler["gpus"] = options.gpus
    if options.parallel_size is not None:
        scheduler["parallel_size"] = options.parallel_size
    if options.max_tries is not None:
        stop = dict(scheduler.get("stop_criterion") or {})
        scheduler["stop_criterion"] = {**stop, "max_tries": _max_tries(options.max_tries, task)}
    imports = [*values.texts(content.get("imports", [])), *options.imports]
    extra = {"imports": imports} if imports else {}
    return {**content, **extra, **({"scheduler": scheduler} if scheduler else {})}


def _max_tries(text: str, task: TaskFolder) -> int | str:
    try:
        if not text.startswith("+"):
            return "inf" if values.limit(text) is None else values.count(text)
        done = sum(row.is_try for row in read_rows(task.db)) if task.exists() else 0
        return done + values.count(text[1:])
    except ValueError as error:
        raise UserError(f"--max-tries {error}") from None
