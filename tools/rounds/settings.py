"""Settings of an experiment: one frozen object, checked as a whole before anything starts."""

import difflib
import json
import re
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import yaml

from tools.rounds.errors import RoundsError
from tools.rounds.selection import Filter

SEEDS_PER_OBJECT = 100_000  # seed = seed_base + object_index * SEEDS_PER_OBJECT + round_id
MAIN_PY = (
    "{python} main.py --name {name} --object_code {object_code} --batch_size {round_batch_size}"
    " --num_iterations {num_iterations} --seed {seed} --gpu 0"
)
REBUILDABLE = ("frames", "optimization_*.mp4", "*.npy")
NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
SLOT = re.compile(r"[A-Za-z0-9][\w.:/-]*")
REQUIRED = ("exp_name", "object_code_list", "target_count_per_object")
FIXED = ("object_code_list", "round_batch_size", "num_iterations", "seed_base", "filter", "min_distance")


def _say(text: str, default: Any) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """Everything that describes an experiment; the names are those of the flags and of the YAML keys."""

    exp_name: str = _say("name of the experiment; its folder below experiments_dir", "")
    object_code_list: tuple[str, ...] = _say("objects: names, or one .json or text file that lists them", ())
    target_count_per_object: int = _say("samples that every object is to have", 0)
    round_batch_size: int = _say("samples that a round makes", 32)
    num_iterations: int = _say("iterations, handed to the command", 10_000)
    seed_base: int = _say("seed = seed_base + object_index * 100000 + round_id", 0)
    max_rounds: int = _say("most rounds of one object", SEEDS_PER_OBJECT)
    merge_stride: int = _say("merge an object when so many of its rounds are ready", 1)
    resume: bool = _say("go on with an interrupted experiment; starts anew if there is none", False)
    keep_intermediate: bool = _say("delete nothing when an object is done", False)
    gpus: str = _say("slots, one program at a time on each: GPU ids, or any names", "0")
    command: str = _say("command of a round; placeholders in braces", MAIN_PY)
    experiments_dir: str = _say("folder of all experiments, where the command leaves NAME/results", "data/experiments")
    workdir: str = _say("folder in which the command runs", ".")
    retries: int = _say("how often a failed round is tried again with the same seed", 2)
    give_up_after: int = _say("give an object up after so many rounds in a row without a sample", 5)
    round_timeout_s: float | None = _say("seconds after which a round counts as failed", None)
    threads: int = _say("OMP_NUM_THREADS, MKL_NUM_THREADS and the like for a round", 2)
    filter: tuple[str, ...] = _say("keep only samples with, for instance, 'energies.penetration<=0.01'", ())
    min_distance: float | None = _say("drop a sample whose `samples` row is this close to a kept one (Euclidean)", None)
    cleanup: tuple[str, ...] = _say("deleted from the rounds of a finished object; '*' is everything", REBUILDABLE)
    clean_after: str = _say(
        "'object': clean up when an object is done; 'round': as soon as a round is merged", "object"
    )
    round_mb: float | None = _say("disk space of a round in MB, for the dry run; else measured on earlier rounds", None)

    @property
    def folder(self) -> Path:
        """Folder of the experiment."""
        return Path(self.experiments_dir) / self.exp_name

    @property
    def slots(self) -> list[str]:
        """Names of the slots."""
        return self.gpus.split(",")

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, as JSON and YAML hold them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def check(self) -> None:
        """Checks all values.

        Raises:
            RoundsError: names everything that is wrong.
        """
        if wrong := [*_wrong_numbers(self), *_wrong_names(self)]:
            raise RoundsError("; ".join(wrong))
        for text in self.filter:
            Filter.parse(text)


def _wrong_numbers(settings: Settings) -> list[str]:
    smallest = {"target_count_per_object": 1, "round_batch_size": 1, "num_iterations": 0, "seed_base": 0}
    smallest |= {"max_rounds": 1, "merge_stride": 1, "retries": 0, "give_up_after": 1, "threads": 1}
    wrong = [
        f"{name} must be at least {least}, got {getattr(settings, name)}"
        for name, least in smallest.items()
        if name not in _missing(settings) and getattr(settings, name) < least
    ]
    for name in ("round_timeout_s", "min_distance", "round_mb"):
        value = getattr(settings, name)
        if value is not None and not value > 0:
            wrong.append(f"{name} must be above 0, got {value}")
    if settings.max_rounds > SEEDS_PER_OBJECT:
        wrong.append(f"max_rounds must be at most {SEEDS_PER_OBJECT} (seeds would repeat), got {settings.max_rounds}")
    return wrong


