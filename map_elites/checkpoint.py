"""The search as plain data and back: everything that a run needs to go on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from map_elites.archive import ArchiveError, read_archive
from map_elites.contests import Wait
from map_elites.errors import RunFailedError
from map_elites.evolution import Counters, Evolution
from map_elites.files import write_atomically
from map_elites.nursery import Newborn

FORMAT = 1
STATE_FILE = "state.json"


def search_state(evolution: Evolution) -> dict[str, Any]:
    """Everything that the search remembers, as plain data. Bodies being scored right now will be scored again."""
    nursery, contests = evolution.nursery, evolution.contests
    waits = {number: wait for flight in evolution.waits.values() for number, wait in flight.items()}
    return {
        "archive": evolution.archive.to_state(),
        "newborns": [
            {
                "id": newborn.id,
                "rules": list(newborn.design.rules),
                "parent_ids": list(newborn.parent_ids),
                "steps": newborn.steps,
                "training": newborn.training,
                "recent": [dict(row) for row in newborn.recent],
            }
            for newborn in nursery
        ],
        "born": nursery.born,
        "waiting": [[n, w.rounds, sorted(w.opponents)] for n, w in {**waits, **contests.waiting}.items()],
        "orders": contests.orders,
        "failures": [[list(rules), reasons] for rules, reasons in evolution.failures.items()],
        "counters": asdict(evolution.counters),
        "trained": sorted(evolution.trained),
        "initial": evolution.initial,
        "warming_up": evolution.warming_up,
        "rng": evolution.rng.bit_generator.state,
    }


def restore_search(evolution: Evolution, state: Mapping[str, Any], read_design: Callable[[Sequence[int]], Any]) -> None:
    """Puts a fresh search into the state that `search_state` described.

    Raises:
        ArchiveError, KeyError, TypeError, ValueError: The state is damaged.
    """
    saved = read_archive(state["archive"], axes=evolution.archive.axes, read_design=read_design)
    for elite in saved:
        evolution.archive.add(elite)
    for entry in state["newborns"]:
        newborn = Newborn(int(entry["id"]), read_design(entry["rules"]), tuple(entry["parent_ids"]))
        newborn.steps, newborn.training = int(entry["steps"]), bool(entry["training"])
        newborn.recent.extend(entry["recent"])
        evolution.nursery.put(newborn)
    evolution.nursery.born = int(state["born"])
    evolution.contests.waiting.update(
        {int(number): Wait(int(rounds), set(opponents)) for number, rounds, opponents in state["waiting"]}
    )
    evolution.contests.orders = int(state["orders"])
    evolution.failures.update({tuple(rules): list(reasons) for rules, reasons in state["failures"]})
    evolution.counters = Counters(**state["counters"])
    evolution.trained.update(map(int, state["trained"]))
    evolution.initial = [int(number) for number in state["initial"]]
    evolution.warming_up = bool(state["warming_up"])
    evolution.rng.bit_generator.state = state["rng"]


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes the state of a run into a checkpoint folder."""
    write_atomically(folder / STATE_FILE, json.dumps({"format": FORMAT, **state}, allow_nan=False) + "\n")


def read_state(folder: Path) -> dict[str, Any]:
    """Reads the state of a run from a checkpoint folder.

    Raises:
        RunFailedError: Missing or damaged.
    """
    path = folder / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["format"] != FORMAT:
            raise RunFailedError(f"checkpoint {path} has format {state['format']}, this program reads {FORMAT}")
        return state
    except OSError as error:
        raise RunFailedError(f"cannot read checkpoint {path}: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError, KeyError, TypeError):
        raise RunFailedError(f"checkpoint {path} is damaged; remove its folder to go on from an earlier one") from None


def restore_or_fail(
    evolution: Evolution, folder: Path, state: Mapping[str, Any], read_design: Callable[[Sequence[int]], Any]
) -> None:
    """`restore_search`, with one clear error.

    Raises:
        RunFailedError: The state is damaged.
    """
    try:
        restore_search(evolution, state["search"], read_design)
    except (ArchiveError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFailedError(f"checkpoint {folder / STATE_FILE} is damaged: {error}") from None
