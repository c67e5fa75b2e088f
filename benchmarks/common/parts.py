"""Results part by part: each in a JSON file of its own, made once, so that an interrupted benchmark goes on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from map_elites.errors import RunFailedError, UserError
from map_elites.files import write_atomically

LONGEST = 40
"""Characters of a value that an error still names."""


class Parts:
    """A folder of parts. A part is kept if its file is there and was made with equal settings.

    Args:
        folder: where the files are.
        keys: what every part of the program has, beside its settings; a file without them is not one of its parts.
    """

    def __init__(self, folder: Path, keys: Collection[str] = ()) -> None:
        self.folder, self._keys = folder, {"settings", *keys}

    def path(self, name: str) -> Path:
        """File of a part.

        Raises:
            UserError: The name is not that of a file.
        """
        if not name or name != Path(name).name:
            raise UserError(f"{name!r} cannot be the name of a file below {self.folder}; choose one without a slash")
        return self.folder / f"{name}.json"

    def is_missing(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether a part has to be made.

        Raises:
            UserError: Its file was made with other settings, which are never overwritten.
        """
        path = self.path(name)
        if not path.exists():
            return True
        found, wanted = self.read(path)["settings"], _plain(settings)
        if found != wanted:
            names = "; ".join(sorted(_differences(found, wanted))[:4])
            raise UserError(f"{path} was made with other settings ({names}); remove it, or choose another --out")
        print(f"# {name}: is there, kept", flush=True)
        return False

    def save(self, name: str, settings: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Writes a part, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        where = {"machine": machine(), "load": round(os.getloadavg()[2], 1)}
        part = {"part": name, **result, "settings": _plain(settings), **where}
        write_atomically(self.path(name), json.dumps(part, indent=1) + "\n")

    def make(self, name: str, settings: Mapping[str, Any], work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """A part, from its file or made now."""
        if self.is_missing(name, settings):
            self.save(name, settings, work())
        return self.read(self.path(name))

    def all(self, pattern: str = "*") -> list[dict[str, Any]]:
        """All parts whose names match, in the order of their names.

        Raises:
            UserError: There is no part at all.
            RunFailedError: One is damaged.
        """
        if not any(self.folder.glob("*.json")):
            raise UserError(f"{self.folder} has no results; run the program without --report, or choose another --out")
        return [self.read(path) for path in sorted(self.folder.glob(f"{pattern}.json"))]

    def read(self, path: Path) -> dict[str, Any]:
        """One part.

        Raises:
            RunFailedError: It is damaged, or another program's.
        """
        try:
            part = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFailedError(f"{path}: {error}; remove it to have it made again") from None
        missing = sorted(self._keys - set(part if isinstance(part, dict) else ()))
        if missing:
            raise RunFailedError(
                f"{path} is damaged or was made by another program: it has no {', '.join(map(repr, missing))}; "
                "remove it to have it made again, or choose another --out"
            )
        return part


def machine() -> str:
    """The processor, and how many cores of it may be used."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{len(os.sched_getaffinity(0))} cores of {model}"


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _differences(found: Any, wanted: Any, name: str = "") -> set[str]:
    """The values in which two settings differ, each with its dotted name, as it is and as it was wanted."""
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return set() if found == wanted else {f"{name or 'settings'}: {_told(found)}, wanted {_told(wanted)}"}
    keys = found.keys() | wanted.keys()
    return {d for key in keys for d in _differences(found.get(key), wanted.get(key), f"{name}.{key}".strip("."))}


def _told(value: Any) -> str:
    """A value as an error names it."""
    text = json.dumps(value)
    return text if len(text) <= LONGEST else "another"
