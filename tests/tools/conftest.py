"""Shared by the tests of the scale runner: experiments on the stand-in program, in a folder of their own."""

import json
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

from tools.rounds.cli import main

FAKE = Path(__file__).with_name("fake_main.py")
SCALE_RUNNER = Path(__file__).resolve().parents[2] / "tools" / "scale_runner.py"


class Experiment:
    """An experiment with two objects on two slots that no other test uses."""

    def __init__(self, folder: Path, name: str = "exp"):
        self.name, self.root = name, folder
        slot = uuid.uuid4().hex[:8]
        self.gpus = f"{slot}a,{slot}b"
        self.folder = folder / "data" / "experiments" / name

    def arguments(
        self, *more: str, fake: str = "", objects=("box", "cup"), target: int = 20, batch: int = 4
    ) -> list[str]:
        """Flags of a run; `fake` are flags of the stand-in program."""
        command = f"{{python}} -S {FAKE} --name {{name}} --object_code {{object_code}} --batch_size {{batch_size}}"
        return [
            *("--exp_name", self.name, "--gpus", self.gpus, "--command", f"{command} --seed {{seed}} {fake}"),
            *("--object_code_list", *objects, "--target_count_per_object", str(target)),
            *("--round_batch_size", str(batch), *more),
        ]

    def run(self, *more: str, **options) -> int:
        """Runs in this process; returns the exit code."""
        return main(self.arguments(*more, **options))

    def process(self, *more: str, **options) -> list[str]:
        """Returns the command line of a runner in a process of its own."""
        return [sys.executable, str(SCALE_RUNNER), *self.arguments(*more, **options)]

    def final(self, object_code: str = "box") -> Path:
        return self.folder / "final" / object_code / "final.npz"

    def load(self, object_code: str = "box") -> dict[str, np.ndarray]:
        with np.load(self.final(object_code)) as archive:
            return dict(archive)

    def manifest(self) -> dict:
        return json.loads((self.folder / "manifest.json").read_text())

    def rounds(self, object_code: str = "box") -> list[dict]:
        return [line for line in self.manifest()["rounds"] if line["object_code"] == object_code]


@pytest.fixture
def make_experiment(tmp_path, monkeypatch):
    """Makes an experiment in a folder of its own; the last one's folder is the current one."""

    def make(folder: str = "", name: str = "exp") -> Experiment:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        monkeypatch.chdir(root)
        return Experiment(root, name)

    return make


@pytest.fixture
def experiment(make_experiment) -> Experiment:
    """An experiment in the current folder."""
    return make_experiment()
