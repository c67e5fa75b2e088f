"""Compares: groups of tasks whose trainings are looked at together. One small file each, beside the tasks."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gml.errors import ConfigError, DamagedError, unknown
from gml.task import COMPARES, TaskFolder

PAGE = "http://127.0.0.1:8080"  # where `search-ctl dashboard` serves unless told otherwise


def join_compare(wanted: Mapping[str, Any], task: TaskFolder) -> str:
    """Adds a task to the Compare with the `id` of the config, or to a new one with its `name`.

    Returns:
        The id of the Compare.

    Raises:
        ConfigError: there is no Compare with that id.
        DamagedError: its file cannot be read.
    """
    folder = task.path.parent / COMPARES
    if "id" in wanted:
        compare_id = str(wanted["id"])
        known = [file.stem for file in folder.glob("*.json")]
        if compare_id not in known:
            raise ConfigError(f"pavi.compare.id: {unknown('Compare', compare_id, known)}")
        content = _read(folder / f"{compare_id}.json")
    else:
        compare_id = uuid.uuid4().hex[:13]
        content = {"name": str(wanted.get("name", task.name)), "tasks": []}
    content["tasks"] = sorted({*content["tasks"], task.name})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{compare_id}.json").write_text(json.dumps(content), encoding="utf-8")
    return compare_id


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {"name": str(content["name"]), "tasks": list(content["tasks"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{file} cannot be read: {error}") from error


def compare_url(compare_id: str) -> str:
    """Returns the address of a Compare on the page of `search-ctl dashboard`."""
    return f"{PAGE}/dashboard/studies/1?compare={compare_id}"


def training_url(number: int) -> str:
    """Returns the address of a job's training on that page."""
    return f"{PAGE}/dashboard/studies/1/trials?numbers={number}"
