"""The folder of a run: where things lie, and when it is refused."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from map_elites.errors import RunFailedError, UserError
from map_elites.files import sync_folder, write_atomically

log = logging.getLogger(__name__)

PACKAGES = ("torch", "numpy", "gymnasium", "pybullet", "mujoco", "networkx", "tensorboard", "matplotlib", "PyYAML")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
STEP_FOLDER = re.compile(r"step_(\d{12})")


@dataclass(frozen=True)
class RunFolder:
    """Places inside `results/<run>/`."""

    path: Path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other runs out while this one writes; the system lets go of the folder however the process ends.

        Raises:
            UserError: Another run is writing here.
        """
        with (self.path / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is writing to run folder {self.path}; stop it first") from None
            except OSError:
                log.warning("run folder %s is on a file system without locks", self.path)
            yield

    @property
    def config_path(self) -> Path:
        """Settings of the run."""
        return self.path / "config.yaml"

    @property
    def log_path(self) -> Path:
        """What happened, line by line."""
        return self.path / "training.log"

    @property
    def metrics_path(self) -> Path:
        """Curves as a table."""
        return self.path / "metrics.csv"

    @property
    def evaluations_path(self) -> Path:
        """Every score and every failed evaluation as a table."""
        return self.path / "evaluations.csv"

    @property
    def tensorboard_path(self) -> Path:
        """Curves for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def archive_path(self) -> Path:
        """The elites."""
        return self.path / "archive.json"

    @property
    def heatmap_path(self) -> Path:
        """The archive as a picture."""
        return self.path / "plots" / "heatmap.png"

    @property
    def summary_path(self) -> Path:
        """The closing figures."""
        return self.path / "summary.json"

    @property
    def checkpoints_path(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        if not self.checkpoints_path.is_dir():
            return []
        return sorted(path for path in self.checkpoints_path.iterdir() if STEP_FOLDER.fullmatch(path.name))

    def newest_checkpoint(self) -> Path:
        """The checkpoint to go on from.

        Raises:
            RunFailedError: There is none.
        """
        found = self.checkpoints()
        if not found:
            raise RunFailedError(f"{self.path} has no complete checkpoint; start the run again under another name")
        return found[-1]

    def write_checkpoint(self, env_steps: int, write: Callable[[Path], None], *, keep: int) -> Path:
        """Writes a checkpoint into a hidden folder and renames it into place when it is complete.

        Args:
            env_steps: Control steps so far; names the checkpoint.
            write: Fills the folder it is given.
            keep: Newest checkpoints that stay; the very first one always stays.
        """
        final = self.checkpoints_path / f"step_{env_steps:012d}"
        temporary, replaced = self.checkpoints_path / ".writing", self.checkpoints_path / ".replaced"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            write(temporary)
            _sync_tree(temporary)
        except OSError:  # on a full disk a half checkpoint is in the way of everything else
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if final.exists():  # nothing was simulated since: the new one replaces it
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
        temporary.rename(final)
        shutil.rmtree(replaced, ignore_errors=True)
        sync_folder(self.checkpoints_path)
        for old in self.checkpoints()[1:-keep]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes `summary.json` atomically."""
        write_atomically(self.summary_path, json.dumps(summary, indent=1, allow_nan=False) + "\n")

    def write_evaluation(self, report: Mapping[str, Any]) -> Path:
        """Writes what `--evaluate` found into `evaluations/`, one file for each engine and terrain."""
        path = self.path / "evaluations" / f"{report['engine']}_{report['terrain'].replace(',', '_')}.json"
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(report, indent=1, allow_nan=False) + "\n")
        return path

    def write_versions(self) -> None:
        """Writes `versions.txt`: what the run was made with."""
        write_atomically(self.path / "versions.txt", describe_versions())


def _sync_tree(folder: Path) -> None:
    """Flushes a folder's files to disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    sync_folder(folder)


def check_name(name: str) -> str:
    """A run name that is one plain folder name.

    Raises:
        UserError: It is empty, hidden, too long, or has a slash, '..' or control characters in it.
    """
    if "/" in name or "\\" in name or ".." in name or not name.isprintable():
        raise UserError(f"--run-name {name!r}: wants a plain name, without slash, '..' or control characters")
    if not name.strip() or len(name.encode()) > 200 or name.startswith((".", "-")):
        raise UserError(f"--run-name {name!r}: wants 1 to 200 characters, not starting with '.' or '-'")
    return name


def default_name(results_dir: Path, *, mode: str, seed: int) -> str:
    """A name from date, mode and seed that is not taken."""
    base = f"{time.strftime('%Y%m%d-%H%M%S')}-{mode}-seed{seed}"
    names = [base, *(f"{base}-{number}" for number in range(2, 1000))]
    return next(name for name in names if not (results_dir / name).exists())


def check_new_folder(results_dir: Path, name: str) -> None:
    """Checks, without touching anything, that a run folder can be made.

    Raises:
        UserError: It exists, or its place cannot be written to.
    """
    path = results_dir / check_name(name)
    check_writable(results_dir)
    if path.exists() or path.is_symlink():
        raise UserError(f"run folder {path} exists; choose another --run-name, or go on with --resume {path}")


def check_writable(folder: Path) -> None:
    """Checks that a folder can be written to, or made.

    Raises:
        UserError: It is not a folder, or permissions forbid it.
    """
    try:
        existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    except OSError as error:  # such as a name that is too long
        raise UserError(f"folder {folder} cannot be made: {error.strerror}") from None
    if not existing.is_dir():
        raise UserError(f"{existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"folder {existing} cannot be written to")


def make_folder(results_dir: Path, name: str) -> RunFolder:
    """Makes the run folder.

    Raises:
        UserError: It exists or cannot be made.
        OSError: The disk is full.
    """
    check_new_folder(results_dir, name)
    folder = RunFolder(results_dir / name)
    try:
        folder.path.mkdir(parents=True)
        folder.checkpoints_path.mkdir()
        folder.heatmap_path.parent.mkdir()
        folder.tensorboard_path.mkdir()
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise UserError(f"cannot make run folder {folder.path}: {error.strerror}") from None
    return folder


def open_folder(path: Path) -> RunFolder:
    """The folder of an earlier run.

    Raises:
        UserError: It is missing, or not the folder of a run.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise UserError(f"{path} is not a folder" if path.exists() else f"no folder {path}")
    if not folder.config_path.is_file():
        raise UserError(f"{path} is not a run folder: it has no config.yaml")
    return folder


def describe_versions() -> str:
    """Interpreter, system, packages and commit, one per line."""
    lines = [f"python {sys.version.split()[0]}", f"platform {platform.platform()}"]
    for name in PACKAGES:
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    lines.append(f"commit {_commit()}")
    return "\n".join(lines) + "\n"


def _commit() -> str:
    """Commit of the code that runs, marked where files differ from it; 'unknown' outside a clone."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip() or "unknown"
