"""The archive: for every cell of a grid over descriptors, the best design seen, with scores that may also fall.

Scores belong to a policy that keeps changing, so an elite can be scored again (up or down), move to another cell
and be removed. Designs are opaque values: the archive only needs their rule numbers and their readable form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from map_elites.descriptors import Descriptor
from map_elites.files import write_atomically

Cell = tuple[int, ...]
HISTORY_LENGTH = 16  # scores kept per elite; older ones are in evaluations.csv


class ArchiveError(ValueError):
    """An archive or one of its entries is damaged or breaks the archive's rules."""


class Design(Protocol):
    """What the search knows of a design; equal rules mean the same design."""

    @property
    def rules(self) -> tuple[int, ...]:
        """Canonical rule sequence that rebuilds the design."""


@dataclass(frozen=True)
class Score:
    """What evaluation under one policy version found.

    Attributes:
        fitness: Net forward speed, m/s.
        descriptors: Every named descriptor, behaviour and body.
        policy_version: Weights that drove the robot.
        episodes: Episodes behind the mean.
        robogrammar_objective: RoboGrammar's own objective; None where it was not measured.
        terrain_speeds: Net forward speed on each terrain of the run, m/s; the fitness is their mean.
    """

    fitness: float
    descriptors: Mapping[str, float]
    policy_version: int
    episodes: int
    robogrammar_objective: float | None = None
    terrain_speeds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Elite:
    """A scored design. `id` is a counter; `history` has (policy version, fitness) of earlier scores, oldest first."""

    id: int
    design: Design
    score: Score
    joints: int
    terrain: str
    engine: str
    parent_ids: tuple[int, ...] = ()
    history: tuple[tuple[int, float], ...] = ()
    verified: Score | None = None

    @property
    def fitness(self) -> float:
        """Net forward speed of the current score, m/s."""
        return self.score.fitness

    @property
    def known_speed(self) -> float:
        """The best knowledge of its speed, m/s: verified, where a run got so far."""
        return (self.verified or self.score).fitness

    def rescored(self, score: Score) -> Elite:
        """The same elite with a new score; the old one, if it is another one, goes into its history."""
        if score is self.score:
            return self
        past = (*self.history, (self.score.policy_version, self.score.fitness))
        return replace(self, score=score, history=past[-HISTORY_LENGTH:])


@dataclass(frozen=True)
class AddResult:
    """What happened to an elite that asked for its cell.

    Attributes:
        status: "new" cell, "improved" cell, "rejected" by the incumbent, or "duplicate" design.
        cell: The cell asked for.
        evicted: Who lost the cell, if anybody.
    """

    status: Literal["new", "improved", "rejected", "duplicate"]
    cell: Cell
    evicted: Elite | None = None


