"""Whole runs of the trainer, as a user starts them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence

from common.bodies import ROOT
from map_elites.errors import RunFailedError
from map_elites.run_folder import RunFolder


def finish(folder: RunFolder, arguments: Sequence[str]) -> None:
    """Runs the trainer, or goes on with its run, unless it is finished.

    Raises:
        RunFailedError: The trainer ended with an error, which it has printed.
    """
    if is_finished(folder):
        return
    command = [sys.executable, str(ROOT / "map_elites_trainer.py")]
    if folder.checkpoints():
        command += ["--resume", str(folder.path)]
    else:
        shutil.rmtree(folder.path, ignore_errors=True)
        command += [*arguments, "--results-dir", str(folder.path.parent), "--run-name", folder.path.name]
    print(f"# {' '.join(command[1:])}", flush=True)
    done = subprocess.run([*command, "--log-file", ""], stdout=subprocess.DEVNULL, check=False)
    if done.returncode or not is_finished(folder):
        raise RunFailedError(f"{folder.path}: the trainer ended with exit code {done.returncode}")


def is_finished(folder: RunFolder) -> bool:
    """Whether a run has come to its end; one under way, or interrupted, has a summary too."""
    path = folder.summary_path
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["status"] == "finished"
