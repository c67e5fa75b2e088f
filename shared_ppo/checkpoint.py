"""The learner's state as bytes, and checkpoints as files that are whole or not there."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from shared_ppo.errors import CheckpointError

_META = "meta"
_FORMAT = 1


def to_bytes(arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> bytes:
    """Packs arrays and values that JSON can hold."""
    packed = io.BytesIO()
    text = np.frombuffer(json.dumps(meta | {"format": _FORMAT}).encode(), np.uint8)
    np.savez(packed, **{_META: text}, **arrays)  # type: ignore[arg-type]
    return packed.getvalue()


def from_bytes(data: bytes, source: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Unpacks what `to_bytes` packed; every array's checksum is checked.

    Raises:
        CheckpointError: if the data is damaged; `source` says where it came from.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
        meta = json.loads(arrays.pop(_META).tobytes())
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{source} is not a checkpoint of the shared policy, or damaged") from error
    if meta.get("format") != _FORMAT:
        raise CheckpointError(f"{source} has checkpoint format {meta.get('format')}; this program reads {_FORMAT}")
    return arrays, meta


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that a kill at any byte leaves the old one, or none, but never half of the new one.

    Raises:
        OSError: if it cannot be written (disk full, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads a checkpoint file.

    Raises:
        CheckpointError: if it cannot be read or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}") from error
    return from_bytes(data, str(path))
