"""Curves of a run: `metrics.csv`, `evaluations.csv` and TensorBoard, all flushed so that they move while it runs."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from map_elites.errors import RunFailedError
from map_elites.files import write_atomically


class Table:
    """A CSV file that grows row by row and can be cut back to a checkpoint.

    Args:
        path: The file; it is made with a header if it does not exist.
        columns: Names; the first one is `env_steps`.
        upto: Rows of later control steps are removed (they came after the checkpoint that a run goes on from), and
            rows that a power cut has damaged.

    Raises:
        RunFailedError: There is something else in the file.
    """

    def __init__(self, path: Path, columns: Iterable[str], *, upto: int | None = None) -> None:
        self.columns = tuple(columns)
        if path.exists() and upto is not None:
            self._cut(path, upto)
        fresh = not path.exists()
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, self.columns, extrasaction="ignore", lineterminator="\n")
        if fresh:
            self._writer.writeheader()
            self._file.flush()

    def _cut(self, path: Path, upto: int) -> None:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames and self.columns[0] not in reader.fieldnames:
                raise RunFailedError(f"{path} is damaged; the run can go on when it is moved away")
            rows = [row for row in reader if (row[self.columns[0]] or "").isdecimal()]
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if int(row["env_steps"]) <= upto)
        write_atomically(path, buffer.getvalue())

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row; missing values stay empty."""
        self._writer.writerow({name: _plain(row.get(name)) for name in self.columns})
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _plain(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value


class TensorBoard:
    """Event files for TensorBoard, written without the deep-learning library so that this process stays small.

    Args:
        folder: Where the event files go.
        purge_after: TensorBoard forgets earlier points beyond this step (a run that goes on from a checkpoint).
    """

    def __init__(self, folder: Path, *, purge_after: int | None = None) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._events, self._summaries = event_pb2, summary_pb2
        self._writer = EventFileWriter(str(folder))
        if purge_after is not None:
            session = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=purge_after + 1, session_log=session))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds a point to each curve, by tag."""
        pairs = [self._summaries.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(pairs, step)

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Adds a picture."""
        width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
        image = self._summaries.Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png)
        self._add([self._summaries.Summary.Value(tag=tag, image=image)], step)
        self._writer.flush()

    def _add(self, values: list[Any], step: int) -> None:
        summary = self._summaries.Summary(value=values)
        self._writer.add_event(self._events.Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Puts everything on disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()