@dataclass
class Archive:
    """Grid of elites over named descriptors.

    Attributes:
        axes: The descriptors that span the grid.
    """

    axes: tuple[Descriptor, ...]
    _by_cell: dict[Cell, Elite] = field(default_factory=dict)
    _cell_by_id: dict[int, Cell] = field(default_factory=dict)
    _id_by_rules: dict[tuple[int, ...], int] = field(default_factory=dict)

    # -- reading ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._by_cell)

    def __iter__(self) -> Iterator[Elite]:
        """Elites in the order of their cells, whatever the order of arrival."""
        return (self._by_cell[cell] for cell in sorted(self._by_cell))

    def __contains__(self, elite_id: int) -> bool:
        return elite_id in self._cell_by_id

    def get(self, elite_id: int) -> Elite:
        """Elite of that id.

        Raises:
            KeyError: Not in the archive.
        """
        return self._by_cell[self._cell_by_id[elite_id]]

    def at(self, cell: Cell) -> Elite | None:
        """The incumbent of a cell."""
        return self._by_cell.get(cell)

    def cell_of_elite(self, elite_id: int) -> Cell:
        """Where an elite lives."""
        return self._cell_by_id[elite_id]

    def has_design(self, design: Design) -> bool:
        """Whether a design already is in the archive."""
        return design.rules in self._id_by_rules

    def cell_of(self, descriptors: Mapping[str, float]) -> Cell:
        """Cell of measured descriptors.

        Raises:
            ArchiveError: A descriptor of the grid is missing or not finite.
        """
        try:
            return tuple(axis.bin_of(descriptors[axis.name]) for axis in self.axes)
        except KeyError as error:
            raise ArchiveError(f"no value for descriptor {error.args[0]!r}; measured: {sorted(descriptors)}") from None
        except ValueError as error:
            raise ArchiveError(str(error)) from None

    @property
    def num_cells(self) -> int:
        """Cells of the grid."""
        return math.prod(axis.bins for axis in self.axes)

    @property
    def coverage(self) -> float:
        """Filled share of all cells, 0..1."""
        return len(self) / self.num_cells

    @property
    def qd_score(self) -> float:
        """Sum of fitness over elites (offset 0), m/s."""
        return math.fsum(elite.fitness for elite in self)

    def gain(self, score: Score) -> float:
        """What the QD score would gain, m/s, from a design with that score; negative where it would lose its cell.

        Raises:
            ArchiveError: A descriptor of the grid is missing or not finite.
        """
        incumbent = self.at(self.cell_of(score.descriptors))
        return score.fitness - (incumbent.fitness if incumbent else 0.0)

    @property
    def best(self) -> Elite | None:
        """The fastest elite; the older one of equals."""
        return max(self, key=lambda elite: (elite.fitness, -elite.id), default=None)

    # -- changing --------------------------------------------------------------------------------------------------

    def add(self, elite: Elite) -> AddResult:
        """Offers an elite to its cell: it enters if the cell is empty or its fitness is strictly higher.

        Raises:
            ArchiveError: The score is not finite, or the id is taken.
        """
        if not math.isfinite(elite.fitness):
            raise ArchiveError(f"elite {elite.id}: fitness must be finite, got {elite.fitness}")
        if elite.id in self:
            raise ArchiveError(f"elite {elite.id} is in the archive already; score it again instead")
        cell = self.cell_of(elite.score.descriptors)
        if self.has_design(elite.design):
            return AddResult("duplicate", cell)
        incumbent = self.at(cell)
        if incumbent is None:
            self._place(elite, cell)
            return AddResult("new", cell)
        if elite.fitness <= incumbent.fitness:
            return AddResult("rejected", cell)
        self.remove(incumbent.id)
        self._place(elite, cell)
        return AddResult("improved", cell, evicted=incumbent)

    def rescore(self, elite_id: int, score: Score) -> AddResult:
        """Gives an elite a new score, higher or lower, and moves it to the cell its new descriptors ask for.

        Where another elite lives there, the strictly fitter one stays and the other leaves the archive: call this
        only with scores of one policy version (see `evaluation.settle`).

        Raises:
            KeyError: Not in the archive.
            ArchiveError: The score is not finite or lacks a descriptor; nothing has changed.
        """
        elite = self.get(elite_id).rescored(score)
        if not math.isfinite(score.fitness):
            raise ArchiveError(f"elite {elite_id}: fitness must be finite, got {score.fitness}")
        self.cell_of(score.descriptors)
        self.remove(elite_id)
        return self.add(elite)

    def verify(self, elite_id: int, score: Score | None) -> None:
        """Records the score under the final frozen weights beside the running one; the cell stays."""
        cell = self._cell_by_id[elite_id]
        self._by_cell[cell] = replace(self._by_cell[cell], verified=score)

    def remove(self, elite_id: int) -> Elite:
        """Takes an elite out.

        Raises:
            KeyError: Not in the archive.
        """
        elite = self._by_cell.pop(self._cell_by_id.pop(elite_id))
        del self._id_by_rules[elite.design.rules]
        return elite

    def _place(self, elite: Elite, cell: Cell) -> None:
        self._by_cell[cell] = elite
        self._cell_by_id[elite.id] = cell
        self._id_by_rules[elite.design.rules] = elite.id

    # -- on disk ---------------------------------------------------------------------------------------------------

    def to_json(self) -> list[dict[str, Any]]:
        """The published form: one object per elite, in the order of cells; no time, host or path."""
        return [_published(elite, self.cell_of_elite(elite.id)) for elite in self]

    def to_state(self) -> list[dict[str, Any]]:
        """The published form and each elite's history, for checkpoints."""
        return [self.state_of(elite) for elite in self]

    def state_of(self, elite: Elite) -> dict[str, Any]:
        """The same of an elite that need not be in the archive, with the cell that it asks for."""
        return {**_published(elite, self.cell_of(elite.score.descriptors)), "history": elite.history}

    def save(self, path: Path) -> None:
        """Writes `archive.json` atomically, one elite per line."""
        lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in self.to_json())
        write_atomically(path, f"[\n{lines}\n]\n")


def _published(elite: Elite, cell: Cell) -> dict[str, Any]:
    verified = elite.verified
    return {
        "id": elite.id,
        "parent_ids": list(elite.parent_ids),
        "cell": list(cell),
        "rules": list(elite.design.rules),
        "design": str(elite.design),
        "fitness": elite.fitness,
        "descriptors": dict(sorted(elite.score.descriptors.items())),
        "policy_version": elite.score.policy_version,
        "episodes": elite.score.episodes,
        "verified_fitness": verified.fitness if verified else None,
        "robogrammar_objective": elite.score.robogrammar_objective,
        "verified_robogrammar_objective": verified.robogrammar_objective if verified else None,
        "terrain": elite.terrain,
        "terrain_speeds": dict(elite.score.terrain_speeds),
        "verified_terrain_speeds": dict(verified.terrain_speeds) if verified else {},
        "engine": elite.engine,
        "joints": elite.joints,
    }


