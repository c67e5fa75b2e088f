"""Opens an experiment, new or interrupted: what may go on, what was lost, what must not be touched."""

import logging
import re
from pathlib import Path

from gml.jobs import end_orphans
from tools.rounds import journal as journals
from tools.rounds.errors import DamagedError, ResultError, RoundsError
from tools.rounds.journal import Journal, now
from tools.rounds.merging import Merger, check_final, final_path, parts_of
from tools.rounds.quota import DONE, Quota, Record, replay
from tools.rounds.results import read_results
from tools.rounds.settings import FIXED, Settings

logger = logging.getLogger(__name__)


def open_experiment(settings: Settings) -> tuple[Journal, list[Quota], list[Merger]]:
    """Opens a new or an interrupted experiment; its lock must be held.

    Raises:
        RoundsError: there is one and it is not to be resumed, or it has other settings, or the folders are taken.
        DamagedError: what is there cannot be gone on from.
    """
    folder = settings.folder
    lines = journals.read_lines(folder)
    if not lines:
        _refuse_foreign(settings)
    elif not settings.resume:
        raise RoundsError(f"experiment {folder} exists; add --resume to go on with it, or choose another exp_name")
    else:
        _refuse_other_settings(settings, lines)
        journals.keep_damaged_manifest(folder)
        end_orphans(folder / "logs")
    lines = _with_rows_on_disk(settings, lines)
    journal = Journal(folder, [*lines, {"kind": "settings", "settings": settings.to_dict(), "time": now()}])
    quotas = replay(settings, lines)
    for quota in quotas:
        _reopen(quota)
    return journal, quotas, [Merger(quota, journal) for quota in quotas]


def _refuse_foreign(settings: Settings) -> None:
    """Nothing of somebody else is overwritten: what is there without a journal is not ours."""
    if (settings.folder / "final").exists():
        raise DamagedError(f"{settings.folder} has results but no {journals.JOURNAL} or {journals.MANIFEST}")
    ours = re.compile(re.escape(settings.exp_name) + r"__(.+)__r\d+")
    for path in sorted(Path(settings.experiments_dir).glob(f"{settings.exp_name}__*")):
        if (found := ours.fullmatch(path.name)) and found[1] in settings.object_code_list:
            raise RoundsError(f"{path} is there, but no experiment {settings.exp_name}; move it, or rename yours")


def _refuse_other_settings(settings: Settings, lines: list[Record]) -> None:
    before = next(line["settings"] for line in reversed(lines) if line["kind"] == "settings")
    wanted = settings.to_dict()
    changed = [key for key in FIXED if before[key] != wanted[key]]
    if before["target_count_per_object"] > settings.target_count_per_object:
        changed.append("target_count_per_object")
    if before["command"] != wanted["command"]:
        logger.warning("the command is another one than before; rounds that were merged are kept")
    if changed:
        told = "; ".join(f"{key} was {before[key]!r}, now {wanted[key]!r}" for key in changed)
        raise RoundsError(f"experiment {settings.folder} cannot go on with other settings: {told}")


def _with_rows_on_disk(settings: Settings, lines: list[Record]) -> list[Record]:
    """Returns the lines in which no round counts as merged whose rows are not there, or no longer apart.

    That happens after a power cut, when somebody moved an object's folder away, and when a finished object is to get
    more samples. Such rounds count as finished: they are merged again from their results, or run again without them.
    """
    for quota in replay(settings, lines):
        if quota.status != DONE:
            lines = [line for line in lines if not _is_surplus(line, quota)]  # they are needed after all
            there = parts_of(quota).rows_there(quota.layout)
            if there < quota.count:
                logger.warning("%s: %d of %d merged samples are there", quota.object_code, there, quota.count)
                lines = [_unmerged(line, quota.object_code, there) for line in lines]
        elif _is_to_be_redone(quota):
            kept = [line for line in lines if line.get("object_code") != quota.object_code or line["kind"] == "round"]
            lines = [_unmerged(line, quota.object_code, 0) for line in kept if not _is_surplus(line, quota)]
    return lines


def _is_to_be_redone(quota: Quota) -> bool:
    assert quota.ended is not None
    final = final_path(quota)
    if not final.parent.exists():
        logger.warning("%s is gone: merging %s again", final, quota.object_code)
        return True
    check_final(final, quota.ended["count"])
    return quota.ended["count"] < quota.target


def _is_surplus(line: Record, quota: Quota) -> bool:
    return line.get("object_code") == quota.object_code and line.get("status") == "surplus"


def _unmerged(line: Record, object_code: str, rows: int) -> Record:
    if line.get("status") == "merged" and line["object_code"] == object_code and line["total"] > rows:
        return {**line, "status": "finished", "merged": False}
    return line


def _reopen(quota: Quota) -> None:
    """Gives a given-up object another chance, and lets finished rounds whose results are gone run again."""
    if quota.ended and quota.status != DONE:
        quota.ended, quota.barren = None, 0
    for round_id, record in list(quota.waiting.items()):
        try:
            if record["status"] == "finished":
                read_results(quota.round(round_id).results, quota.object_code)
        except ResultError:
            quota.troubled[round_id] = quota.waiting.pop(round_id)
