"""The growing arrays of one object: one file of raw rows per field, appended to; `final.npz` is written from them.

A row is there once the journal says so: what a killed runner appended beyond that is cut off when it comes back.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tools.rounds.layout import Layout


class Parts:
    """The files of one object's fields."""

    def __init__(self, folder: Path):
        """Uses `folder`; makes it with the first rows."""
        self._folder = folder

    def _file(self, name: str) -> Path:
        return self._folder / f"{''.join(c if c.isalnum() or c in '._-' else f'%{ord(c):x}' for c in name)}.raw"

    def rows_there(self, layout: Layout) -> int:
        """Returns how many of the rows that should be there are."""
        sizes = [(self._file(name), dtype.itemsize) for name, dtype in layout.dtypes.items()]
        return min((file.stat().st_size // size if file.exists() else 0 for file, size in sizes), default=0)

    def cut(self, layout: Layout) -> None:
        """Cuts off whatever is beyond the layout's rows, and fields that are not in it."""
        if not layout.count:
            self.delete()
        wanted = {self._file(name): dtype.itemsize * layout.count for name, dtype in layout.dtypes.items()}
        for file in self._folder.glob("*.raw"):
            if file not in wanted:
                file.unlink()
            elif file.stat().st_size > wanted[file]:
                with file.open("r+b") as stream:
                    stream.truncate(wanted[file])

    def append(self, layout: Layout, fields: Mapping[str, np.ndarray], new: Mapping[str, np.dtype]) -> None:
        """Appends rows after the layout's; the layout itself is left alone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        num_rows = len(fields["samples"])
        for name, dtype in {**layout.dtypes, **new}.items():
            with self._file(name).open("wb" if name in new else "ab") as stream:
                if name in new:
                    self._write(stream, _filler(dtype, layout.count))
                self._write(stream, fields[name] if name in fields else _filler(dtype, num_rows), dtype)

    @staticmethod
    def _write(stream: Any, rows: np.ndarray, dtype: np.dtype | None = None) -> None:
        stream.write(np.ascontiguousarray(rows, dtype=dtype.base if dtype is not None else None).tobytes())

    def read(self, name: str, layout: Layout, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Returns rows of a field."""
        dtype, stop = layout.dtypes[name], layout.count if stop is None else stop
        with self._file(name).open("rb") as stream:
            stream.seek(start * dtype.itemsize)
            data = stream.read((stop - start) * dtype.itemsize)
        return np.frombuffer(data, dtype=dtype.base).reshape(stop - start, *dtype.shape)

    def delete(self) -> None:
        """Deletes all rows."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _filler(dtype: np.dtype, num_rows: int) -> np.ndarray:
    fill: Any = {"f": np.nan, "c": np.nan, "M": "NaT", "m": "NaT"}.get(dtype.base.kind)
    empty = np.zeros((num_rows, *dtype.shape), dtype=dtype.base)
    if fill is not None:
        empty.fill(np.array(fill, dtype=dtype.base))
    return empty
