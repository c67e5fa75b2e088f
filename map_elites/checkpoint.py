"""The search as plain data and back: everything that a run needs to go on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from map_elites.archive import ArchiveError, read_archive, read_elite
from map_elites.contests import Wait
from map_elites.errors import RunFailedError
from map_elites.evolution import Evolution
from map_elites.files import write_atomically
from map_elites.nursery import Newborn
from map_elites.search import Counters, Search

FORMAT = 1
STATE_FILE = "state.json"
LEARNER_FILE = "learner.npz"  # of the shared policy, in the same folder


def search_state(search: Search) -> dict[str, Any]:
    """Everything that a search remembers, as plain data.

    Bodies being scored right now will be scored again; children that try the policy, or compete at the end, are not
    kept, others will be.
    """
    passing = search.passing_children if isinstance(search, Evolution) else set()
    state = {
        "archive": search.archive.to_state(),
        "newborns": [
            {
                "id": newborn.id,
                "rules": list(newborn.design.rules),
                "parent_ids": list(newborn.parent_ids),
                "steps": newborn.steps,
                "training": newborn.training,
                "recent": [dict(row) for row in newborn.recent],
            }
            for newborn in search.nursery
            if newborn.id not in passing
        ],
        "born": search.nursery.born,
        "failures": [[list(rules), reasons] for rules, reasons in search.failures.items()],
        "refused": [list(rules) for rules in sorted(search.refused)],
        "counters": asdict(search.counters),
        "trained": sorted(search.trained),
        "rng": search.rng.bit_generator.state,
    }
    return state | (_contest_state(search) if isinstance(search, Evolution) else {})


def _contest_state(evolution: Evolution) -> dict[str, Any]:
    contests = evolution.contests
    flying = {number: wait for flight in evolution.waits.values() for number, wait in flight.items()}
    return {
        "waiting": [[n, wait.rounds, sorted(wait.opponents)] for n, wait in {**flying, **contests.waiting}.items()],
        "orders": contests.orders,
        "reserve": [evolution.archive.state_of(elite) for elite in evolution.reserve.values()],
        "closed": evolution.closed,
        "closing_seeds": list(evolution.closing.seeds if evolution.closing else ()),
        "initial": evolution.initial,
        "warming_up": evolution.warming_up,
        "warmup_end": evolution.warmup_end,
    }


def restore_search(search: Search, state: Mapping[str, Any], read_design: Callable[[Sequence[int]], Any]) -> None:
    """Puts a fresh search into the state that `search_state` described.

    Raises:
        ArchiveError, KeyError, TypeError, ValueError: The state is damaged.
    """
    for elite in read_archive(state["archive"], axes=search.archive.axes, read_design=read_design):
        search.archive.add(elite)
    for entry in state["newborns"]:
        newborn = Newborn(int(entry["id"]), read_design(entry["rules"]), tuple(entry["parent_ids"]))
        newborn.steps, newborn.training = int(entry["steps"]), bool(entry["training"])
        newborn.recent.extend(entry["recent"])
        search.nursery.put(newborn)
    search.nursery.born = int(state["born"])
    search.failures.update({tuple(rules): list(reasons) for rules, reasons in state["failures"]})
    search.refused.update(map(tuple, state["refused"]))
    search.counters = Counters(**state["counters"])
    search.trained.update(map(int, state["trained"]))
    search.rng.bit_generator.state = state["rng"]
    if isinstance(search, Evolution):
        _restore_contests(search, state)
        reserve = [read_elite(entry, read_design) for entry in state.get("reserve", ())]  # none in older checkpoints
        search.reserve.update({elite.id: elite for elite in reserve})
        seeds = tuple(map(int, state.get("closing_seeds", ())))  # nor these
        if seeds and state["closed"]:
            search.close(seeds)


def _restore_contests(evolution: Evolution, state: Mapping[str, Any]) -> None:
    evolution.contests.waiting.update(
        {
            int(number): Wait(int(rounds), set(opponents))
            for number, rounds, opponents in state["waiting"]
            if number in evolution.nursery or number in evolution.archive
        }
    )
    evolution.contests.orders = int(state["orders"])
    evolution.initial = [int(number) for number in state["initial"]]
    evolution.warming_up = bool(state["warming_up"])
    evolution.warmup_end = int(state.get("warmup_end", evolution.warmup_end))  # none in older checkpoints
    if not evolution.initial:  # a screening begins anew
        evolution.nursery.keep([])


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
    search: Search, folder: Path, state: Mapping[str, Any], read_design: Callable[[Sequence[int]], Any]
) -> None:
    """`restore_search`, with one clear error.

    Raises:
        RunFailedError: The state is damaged.
    """
    try:
        restore_search(search, state["search"], read_design)
    except (ArchiveError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFailedError(f"checkpoint {folder / STATE_FILE} is damaged: {error}") from None
