"""What happened in an experiment: `rounds.jsonl` is the truth, `manifest.json` its snapshot for people and programs.

`rounds.jsonl` is only appended to, one JSON object a line, so that noting a round costs the same at any time; the last
line about a round or an object counts. It opens with the settings. Either file rebuilds the other.
"""

import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tools.rounds.durable import replacing
from tools.rounds.errors import DamagedError, RoundsError

JOURNAL, MANIFEST, LOCK = "rounds.jsonl", "manifest.json", "runner.lock"
SETTLED = ("merged", "skipped", "surplus")
SETTLED_STARTS = tuple(f'{{"kind":"round","status":"{status}"'.encode() for status in SETTLED)
LOCK_TRIES, LOCK_PAUSE_S = 5, 0.1
SNAPSHOT_S = 5.0
SNAPSHOT_SHARE = 0.02  # of the time may go into snapshots: they grow with the experiment
logger = logging.getLogger(__name__)


def now() -> str:
    """Returns the time as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of an experiment; it is free again when this process ends, however that happens.

    Raises:
        RoundsError: another runner holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        if not _lock(file):
            raise RoundsError(f"experiment {folder} is being run by process {holder(folder)}")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(file: IO[str]) -> bool:
    for _ in range(LOCK_TRIES):  # somebody who asks for the holder has the lock for a moment
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
    return False


def holder(folder: Path) -> int | None:
    """Returns the process that runs an experiment, None if nobody does."""
    path = folder / LOCK
    if not path.exists():
        return None
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0)
    return None


def settings_of(folder: Path) -> dict[str, Any]:
    """Returns the settings with which an experiment ran last; empty if there is none."""
    lines, _ = _read_journal(folder / JOURNAL)
    lines = lines or _read_manifest(folder / MANIFEST) or []
    return next((line["settings"] for line in reversed(lines) if line["kind"] == "settings"), {})


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """Returns all that is known of an experiment, in the order in which it happened; empty if there is none.

    A last line that was cut is left out. A damaged file is replaced by what the other one says.

    Raises:
        DamagedError: both are damaged.
    """
    lines, whole = _read_journal(folder / JOURNAL)
    if whole and lines:
        return lines
    from_manifest = _read_manifest(folder / MANIFEST)
    if from_manifest is not None and len(from_manifest) >= len(lines):
        if from_manifest:
            logger.warning("%s is missing or damaged; going on from %s", folder / JOURNAL, folder / MANIFEST)
        return from_manifest
    if not lines:
        raise DamagedError(f"{folder / MANIFEST} is damaged and {folder / JOURNAL} cannot replace it")
    logger.warning("%s is damaged after line %d; going back to there", folder / JOURNAL, len(lines))
    return lines


def _read_journal(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Returns the lines up to the first damaged one, and whether that was the end."""
    if not path.exists():
        return [], False
    *complete, _cut = path.read_bytes().split(b"\n")
    lines: list[dict[str, Any]] = []
    for line in complete:
        try:
            found = json.loads(line)
        except ValueError:
            return lines, False
        if not isinstance(found, dict) or "kind" not in found or (not lines and found["kind"] != "settings"):
            return lines, False
        lines.append(found)
    return lines, True


def _read_manifest(path: Path) -> list[dict[str, Any]] | None:
    """Returns the lines that a manifest stands for; empty without a manifest, None if it is damaged."""
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_bytes())
        ended = [state["ended"] for state in found["objects"].values() if state["ended"]]
        return [{"kind": "settings", "settings": found["settings"], "time": found["started"]}, *found["rounds"], *ended]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def keep_damaged_manifest(folder: Path) -> None:
    """Moves a damaged manifest aside; the next snapshot makes a new one."""
    path = folder / MANIFEST
    if _read_manifest(path) is None:
        path.replace(path.with_name(f"{MANIFEST}.damaged"))
        logger.warning("%s is damaged; it is rebuilt from %s, the damaged one is kept beside it", path, JOURNAL)


class Journal:
    """Writes both files of one experiment."""

    def __init__(self, folder: Path, lines: list[dict[str, Any]], first: Mapping[str, Any]):
        """Opens the journal.

        Args:
            folder: folder of the experiment.
            lines: what it holds; only if the file holds anything else it is rewritten.
            first: the first line of this run, with its settings and time.
        """
        self._folder, self._path = folder, folder / JOURNAL
        self.started = [*lines, first][0]["time"]
        text = b"".join(map(_encode, lines))
        if not self._path.exists() or self._path.read_bytes() != text:
            with replacing(self._path) as part:
                part.write_bytes(text)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._next_snapshot = 0.0
        self.append(first)

    def append(self, line: Mapping[str, Any], *, sync: bool = False) -> None:
        """Notes what happened.

        Args:
            line: what happened.
            sync: on return it is on the disk, whatever happens to the power.

        Raises:
            OSError: the line could not be written whole.
        """
        data = _encode(line)
        if (written := os.write(self._file, data)) < len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written", str(self._path))
        if sync:
            os.fsync(self._file)

    def snapshot(self, describe: Callable[[], Mapping[str, Any]], *, force: bool = False) -> None:
        """Writes the manifest, unless the last one is recent.

        Args:
            describe: returns all of the manifest but the settled rounds; `rounds` holds those in work.
            force: write it in any case.
        """
        begun = time.monotonic()
        if not force and begun < self._next_snapshot:
            return
        with replacing(self._folder / MANIFEST) as part:
            self._write_manifest(part, dict(describe()))
        took = time.monotonic() - begun
        self._next_snapshot = begun + max(SNAPSHOT_S, took / SNAPSHOT_SHARE)

    def _write_manifest(self, part: Path, state: dict[str, Any]) -> None:
        open_rounds, objects = state.pop("rounds"), state.pop("objects")
        head = json.dumps({**state, "started": self.started}, indent=1).removesuffix("\n}")
        with part.open("wb") as file:
            file.write(head.encode() + b',\n "objects": {\n')
            file.write(b",\n".join(_encode({name: value})[1:-2] for name, value in objects.items()))
            file.write(b'\n },\n "rounds": [')
            for index, line in enumerate(self._settled_and(open_rounds)):
                file.write((b",\n" if index else b"\n") + line.rstrip())
            file.write(b"\n ]\n}\n")

    def _settled_and(self, open_rounds: list[dict[str, Any]]) -> Iterator[bytes]:
        with self._path.open("rb") as lines:
            yield from (line for line in lines if line.startswith(SETTLED_STARTS) and line.endswith(b"\n"))
        yield from map(_encode, open_rounds)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def _encode(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
