"""Enters a task: creates it, joins its living schedulers, or goes on after their death."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from gml.book import TrialBook
from gml.compare import join_compare
from gml.config import SearchConfig
from gml.errors import UserError
from gml.jobs import State, end_orphans
from gml.rows import read_rows
from gml.searchers import build_searcher
from gml.study import create_study, remove_study
from gml.task import TaskFolder, new_scheduler_id

log = logging.getLogger("gml")
DEAD = "its scheduler died"


@contextmanager
def enter(task: TaskFolder, content: Mapping[str, Any], config: SearchConfig, *, resume: bool) -> Iterator[TrialBook]:
    """Yields the book of a task; the scheduler counts as alive until the block ends.

    Args:
        task: its folder.
        content: the parsed config.
        config: the same, read.
        resume: go on with a task that has no living scheduler, its ERROR jobs first.

    Raises:
        UserError: the task exists and is not to be resumed, or its config is another one.
    """
    if resume and not task.exists():
        raise UserError(f"task {task.name} does not exist, so there is nothing to resume")
    scheduler = new_scheduler_id()
    with ExitStack() as stack:
        with task.gate():
            live = task.live_schedulers()
            _check_entry(task, content, live, resume=resume)
            if not task.exists():
                _create(task, content, config)
            elif not live:
                task.write_config(_with_compare(content, task.compare_id()))
                task.clear_stop()
            stack.enter_context(task.scheduler_lock(scheduler))
        book = _open(task, config, scheduler, len(live))
        with task.gate():
            close_orphans(task, book, State.ERROR, DEAD)
            if resume and (num := book.queue_errors()):
                log.info("%d ERROR jobs are run again first", num)
        yield book


def _create(task: TaskFolder, content: Mapping[str, Any], config: SearchConfig) -> None:
    compare_id = join_compare(config.pavi.compare, task)
    task.path.mkdir(parents=True, exist_ok=True)
    remove_study(task.db)  # what a scheduler left that was killed before the task was complete
    create_study(task.db, task.name, maximize=config.searcher.optimize_mode == "maximize")
    task.create(_with_compare(content, compare_id), config)


def _with_compare(content: Mapping[str, Any], compare_id: str) -> dict[str, Any]:
    return {**content, "pavi": {**(content.get("pavi") or {}), "compare": {"id": compare_id}}}


def _check_entry(task: TaskFolder, content: Mapping[str, Any], live: list[str], *, resume: bool) -> None:
    if not task.exists():
        return
    if not live and not resume:
        raise UserError(
            f"task {task.name} exists and no scheduler runs it: go on with --resume, "
            f"or remove it with: search-ctl rm -t {task.name}"
        )
    kept = task.read_config()
    parts = ("task", "searcher", "job") if not live else ("task", "searcher", "job", "scheduler")
    for part in parts:
        if _comparable(part, kept.get(part)) != _comparable(part, content.get(part)):
            verb = "joined" if live else "resumed"
            raise UserError(f"task {task.name} cannot be {verb}: the config differs from the task's in {part!r}")


def _comparable(part: str, content: Any) -> Any:
    """Returns a part without what each scheduler may choose for itself."""
    if part == "scheduler" and isinstance(content, dict):
        return {key: item for key, item in content.items() if key not in ("parallel_size", "gpus", "jobs_per_gpu")}
    return content


def _open(task: TaskFolder, config: SearchConfig, scheduler: str, num_live: int) -> TrialBook:
    space, seed = config.task.search_args, config.task.seed
    num_trials = len(read_rows(task.db))
    # After a resume, and beside other schedulers, the same seed must not draw the same numbers again.
    searcher = build_searcher(config.searcher, space, seed=seed + 1000 * num_trials + 1_000_000 * num_live)
    return TrialBook(task.db, space, searcher, scheduler=scheduler, seed=seed)


def close_orphans(task: TaskFolder, book: TrialBook, state: State, reason: str) -> None:
    """Ends what dead schedulers left running and gives their jobs a true state; inside the task's gate."""
    for job_name in book.close_orphans(task.is_live, state, reason):
        if job_name and end_orphans(task.jobs / job_name):
            log.info("ended what was left of %s", job_name)
