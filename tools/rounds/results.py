"""Reads what a round left behind: `.npz`, `.npy`, plain arrays, structured ones, or a list of one dict per sample.

Every field comes out as one array whose rows are samples, under its common name: `samples`, `energies.total`, ...
Lists of dicts are pickles; they are read with an unpickler that knows numbers and arrays and nothing else.
"""

import math
import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from tools.rounds.errors import ResultError

ENERGY_TERMS = ("total", "distance", "penetration", "self_penetration", "joint_limits", "wrench_volume")
SHORT_ENERGIES = {
    "energy": "total",
    "E_dis": "distance",
    "E_pen": "penetration",
    "E_spen": "self_penetration",
    "E_joints": "joint_limits",
    "E_vew": "wrench_volume",
    "E_fc": "force_closure",
}
SNAPSHOT = re.compile(r".*_\d+\.npy")  # saved by the command on its way, as in NAME_500.npy
SAFE_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "collections", "_codecs")
SAFE_NAMES = ("ndarray", "dtype", "_reconstruct", "scalar", "OrderedDict", "encode")
NUMBERS_AND_TEXT = "biufcSUMm"
PIECE_BYTES = 16 << 20
UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError)


class _NumbersOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in SAFE_MODULES and name in SAFE_NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"holds objects of {module}.{name}, not only numbers")


def read_results(folder: Path, object_code: str) -> dict[str, np.ndarray]:
    """Reads the samples of one round.

    Args:
        folder: results folder of the round.
        object_code: a file of this name is taken alone.

    Returns:
        Arrays by common name, all with the same number of rows, at least one; `samples` is among them.

    Raises:
        ResultError: nothing is there, or it is damaged, empty or inconsistent.
    """
    fields: dict[str, np.ndarray] = {}
    for file in _files(folder, object_code):
        try:
            raw = _read_npz(file) if file.suffix == ".npz" else _read_npy(file, object_code)
        except UNREADABLE as error:
            raise ResultError(
                f"cannot read {file.name}: {' '.join(str(error).split()) or 'it is cut short'}"
            ) from error
        fields = {**_common_names(raw, file.name), **fields}
    fields = {name: array for name, array in fields.items() if array.ndim}  # a lone number belongs to no sample
    _add_samples(fields)
    _check(fields, folder)
    return fields


def _files(folder: Path, object_code: str) -> list[Path]:
    for alone in (folder / f"{object_code}.npz", folder / f"{object_code}.npy"):
        if alone.is_file():
            return [alone]
    found = sorted(folder.glob("*.npz")) + sorted(folder.glob("*.npy"))
    if found := [file for file in found if not SNAPSHOT.fullmatch(file.name)]:
        return found
    raise ResultError(f"no .npz or .npy result in {folder}")


def _read_npz(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        fields = {}
        for name in archive.namelist():
            key = name.removesuffix(".npy")
            if key.split(".")[0] != "meta":  # `meta` is ours: seed, round and name of every sample
                with archive.open(name) as stream:
                    fields[key] = _read_array(stream)
    return fields


def _read_npy(file: Path, object_code: str) -> dict[str, Any]:
    with file.open("rb") as stream:
        found = _read_array(stream)
    records = found.dtype == object and found.ndim == 1
    name = "samples" if file.stem == object_code and not records else file.stem
    return _columns(list(found)) if records else {name: found}


def _read_array(stream: IO[bytes]) -> np.ndarray:
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(stream)
    if dtype.hasobject:
        found = _NumbersOnly(stream).load()
        if not isinstance(found, np.ndarray):
            raise ValueError("holds no array")
        return found
    data = _read_exactly(stream, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")


def _read_exactly(stream: IO[bytes], num_bytes: int) -> bytes:
    """Reads piece by piece: a header that promises too much costs no memory."""
    pieces, there = [], 0
    while there < num_bytes and (piece := stream.read(min(PIECE_BYTES, num_bytes - there))):
        pieces.append(piece)
        there += len(piece)
    if there < num_bytes:
        raise EOFError(f"it is cut short: {there} of {num_bytes} bytes")
    return b"".join(pieces)


def _columns(records: list[Any]) -> dict[str, Any]:
    """Turns one dict per sample into one array per key; dicts within become columns in the order of the first one."""
    if not records or not all(isinstance(record, dict) for record in records):
        raise ValueError("holds Python objects that are no dicts")
    return {key: np.array([_numbers(record[key]) for record in records]) for key in records[0]}


def _numbers(value: Any) -> Any:
    return [_numbers(item) for item in value.values()] if isinstance(value, dict) else value


def _common_names(raw: Mapping[str, Any], file_name: str) -> dict[str, np.ndarray]:
    fields: dict[str, np.ndarray] = {}
    for key, value in raw.items():
        array = np.asarray(value)
        if array.dtype == object and array.ndim == 0 and isinstance(array.item(), dict):
            fields |= {common_name(f"{key}.{name}"): np.asarray(part) for name, part in array.item().items()}
        elif array.dtype == object:
            raise ResultError(f"{key} in {file_name} holds Python objects, not numbers")
        elif array.dtype.names:
            fields |= {common_name(f"{key}.{name}"): array[name] for name in array.dtype.names}
        else:
            fields[common_name(key)] = array
    return fields


def common_name(key: str) -> str:
    """Returns the name under which a field is merged."""
    if key == "poses":
        return "samples"
    term = re.sub(r"^(energies|energy)[./_]", "", key)
    term = SHORT_ENERGIES.get(term, term)
    if term in ENERGY_TERMS or term != key:
        return f"energies.{term}"
    return key


def _add_samples(fields: dict[str, np.ndarray]) -> None:
    """Joins the joint positions (`qpos...`) side by side if a program has no field of samples."""
    poses = [name for name in fields if name.startswith("qpos") and not name.endswith("_st")]
    if "samples" not in fields and poses and len({len(fields[name]) for name in poses}) == 1:
        fields["samples"] = np.concatenate([fields[name].reshape(len(fields[name]), -1) for name in poses], axis=1)


def _check(fields: Mapping[str, np.ndarray], folder: Path) -> None:
    if "samples" not in fields:
        raise ResultError(f"no field samples (or poses) in {folder}; there are: {', '.join(sorted(fields)) or 'none'}")
    counts = {name: len(array) for name, array in fields.items()}
    if counts["samples"] < 1:
        raise ResultError(f"no samples in {folder}")
    for name, array in fields.items():
        if array.dtype.kind not in NUMBERS_AND_TEXT or not math.prod(array.shape[1:]) or not array.dtype.itemsize:
            raise ResultError(f"{name} has rows of {array.dtype} {array.shape[1:]}, not numbers or text")
    if wrong := [f"{name}: {count}" for name, count in counts.items() if count != counts["samples"]]:
        raise ResultError(f"{counts['samples']} samples, but another number of rows in {', '.join(wrong)}")
