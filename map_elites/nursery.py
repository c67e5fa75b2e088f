"""Newborns: bodies that train, or wait to be scored, before they may enter the archive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from map_elites.archive import Archive
from map_elites.config import EvolutionConfig
from map_elites.selection import by_tournament
from map_elites.variation import Variation

RECENT_EPISODES = 3  # training episodes from which a newborn's cell is guessed
RANDOM_DRAWS = 20  # draws of a random design until one is accepted although it is known


@dataclass
class Newborn:
    """A design on its way into the archive.

    Attributes:
        id: Counter, unique within the run.
        design: What it is.
        parent_ids: Elites, or bodies of the screening, that it was bred from.
        steps: Control steps it has trained.
        training: It still has to train before it can be scored; not so a child of a litter that has not been chosen.
        recent: Values of its last training episodes, or of its try in a litter.
    """

    id: int
    design: Any
    parent_ids: tuple[int, ...] = ()
    steps: int = 0
    training: bool = True
    recent: deque[Mapping[str, float]] = field(default_factory=lambda: deque(maxlen=RECENT_EPISODES))


class Nursery:
    """All newborns, and how new ones are made.

    Attributes:
        config: Shares and sizes.
        born: Newborns so far; the next one's id.
    """

    def __init__(
        self,
        config: EvolutionConfig,
        variation: Variation,
        archive: Archive,
        rng: np.random.Generator,
        unwanted: Callable[[Any], bool],
    ) -> None:
        self.born = 0
        self.config, self._variation, self._archive = config, variation, archive
        self._rng, self._unwanted = rng, unwanted
        self._newborns: dict[int, Newborn] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._newborns

    def __getitem__(self, number: int) -> Newborn:
        return self._newborns[number]

    def __iter__(self) -> Iterator[Newborn]:
        return iter(self._newborns.values())

    def __len__(self) -> int:
        return len(self._newborns)

    def pop(self, number: int) -> None:
        """Forgets a newborn, if it is one."""
        self._newborns.pop(number, None)

    def keep(self, numbers: Sequence[int]) -> None:
        """Forgets all newborns but these."""
        self._newborns = {number: self._newborns[number] for number in numbers}

    def put(self, newborn: Newborn) -> None:
        """Takes a newborn in (from a checkpoint)."""
        self._newborns[newborn.id] = newborn

    def training(self) -> list[int]:
        """Ids of those that still train, in the order in which they came; of a litter the best first."""
        return [newborn.id for newborn in self if newborn.training]

    def without_place(self, placed: set[int]) -> int:
        """A newborn that trains but is not among `placed`, bred now if there is none; it joins `placed`."""
        number = next((number for number in self.training() if number not in placed), None)
        number = self.breed() if number is None else number
        placed.add(number)
        return number

    def breed(self, tournament: int | None = None) -> int:
        """Makes a child of one or two elites, or a random newborn, and returns its id.

        Args:
            tournament: Of how many elites drawn by lot a parent is the fastest; None: as the settings say.
        """
        if len(self._archive) and self._rng.random() >= self.config.random_share:
            wanted = 2 if self._rng.random() < self.config.crossover_share else 1
            size = self.config.tournament if tournament is None else tournament
            parents = list(islice(by_tournament(self._archive, size, self._rng), wanted))
            design = self._child([parent.design for parent in parents])
            if design is not None:
                return self._take(design, tuple(parent.id for parent in parents))
        return self.random_newborn()

    def litter(self, size: int, tournament: int | None = None) -> list[int]:
        """Makes that many children, `random_share` of them random, that train only if they are chosen; their ids."""
        children = [self.breed(tournament) for _ in range(size)]
        for number in children:
            self[number].training = False
        return children

    def choose(self, litter: Sequence[int], chosen: Sequence[int], contenders: Sequence[int]) -> None:
        """Has the chosen of a litter train, the best first, keeps the contenders as they are, forgets the others."""
        kept = [self._newborns.pop(number) for number in (*chosen, *contenders)]
        for number in litter:
            self.pop(number)
        for newborn in kept:
            newborn.training = newborn.id in chosen
            self.put(newborn)

    def random_newborn(self) -> int:
        """Makes a newborn without parents, of a new design if a few draws give one, and returns its id."""
        design = self._variation.space.sample(self._rng)
        for _ in range(RANDOM_DRAWS):
            if not self.knows(design):
                break
            design = self._variation.space.sample(self._rng)
        return self._take(design)

    def family(self, founders: Sequence[int], size: int) -> list[int]:
        """Ids of newborns and descendants of theirs, `size` in all: each a child of any of those before.

        Without founders, or where no new child is found, members are random.
        """
        members = list(founders[:size])
        while len(members) < size:
            members.append(self.child_of(members if founders else ()))
        return members

    def child_of(self, numbers: Sequence[int]) -> int:
        """Makes a child of any one of these newborns and returns its id; a random newborn if there is none."""
        if not numbers:
            return self.random_newborn()
        parent = self[numbers[int(self._rng.integers(len(numbers)))]]
        design = self._child([parent.design])
        return self.random_newborn() if design is None else self._take(design, (parent.id,))

    def knows(self, design: Any) -> bool:
        """Whether a design is in the archive, on its way there, or unwanted."""
        if self._archive.has_design(design) or self._unwanted(design):
            return True
        return any(newborn.design.rules == design.rules for newborn in self)

    def _child(self, parents: Sequence[Any]) -> Any | None:
        if len(parents) == 2:
            return self._variation.cross(parents[0], parents[1], self._rng, known=self.knows)
        return self._variation.mutate(parents[0], self._rng, known=self.knows)

    def _take(self, design: Any, parent_ids: tuple[int, ...] = ()) -> int:
        number = self.born
        self.born += 1
        self._newborns[number] = Newborn(number, design, parent_ids)
        return number
