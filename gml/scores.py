"""Reads what a job reports: through pavi, on standard output, in files of its own; while it runs and after."""

import contextlib
import csv
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from pavi.reader import STEP_KEYS, Scalar, parse_line, step_of

log = logging.getLogger("gml")
SCORE_NAME = "OPTUNA_SCORE"
NUMBER = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|infinity)"
CHUNK_BYTES = 1 << 20


class Source(Protocol):
    """Something that scalars come from."""

    def read(self, *, is_final: bool) -> Iterator[Scalar]:
        """Yields what is new; `is_final` says that nothing more will come."""
        ...


class _Lines:
    """Complete new lines of a growing file."""

    def __init__(self, file: Path):
        self._file = file
        self._offset = file.stat().st_size if file.exists() else 0
        self._rest = b""

    def read(self, *, is_final: bool) -> Iterator[str]:
        try:
            with self._file.open("rb") as stream:
                if self._file.stat().st_size < self._offset:
                    self._offset, self._rest = 0, b""  # the program has begun the file anew
                stream.seek(self._offset)
                while chunk := stream.read(CHUNK_BYTES):
                    self._offset += len(chunk)
                    *lines, self._rest = re.split(rb"[\r\n]", self._rest + chunk)
                    self._rest = self._rest[:CHUNK_BYTES]  # a longer line holds no score; keeping it all would be slow
                    yield from (line.decode("utf-8", "replace") for line in lines)
        except FileNotFoundError:
            return
        if is_final and self._rest:
            yield self._rest.decode("utf-8", "replace")
            self._rest = b""


class OutputSource:
    """Lines `NAME: 0.9` on standard output, for some names and OPTUNA_SCORE; and JSON objects, one a line."""

    def __init__(self, log_file: Path, names: Sequence[str]):
        """Reads from the present end of the log on: what is there belongs to an earlier try."""
        self._lines = _Lines(log_file)
        words = "|".join(re.escape(name) for name in (SCORE_NAME, *names))
        self._pattern = re.compile(rf"\s*({words})\s*:\s*({NUMBER})(?=[\s,;|%]|$)", re.IGNORECASE)
        self._names = {name.lower(): name for name in (*names, SCORE_NAME)}

    def read(self, *, is_final: bool) -> Iterator[Scalar]:
        """Yields the scalars of the new lines."""
        for line in self._lines.read(is_final=is_final):
            if match := self._pattern.match(line):
                yield Scalar(self._names[match.group(1).lower()], None, float(match.group(2)))
            elif line.lstrip().startswith("{"):
                yield from parse_line(line)


class JsonLinesSource:
    """A file with one JSON object a line; pavi writes such files."""

    def __init__(self, file: Path):
        """Reads from the present end of the file on."""
        self._lines = _Lines(file)

    def read(self, *, is_final: bool) -> Iterator[Scalar]:
        """Yields the scalars of the new lines."""
        for line in self._lines.read(is_final=is_final):
            yield from parse_line(line)


class JsonSource:
    """A file that holds one flat JSON object, such as a summary; read when the job has ended."""

    def __init__(self, file: Path):
        """Remembers the file."""
        self._file = file

    def read(self, *, is_final: bool) -> Iterator[Scalar]:
        """Yields its numbers."""
        if is_final and self._file.is_file():
            yield from parse_line(self._file.read_text(encoding="utf-8"))


class CsvSource:
    """A table with a header line; every column of numbers is a scalar."""

    def __init__(self, file: Path):
        """Reads from the present end of the file on; only the header is taken from what is there."""
        self._lines = _Lines(file)
        self._header: list[str] = []
        with (
            contextlib.suppress(FileNotFoundError),
            file.open(encoding="utf-8", errors="replace", newline="") as stream,
        ):
            self._header = next(csv.reader(stream), [])

    def read(self, *, is_final: bool) -> Iterator[Scalar]:
        """Yields the scalars of the new rows."""
        for row in csv.reader(line for line in self._lines.read(is_final=is_final) if line):
            if not self._header or row == self._header:  # again: the program has begun the file anew
                self._header = row
                continue
            cells = {name: float(cell) for name, cell in zip(self._header, row, strict=False) if _is_float(cell)}
            step = step_of(cells)
            yield from (Scalar(name, step, value) for name, value in cells.items() if name not in STEP_KEYS)


def _is_float(cell: str) -> bool:
    return re.fullmatch(NUMBER, cell.strip(), re.IGNORECASE) is not None


