"""A job's own copy of the user's project."""

import shutil
from collections.abc import Sequence
from pathlib import Path

NEVER_COPIED = (".git", ".venv", "venv", "__pycache__", "gml_tasks", "gml_jobs", "archive")


def copy_project(source: Path, target: Path, symlink_paths: Sequence[str] = ()) -> Path:
    """Copies a project folder, with some paths linked instead.

    Args:
        source: the project.
        target: the copy; an earlier one is replaced.
        symlink_paths: paths below `source` that become links to the originals: large data, results.

    Returns:
        `target`.

    Raises:
        ValueError: a path to be linked does not exist or is not below `source`.
    """
    linked = linked_paths(source, symlink_paths)
    shutil.rmtree(target, ignore_errors=True)

    def is_skipped(path: Path) -> bool:
        return path.name in NEVER_COPIED or path == target or path.relative_to(source) in linked

    def skipped(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if is_skipped(Path(folder, name))]

    shutil.copytree(source, target, symlinks=True, ignore=skipped)
    for path in linked:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).symlink_to(source / path)
    return target


def linked_paths(source: Path, symlink_paths: Sequence[str]) -> list[Path]:
    """Returns the paths to be linked, relative to the project.

    Raises:
        ValueError: one does not exist or is not below `source`.
    """
    return [_below(source, path) for path in symlink_paths]


def _below(source: Path, path: str) -> Path:
    full = (source / path).absolute()
    if not full.exists() or not full.is_relative_to(source) or full == source:
        raise ValueError(f"path to be linked, {path!r}, must exist below the project {source}")
    return full.relative_to(source)