def load_archive(path: Path, *, axes: Sequence[Descriptor], read_design: Callable[[Sequence[int]], Design]) -> Archive:
    """Reads `archive.json`.

    Args:
        path: File that `Archive.save` wrote.
        axes: The grid that it was saved with.
        read_design: Design of a rule sequence; raises ValueError for a bad one.

    Raises:
        ArchiveError: Damaged or foreign content, elites in wrong cells; the message names file, entry and reason.
        OSError: The file cannot be read.
    """
    try:
        return read_archive(json.loads(path.read_text(encoding="utf-8")), axes=axes, read_design=read_design)
    except (UnicodeDecodeError, ValueError) as error:
        raise ArchiveError(f"{path} is damaged: {error}") from None


def read_archive(
    entries: Any, *, axes: Sequence[Descriptor], read_design: Callable[[Sequence[int]], Design]
) -> Archive:
    """The archive of `Archive.to_json` or `Archive.to_state`; arguments and errors as `load_archive`."""
    archive = Archive(tuple(axes))
    if not isinstance(entries, list):
        raise ArchiveError("wants a list of elites")
    for index, entry in enumerate(entries):
        try:
            _restore(archive, entry, read_design)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
            raise ArchiveError(f"elite at position {index}: {reason}") from None
    return archive


def _restore(archive: Archive, entry: Mapping[str, Any], read_design: Callable[[Sequence[int]], Design]) -> None:
    result = archive.add(read_elite(entry, read_design))
    if result.status != "new" or list(result.cell) != entry["cell"]:
        raise ArchiveError(f"cell {entry['cell']} does not fit its descriptors {list(result.cell)} ({result.status})")


def read_elite(entry: Mapping[str, Any], read_design: Callable[[Sequence[int]], Design]) -> Elite:
    """The elite of an entry of `Archive.to_json` or `Archive.state_of`.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: The entry is damaged.
    """
    descriptors = {str(name): float(value) for name, value in entry["descriptors"].items()}
    score = Score(
        fitness=float(entry["fitness"]),
        descriptors=descriptors,
        policy_version=int(entry["policy_version"]),
        episodes=int(entry["episodes"]),
        robogrammar_objective=entry["robogrammar_objective"],
        terrain_speeds=_speeds(entry, "terrain_speeds"),
    )
    verified = None
    if entry["verified_fitness"] is not None:
        verified = replace(
            score,
            fitness=float(entry["verified_fitness"]),
            robogrammar_objective=entry["verified_robogrammar_objective"],
            terrain_speeds=_speeds(entry, "verified_terrain_speeds"),
        )
    return Elite(
        id=int(entry["id"]),
        design=read_design(entry["rules"]),
        score=score,
        joints=int(entry["joints"]),
        terrain=str(entry["terrain"]),
        engine=str(entry["engine"]),
        parent_ids=tuple(map(int, entry["parent_ids"])),
        history=tuple((int(version), float(fitness)) for version, fitness in entry.get("history", ())),
        verified=verified,
    )


def _speeds(entry: Mapping[str, Any], key: str) -> dict[str, float]:
    """Speeds by terrain; an archive of before there were several has none."""
    return {str(name): float(speed) for name, speed in entry.get(key, {}).items()}


def to_pyribs(archive: Archive | Iterable[Elite], axes: Sequence[Descriptor] | None = None) -> Any:
    """Copies an archive into a pyribs GridArchive: solutions are designs, the extra field `id` holds elite ids.

    Args:
        archive: The archive, or any elites.
        axes: Other axes to spread the elites over; by default the archive's own.

    Raises:
        ImportError: pyribs is not installed (`pip install ribs`).
    """
    import numpy as np
    from ribs.archives import GridArchive

    axes = tuple(axes or (archive.axes if isinstance(archive, Archive) else ()))
    grid = GridArchive(
        solution_dim=(),
        dims=[axis.bins for axis in axes],
        ranges=[(axis.low, axis.high) for axis in axes],
        solution_dtype=object,
        objective_dtype=np.float64,
        measures_dtype=np.float64,
        extra_fields={"id": ((), np.int64)},
    )
    for elite in archive:
        solution = np.empty(1, dtype=object)
        solution[0] = str(elite.design)
        measures = np.array([[elite.score.descriptors[axis.name] for axis in axes]])
        grid.add(solution, np.array([elite.fitness]), measures, id=np.array([elite.id]))
    return grid
