"""Runs gml's commands as a user does: in a folder of their own, as processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gml.rows import Row, read_rows
from gml.task import TaskFolder

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # for helpers that test files share


class Workspace:
    """A folder with tasks in it."""

    def __init__(self, path: Path):
        self.path = path
        self.env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def start(self, *words: str, **env: str) -> subprocess.Popen:
        """Starts `search-run` (run ...), `search-ctl` (ctl ...) or `search-init` (init)."""
        command = [sys.executable, "-m", "gml.cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.path, env={**self.env, **env}, stdout=pipe, stderr=pipe, text=True)

    def call(self, *words: str, code: int | None = 0, **env: str) -> str:
        """Runs to the end, checks the exit code, returns what was printed."""
        process = self.start(*words, **env)
        out, error = process.communicate(timeout=200)
        assert code is None or process.returncode == code, f"exit code {process.returncode}\n{out}\n{error}"
        assert "Traceback" not in error, error
        return out + error

    def refused(self, *words: str, **env: str) -> str:
        """Runs what is wrong: exit code 2 and one line."""
        message = self.call(*words, code=2, **env).strip()
        errors = [line for line in message.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, message
        return errors[0]

    def task(self, name: str = "t") -> TaskFolder:
        return TaskFolder(self.path / "gml_tasks" / name)

    def rows(self, name: str = "t") -> list[Row]:
        task = self.task(name)
        return read_rows(task.db, task.is_live) if task.exists() else []

    def states(self, name: str = "t") -> list[str]:
        return [row.state for row in self.rows(name)]


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    def wait(condition: Callable[[], object], limit_s: float = 60.0) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "condition did not come true in time"
            time.sleep(0.02)

    return wait


def processes_with(text: str) -> list[str]:
    """Returns the command lines of living processes whose environment or command line holds a text."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            content = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if state not in "ZX" and text.encode() in content:
            found.append((folder / "cmdline").read_bytes().decode(errors="replace"))
    return found
