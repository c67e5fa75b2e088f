"""Writes scalars: one JSON object a line, and TensorBoard events."""

import json
import os
import time
from pathlib import Path
from typing import Any

from pavi.events import EventFile

SCALARS_VARIABLE = "GML_SCALARS"  # set by the scheduler: the scalar file of the job
MOCK_VARIABLE = "MOCK_PAVI"
SCALARS_FILE = "scalars.jsonl"


class SummaryWriter:
    """Reports the scalars of one training.

    Attributes:
        name: name of the training.
        log_dir: folder of its files; None with MOCK_PAVI=2.
    """

    def __init__(self, name: str = "training", **info: Any):
        """Opens the training.

        Args:
            name: its name.
            **info: whatever else a program tells about itself (session_text, labels); kept beside the scalars.
        """
        self.name = name
        self.log_dir: Path | None = None
        self._events: EventFile | None = None
        if os.environ.get(MOCK_VARIABLE) == "2":
            return
        default = Path("pavi_logs") / name.replace("/", "_") / SCALARS_FILE
        file = Path(os.environ.get(SCALARS_VARIABLE) or default).absolute()
        self.log_dir = file.parent
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if info:
            (self.log_dir / "training.json").write_text(json.dumps({"name": name, **info}, default=str), "utf-8")

    def add_scalar(self, tag: str, value: Any, iteration: int = 0, **_: Any) -> None:
        """Reports one value; tensors and arrays with one element are numbers too.

        Args:
            tag: name of the scalar.
            value: its value.
            iteration: step it belongs to.
        """
        if self.log_dir is None:
            return
        now, number, step = time.time(), float(value), int(iteration)
        line = {"name": tag, "iteration": step, "value": number, "created": int(now * 1000)}
        os.write(self._file, json.dumps(line).encode() + b"\n")  # one write, so lines never mix
        if self._events is None:
            self._events = EventFile(self.log_dir / "tensorboard")
        self._events.add(tag, number, step, now)

    def add_scalars(self, main_tag: str, values: dict[str, Any], iteration: int = 0) -> None:
        """Reports several values at once as main_tag/name."""
        for name, value in values.items():
            self.add_scalar(f"{main_tag}/{name}", value, iteration)

    def flush(self) -> None:
        """Does nothing: every value is written at once."""

    def close(self) -> None:
        """Ends the training."""
        if self.log_dir is not None:
            os.close(self._file)
            self.log_dir = None

    def __enter__(self) -> "SummaryWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