def _missing(settings: Settings) -> list[str]:
    return [name for name in REQUIRED if not getattr(settings, name)]


def _wrong_names(settings: Settings) -> list[str]:
    wrong = [f"{name} is missing" for name in _missing(settings)]
    if settings.exp_name and (not NAME.fullmatch(settings.exp_name) or "__" in settings.exp_name):
        wrong.append(f"exp_name must be letters, digits, - . + and single _, got {settings.exp_name!r}")
    codes = settings.object_code_list
    wrong += [f"object {code!r} must be letters, digits, - _ . +" for code in codes if not NAME.fullmatch(code)]
    if twice := sorted({code for code in codes if codes.count(code) > 1}):
        wrong.append(f"objects appear twice: {', '.join(twice)}")
    if not all(SLOT.fullmatch(slot) for slot in settings.slots) or len(set(settings.slots)) < len(settings.slots):
        wrong.append(f"gpus must be different names with commas between, as in 0,1,2; got {settings.gpus!r}")
    if settings.clean_after not in ("object", "round"):
        wrong.append(f"clean_after must be 'object' or 'round', got {settings.clean_after!r}")
    if not settings.command.strip():
        wrong.append("command is empty")
    return wrong


def make_settings(*layers: Mapping[str, Any]) -> Settings:
    """Joins layers of values, later ones first in rank, and checks the result.

    Raises:
        RoundsError: an unknown key, a value of the wrong type, or a wrong value.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        values |= {key: _cast(key, value) for key, value in layer.items()}
    if "object_code_list" in values:
        values["object_code_list"] = read_objects(values["object_code_list"])
    settings = Settings(**values)
    settings.check()
    return settings


def _cast(key: str, value: Any) -> Any:
    kinds: dict[str, Any] = {item.name: item.type for item in fields(Settings)}
    if key not in kinds:
        near = difflib.get_close_matches(key, kinds, 1)
        raise RoundsError(f"unknown setting {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    kind = kinds[key]
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kind = get_args(kind)[0]
    if kind == tuple[str, ...]:
        return tuple(str(item) for item in (value if isinstance(value, (list, tuple)) else [value]))
    if kind is str and isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    return _cast_scalar(key, value, kind)


def _cast_scalar(key: str, value: Any, kind: type) -> Any:
    """Casts one value; YAML reads 1e4 as text, and flags are all text."""
    wrong = RoundsError(f"{key} must be of type {kind.__name__}, got {value!r}")
    if value is None or isinstance(value, dict) or isinstance(value, bool) != (kind is bool):
        raise wrong
    if kind in (bool, str) or isinstance(value, kind):
        return kind(value)
    try:
        number = float(value)
        if kind is int and number != int(number):
            raise wrong
    except (ValueError, OverflowError, TypeError) as error:
        raise wrong from error
    return kind(number)


def read_objects(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the object names; a single name that is a file, or ends in .json or .txt, is read.

    Raises:
        RoundsError: the file is missing or holds something else.
    """
    path = Path(names[0]) if len(names) == 1 else None
    if path is None or not (path.suffix in (".json", ".txt") or path.is_file()):
        return names
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tuple(line.split("#")[0].strip() for line in text.splitlines() if line.split("#")[0].strip())
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise RoundsError(f"cannot read the object list {path}: {error}") from error
    found = found.get("object_code_list") if isinstance(found, dict) else found
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise RoundsError(f"object list {path} must be a JSON list of names")
    return tuple(found)


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a settings file.

    Raises:
        RoundsError: it is missing or not a mapping.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RoundsError(f"cannot read the settings file {path}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise RoundsError(f"settings file {path} must hold keys and values")
    return {str(key): value for key, value in found.items()}
