"""Runs an experiment: rounds on the slots, merging in this process, everything noted so that any end can be resumed."""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gml.jobs import Job, JobPool, Slots, State
from tools.rounds.cleanup import clean_round, folder_bytes
from tools.rounds.errors import ResultError
from tools.rounds.journal import Journal, now
from tools.rounds.manifest import manifest
from tools.rounds.merging import Merger
from tools.rounds.quota import DONE, Quota, Record
from tools.rounds.results import read_results
from tools.rounds.settings import Settings

LOG_BYTES = 50 << 20  # then a slot's log starts anew; the one before is kept
LOG_MARK = "=== "
LAST_WORDS_BYTES = 4096
LOW_DISK_BYTES = 1 << 20
POLL_S = 1.0
logger = logging.getLogger(__name__)


class Runner:
    """One run of an experiment, from its start or from where it was, to the end or to an interruption."""

    def __init__(self, settings: Settings, journal: Journal, quotas: list[Quota], mergers: list[Merger]):
        """Uses what `open_experiment` gave."""
        self.settings, self.quotas = settings, quotas
        self._journal, self._mergers = journal, mergers
        self._jobs: dict[Job, tuple[Quota, Record]] = {}
        self._told_waiting = False

    def run(self, show: Callable[["Runner"], None]) -> None:
        """Runs until every object is done or given up.

        Args:
            show: called whenever something may have changed.

        Raises:
            Interrupted: a signal came (within `gml.jobs.interrupts`); everything is noted, nothing runs any more.
            OSError: the disk is full; what was noted before stays.
        """
        slots = Slots.gpus(self.settings.gpus, threads=self.settings.threads)
        try:
            self._snapshot(force=True)
            with JobPool(slots) as pool:
                self._loop(pool, show)
            self._snapshot(force=True)
        finally:
            self._journal.close()

    def _loop(self, pool: JobPool, show: Callable[["Runner"], None]) -> None:
        try:
            self._merge_all(pool)
            while self._fill(pool) or pool.running:
                show(self)
                for job in pool.wait(POLL_S):
                    self._take(job)
                self._merge_all(pool)
                self._snapshot()
            show(self)
        except KeyboardInterrupt:
            for quota, merger in zip(self.quotas, self._mergers, strict=True):
                if quota.status != DONE:
                    merger.write()
            self._snapshot(force=True)
            raise

    def _snapshot(self, *, force: bool = False) -> None:
        self._journal.snapshot(lambda: manifest(self.settings, self.quotas), force=force)

    # Starting rounds.
    def _fill(self, pool: JobPool) -> bool:
        """Starts rounds on free slots; returns whether there are still rounds to start."""
        while (found := self._next()) is not None:
            if not pool.has_room():
                if not pool.running and not self._told_waiting:
                    logger.info("waiting: slots %s are taken by other runs", self.settings.gpus)
                    self._told_waiting = True
                return True
            self._start(pool, *found)
        return False

    def _next(self) -> tuple[Quota, int] | None:
        chosen = ((quota, quota.next_round()) for quota in self.quotas)
        return next(((quota, round_id) for quota, round_id in chosen if round_id is not None), None)

    def _start(self, pool: JobPool, quota: Quota, round_id: int) -> None:
        planned, gpu = quota.round(round_id), pool.next_slot().gpu
        self._check_disk()
        shutil.rmtree(planned.folder, ignore_errors=True)  # what a killed or failed attempt left
        record = quota.begin(round_id)
        record |= {"gpu": gpu, "started": now()}
        title = f"{planned.name} seed {planned.seed} attempt {len(record['failures'])}"
        job = Job(
            planned.command(gpu),
            planned.name,
            job_dir=self._log_folder / f"slot_{_file_name(gpu)}",
            cwd=self.settings.workdir,
            log_file=self._log_of(gpu, title),
            timeout_s=self.settings.round_timeout_s,
        )
        pool.start(job)
        self._jobs[job] = quota, record

    @property
    def _log_folder(self) -> Path:
        return self.settings.folder / "logs"

    def _log_of(self, gpu: str, title: str) -> Path:
        path = self._log_folder / f"gpu_{_file_name(gpu)}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{LOG_MARK}{now()} {title}\n")
        return path

    def _check_disk(self, log: Path | None = None) -> None:
        """Stops the run if the disk is full, or if that is what a failed program says at the end of its log."""
        full = shutil.disk_usage(self.settings.folder).free < LOW_DISK_BYTES
        if full or (log is not None and os.strerror(errno.ENOSPC).encode() in _last_words(log)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.settings.folder))

    # Rounds that ended.
    def _take(self, job: Job) -> None:
        quota, record = self._jobs.pop(job)
        if quota.ended:
            self._surplus(quota, record)
            return
        wall_s = round(job.wall_s, 4)
        try:
            if job.status != State.FINISHED:
                raise ResultError(job.reason)
            planned = quota.round(record["round_id"])
            fields = read_results(planned.results, quota.object_code)
        except ResultError as error:
            self._check_disk(job.log_file)  # a full disk is no failure of the round
            self._fail(quota, record, str(error), {"returncode": job.returncode, "wall_s": wall_s})
            return
        facts = {"samples": len(fields["samples"]), "wall_s": wall_s, "bytes": folder_bytes(planned.folder)}
        quota.finish(record, facts)
        if quota.due() == [record]:
            self._merge(quota, record, fields)
        else:
            self._journal.append(record)

    def _fail(self, quota: Quota, record: Record, reason: str, facts: dict[str, Any]) -> None:
        round_id = record["round_id"]
        facts = {"attempt": len(record["failures"]), "gpu": record["gpu"], "time": now(), "reason": reason, **facts}
        quota.fail(record, facts)
        self._journal.append(record)
        end = "it is skipped" if record["status"] == "skipped" else "it runs again"
        logger.warning("%s failed: %s; %s", quota.round(round_id).name, reason, end)

    def _surplus(self, quota: Quota, record: Record) -> None:
        self._journal.append(record | {"status": "surplus"})
        quota.running.pop(record["round_id"], None)
        quota.waiting.pop(record["round_id"], None)

    # Merging.
    def _merge_all(self, pool: JobPool) -> None:
        for quota, merger in zip(self.quotas, self._mergers, strict=True):
            while quota.verdict() is None and (due := quota.due()):
                self._merge_due(quota, due)
            if (verdict := quota.verdict()) is not None:
                self._end(quota, merger, *verdict)
            if quota.ended and not quota.running and not quota.ended.get("cleaned"):
                self._clean(quota)
        for job, (quota, _) in self._jobs.items():
            if quota.ended:
                job.stop(State.KILLED, "not needed any more")

    def _merge_due(self, quota: Quota, due: list[Record]) -> None:
        for record in due:
            if record["round_id"] != quota.next_merge or quota.verdict() is not None:
                break  # the one before could not be merged, or was the last that is needed
            self._merge(quota, record)

    def _merge(self, quota: Quota, record: Record, fields: Mapping[str, np.ndarray] | None = None) -> None:
        if record["status"] == "skipped":
            quota.settle(record)
            return
        merger = self._mergers[quota.index]
        try:
            merger.merge(record, fields)
        except ResultError as error:
            self._fail(quota, record, str(error), {"returncode": 0, "wall_s": record["wall_s"]})
            return
        if record["missing"]:
            logger.warning("%s has no %s", record["name"], ", ".join(record["missing"]))
        if self.settings.clean_after == "round" and not self.settings.keep_intermediate:
            clean_round(quota.round(record["round_id"]).folder, self.settings.cleanup)
        if quota.count < quota.target:
            merger.write(always=False)

    def _end(self, quota: Quota, merger: Merger, status: str, reason: str) -> None:
        merger.write()
        for record in list(quota.waiting.values()):
            if record["status"] == "finished" and status == DONE:
                self._surplus(quota, record)
        count = min(quota.count, quota.target)
        quota.ended = {"kind": "object", "object_code": quota.object_code, "status": status, "count": count}
        quota.ended |= {"reason": reason, "time": now(), "cleaned": False}
        self._journal.append(quota.ended, sync=True)
        if status == DONE:
            merger.drop_parts()
        logger.info(
            "%s: %s with %d of %d samples%s", quota.object_code, status, count, quota.target, reason and f" ({reason})"
        )

    def _clean(self, quota: Quota) -> None:
        assert quota.ended is not None
        if quota.status == DONE and not self.settings.keep_intermediate:
            for round_id in range(quota.next_new):
                clean_round(quota.round(round_id).folder, self.settings.cleanup)
        quota.ended["cleaned"] = True
        self._journal.append(quota.ended)


def _last_words(log: Path) -> bytes:
    """Returns the end of what the newest round of a log said."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_WORDS_BYTES))
        return file.read().rpartition(LOG_MARK.encode())[2]


def _file_name(gpu: str) -> str:
    return gpu.replace("/", "_")
