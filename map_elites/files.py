"""Files that are whole or not there: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, data: str | bytes) -> None:
    """Replaces a file so that a reader, or the next start after a crash, sees the old or the new one, never a part.

    The temporary file has a fixed name, so that writers killed again and again do not fill the folder.

    Args:
        path: The file to replace; its folder exists. One process writes a given file.
        data: The whole content; text is written as UTF-8.

    Raises:
        OSError: Full disk, missing permission; with the file's name. The old file is still there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` last through a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
