"""What is deleted when: nothing before it has been merged, and nothing outside the folders of rounds."""

import fnmatch
import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def clean_round(folder: Path, patterns: Sequence[str]) -> None:
    """Deletes what matches a pattern from a round's folder, at any depth; with '*' the folder itself."""
    if "*" in patterns:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for where, folders, files in os.walk(folder):
        for name in [name for name in folders if _matches(name, patterns)]:
            shutil.rmtree(Path(where, name), ignore_errors=True)
            folders.remove(name)
        for name in files:
            if _matches(name, patterns):
                Path(where, name).unlink(missing_ok=True)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def folder_bytes(folder: Path) -> int:
    """Returns the disk space of a folder in bytes."""
    total = 0
    for where, _, files in os.walk(folder):
        total += sum(os.lstat(Path(where, name)).st_blocks * 512 for name in files)
    return total
