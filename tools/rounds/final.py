"""Writes `final.npz` from the parts: equal rows give equal bytes, in memory that does not grow with them."""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.rounds.durable import replacing
from tools.rounds.layout import Layout
from tools.rounds.parts import Parts

CHUNK_BYTES = 4 << 20


def write_final(path: Path, parts: Parts, layout: Layout, num_rows: int, source: "Source") -> None:
    """Writes `final.npz`, whole or not at all; equal rows give equal bytes, and memory stays small.

    Args:
        path: the file.
        parts: rows to write; those of `meta.round_id` become `meta` with seed and name.
        layout: fields of `parts`.
        num_rows: only the first rows are written.
        source: names and seeds of rounds.
    """
    columns = _columns(layout, source)
    with replacing(path, sync=True) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for key, dtype in columns.items():
            chunks = _chunks(key, dtype, parts, layout, num_rows, source)
            _write_array(archive, key, dtype, num_rows, chunks)
        for name, ranges in sorted(layout.gaps.items()):
            if (mask := _mask(ranges, num_rows)).any():
                _write_array(archive, f"missing.{name}", mask.dtype, num_rows, [mask])


@dataclass(frozen=True)
class Source:
    """Where samples come from.

    Attributes:
        name: start of all round names of the object.
        seed: seed of its round 0.
        last_round: highest round number in it.
    """

    name: str
    seed: int
    last_round: int

    @property
    def dtype(self) -> np.dtype:
        """Of one row of `meta`."""
        width = len(f"{self.name}{self.last_round}")
        return np.dtype([("seed", "<i8"), ("round_id", "<i4"), ("name", f"<U{width}")])

    def rows(self, round_ids: np.ndarray) -> np.ndarray:
        """Returns rows of `meta`."""
        found = np.zeros(len(round_ids), dtype=self.dtype)
        found["round_id"], found["seed"] = round_ids, round_ids.astype(np.int64) + self.seed
        unique, which = np.unique(round_ids, return_inverse=True)
        found["name"] = np.array([f"{self.name}{number}" for number in unique], dtype=self.dtype["name"])[which]
        return found


def _columns(layout: Layout, source: Source) -> dict[str, np.dtype]:
    """Returns the arrays of `final.npz`: fields `energies.x` become fields x of one array `energies`, and so on."""
    columns: dict[str, np.dtype] = {}
    groups: dict[str, list[tuple[str, np.dtype]]] = {}
    for name, dtype in sorted(layout.dtypes.items()):
        group, _, term = name.partition(".")
        if group == "meta":
            continue
        if term and group not in layout.dtypes:
            groups.setdefault(group, []).append((term, dtype))
        else:
            columns[name] = dtype
    joined = {group: np.dtype(terms) for group, terms in groups.items()}
    return {**dict(sorted((columns | joined).items())), "meta": source.dtype}


def _chunks(
    key: str, dtype: np.dtype, parts: Parts, layout: Layout, num_rows: int, source: Source
) -> Iterator[np.ndarray]:
    step = max(1, CHUNK_BYTES // max(1, dtype.itemsize))
    for start in range(0, num_rows, step):
        stop = min(num_rows, start + step)
        if key == "meta":
            yield source.rows(parts.read("meta.round_id", layout, start, stop))
        elif key in layout.dtypes:
            yield parts.read(key, layout, start, stop)
        else:
            chunk = np.zeros(stop - start, dtype=dtype)
            for name in dtype.names or ():
                chunk[name] = parts.read(f"{key}.{name}", layout, start, stop)
            yield chunk


def _mask(ranges: Sequence[tuple[int, int]], num_rows: int) -> np.ndarray:
    mask = np.zeros(num_rows, dtype=bool)
    for start, stop in ranges:
        mask[start:stop] = True
    return mask


def _write_array(
    archive: zipfile.ZipFile, key: str, dtype: np.dtype, num_rows: int, chunks: Iterable[np.ndarray]
) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype.base), "fortran_order": False}
    info = zipfile.ZipInfo(f"{key}.npy")  # the date of a ZipInfo is fixed: equal arrays, equal bytes
    with archive.open(info, "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, {**header, "shape": (num_rows, *dtype.shape)})
        for chunk in chunks:
            stream.write(chunk.tobytes())