class TensorBoardSource:
    """A folder of TensorBoard events, as PyTorch, TensorFlow and others write them."""

    def __init__(self, folder: Path):
        """Remembers the folder; the files in it may come later."""
        self._folder = folder
        self._readers: dict[Path, Any] = {}
        self._seen: dict[tuple[Path, str], int] = {}

    def read(self, *, is_final: bool) -> Iterator[Scalar]:
        """Yields what the event files hold beyond the last time."""
        from tensorboard.backend.event_processing import event_accumulator as tb  # slow to import, seldom needed

        for file in sorted(self._folder.rglob("*tfevents*")):
            everything = {tb.SCALARS: 0, tb.TENSORS: 0}
            reader = self._readers.setdefault(file, tb.EventAccumulator(str(file), size_guidance=everything))
            reader.Reload()
            tags = reader.Tags()
            for tag in tags["scalars"]:
                events = self._new(file, tag, reader.Scalars(tag))
                yield from (Scalar(tag, event.step, event.value, int(event.wall_time * 1000)) for event in events)
            for tag in tags["tensors"]:
                yield from self._tensors(tag, self._new(file, tag, reader.Tensors(tag)))

    def _new(self, file: Path, tag: str, events: list[Any]) -> list[Any]:
        start = self._seen.get((file, tag), 0)
        self._seen[file, tag] = len(events)
        return events[start:]

    def _tensors(self, tag: str, events: list[Any]) -> Iterator[Scalar]:
        from tensorboard.util import tensor_util

        for event in events:
            array = tensor_util.make_ndarray(event.tensor_proto)
            if array.size == 1 and array.dtype.kind in "fiu":
                yield Scalar(tag, event.step, float(array), int(event.wall_time * 1000))


SOURCES: dict[str, Callable[[Path], Source]] = {".jsonl": JsonLinesSource, ".json": JsonSource, ".csv": CsvSource}


def file_source(path: str) -> Source:
    """Returns the source for a file by its ending; whatever has none of ours is a folder of TensorBoard events."""
    file = Path(path)
    return SOURCES.get(file.suffix, TensorBoardSource)(file)


class JobScalars:
    """All scalars of one try of a job.

    Attributes:
        history: name -> [{"iteration", "value", "created"}, ...] in the order of arrival.
    """

    def __init__(self, sources: Sequence[Source], reward: str):
        """Starts empty.

        Args:
            sources: where scalars come from; what comes from a later one counts as later.
            reward: name of the scalar that is the score.
        """
        self._sources, self._reward, self._warned = sources, reward, set[str]()
        self.history: dict[str, list[dict[str, Any]]] = {}

    def read(self, *, is_final: bool = False) -> list[dict[str, Any]]:
        """Reads what is new; returns the new values of the reward."""
        known = len(self.rewards)
        for source in self._sources:
            try:
                for scalar in source.read(is_final=is_final):
                    self._add(scalar)
            except Exception as error:  # files and libraries of any kind: what one job writes must not end the search
                if str(error) not in self._warned:
                    self._warned.add(str(error))
                    log.warning("cannot read the scalars of a job: %s: %s", type(error).__name__, error)
        return self.rewards[known:]

    @property
    def rewards(self) -> list[dict[str, Any]]:
        """The values of the reward."""
        return self.history.get(self._reward, [])

    @property
    def score(self) -> float | None:
        """The last OPTUNA_SCORE, else the last value of the reward; None if there is neither."""
        last = (self.history.get(SCORE_NAME) or self.rewards)[-1:]
        return last[0]["value"] if last else None

    def _add(self, scalar: Scalar) -> None:
        values = self.history.setdefault(scalar.name, [])
        step = len(values) if scalar.iteration is None else scalar.iteration
        created = scalar.created or int(time.time() * 1000)
        values.append({"iteration": step, "value": scalar.value, "created": created})


def environment(job_dir: Path, mock: str) -> dict[str, str]:
    """Returns what lets `from pavi import SummaryWriter` work in a job: only pavi is put on the path, nothing else."""
    shim = job_dir.parent.parent / "shim"
    shim.mkdir(parents=True, exist_ok=True)
    link = shim / "pavi"
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(Path(__file__).resolve().parents[1] / "pavi")
    path = os.pathsep.join(filter(None, (str(shim), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "GML_SCALARS": str(job_dir / "scalars.jsonl"), "MOCK_PAVI": mock}
