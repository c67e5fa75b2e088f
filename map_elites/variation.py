"""Variation: children of archived designs, always finished and valid.

Operators edit the two parts of a design: `segments`, one leg pair (a chain of limb links, or none) per torso
segment, and `spine`, the joints between neighbouring segments. What a limb link is, how parts become a design and
which designs are allowed comes in through a `DesignSpace`, so that this file knows no grammar and no physics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Leg = tuple[Any, ...]  # limb links from the body outwards; each has `.joint` and `.long`
MAX_TRIES = 60


class PartedDesign(Protocol):
    """A design that can be taken apart."""

    @property
    def rules(self) -> tuple[int, ...]:
        """Canonical rule sequence."""

    @property
    def segments(self) -> tuple[Leg, ...]:
        """One leg pair per torso segment, nose first; () for a segment without legs."""

    @property
    def spine(self) -> tuple[str, ...]:
        """Joint kinds between neighbouring segments, one fewer than segments."""


@dataclass(frozen=True)
class DesignSpace:
    """Building blocks of designs, handed in by whoever knows the grammar.

    Attributes:
        limb_joints: Joint kinds of limb links.
        spine_joints: Joint kinds between torso segments.
        make_link: Limb link of (joint kind, long?).
        make_design: Design of (segments, spine); raises ValueError where the grammar has none.
        check: Raises ValueError for a design that is not allowed (too many rules or joints, none, self-collision).
        sample: A random allowed design.
    """

    limb_joints: tuple[str, ...]
    spine_joints: tuple[str, ...]
    make_link: Callable[[str, bool], Any]
    make_design: Callable[[tuple[Leg, ...], tuple[str, ...]], Any]
    check: Callable[[Any], None]
    sample: Callable[[np.random.Generator], Any]

    def random_link(self, rng: np.random.Generator) -> Any:
        """A limb link of any kind."""
        return self.make_link(str(rng.choice(self.limb_joints)), bool(rng.integers(2)))


@dataclass(frozen=True)
class Parts:
    """A design taken apart."""

    segments: tuple[Leg, ...]
    spine: tuple[str, ...]

    def with_leg(self, index: int, leg: Leg) -> Parts:
        """The same body with another leg pair on one segment."""
        return Parts((*self.segments[:index], leg, *self.segments[index + 1 :]), self.spine)

    def legged(self) -> list[int]:
        """Segments that carry legs."""
        return [i for i, leg in enumerate(self.segments) if leg]

    def bare(self) -> list[int]:
        """Segments without legs."""
        return [i for i, leg in enumerate(self.segments) if not leg]


Operator = Callable[[Parts, DesignSpace, np.random.Generator], Parts | None]


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _other(rng: np.random.Generator, options: Sequence[str], current: str) -> str:
    return str(_pick(rng, [option for option in options if option != current]))


def grow_leg(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Adds a link at the end of a leg pair."""
    if not parts.legged():
        return None
    index = _pick(rng, parts.legged())
    return parts.with_leg(index, (*parts.segments[index], space.random_link(rng)))


def prune_leg(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Takes any one link out of a leg pair."""
    if not parts.legged():
        return None
    index = _pick(rng, parts.legged())
    leg = parts.segments[index]
    gone = int(rng.integers(len(leg)))
    return parts.with_leg(index, leg[:gone] + leg[gone + 1 :])


def change_joint(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Gives one limb link another kind of joint."""
    return _edit_link(parts, rng, lambda link: space.make_link(_other(rng, space.limb_joints, link.joint), link.long))


def change_length(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Makes one limb link long instead of short, or the other way round."""
    return _edit_link(parts, rng, lambda link: space.make_link(link.joint, not link.long))


def _edit_link(parts: Parts, rng: np.random.Generator, edit: Callable[[Any], Any]) -> Parts | None:
    if not parts.legged():
        return None
    index = _pick(rng, parts.legged())
    leg = list(parts.segments[index])
    at = int(rng.integers(len(leg)))
    leg[at] = edit(leg[at])
    return parts.with_leg(index, tuple(leg))


def add_legs(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Puts a leg pair on a bare segment: a copy of another pair, or a new one of one or two links."""
    if not parts.bare():
        return None
    if parts.legged() and rng.random() < 0.5:
        leg = parts.segments[_pick(rng, parts.legged())]
    else:
        leg = tuple(space.random_link(rng) for _ in range(int(rng.integers(1, 3))))
    return parts.with_leg(_pick(rng, parts.bare()), leg)


def drop_legs(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Takes a whole leg pair off."""
    return parts.with_leg(_pick(rng, parts.legged()), ()) if parts.legged() else None


def copy_legs(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Makes one segment's legs equal to another's."""
    if len(parts.segments) < 2 or not parts.legged():
        return None
    return parts.with_leg(int(rng.integers(len(parts.segments))), parts.segments[_pick(rng, parts.legged())])


def add_segment(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Inserts a torso segment, bare or with a copy of a neighbour's legs."""
    at = int(rng.integers(len(parts.segments) + 1))
    leg = parts.segments[min(at, len(parts.segments) - 1)] if rng.random() < 0.5 else ()
    joint_at = min(at, len(parts.spine))
    spine = (*parts.spine[:joint_at], str(rng.choice(space.spine_joints)), *parts.spine[joint_at:])
    return Parts((*parts.segments[:at], leg, *parts.segments[at:]), spine)


def remove_segment(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Takes a torso segment out, with its legs."""
    if len(parts.segments) < 2:
        return None
    at = int(rng.integers(len(parts.segments)))
    joint_at = min(at, len(parts.spine) - 1)
    spine = parts.spine[:joint_at] + parts.spine[joint_at + 1 :]
    return Parts(parts.segments[:at] + parts.segments[at + 1 :], spine)


def change_spine(parts: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts | None:
    """Gives two neighbouring segments another kind of joint."""
    if not parts.spine:
        return None
    at = int(rng.integers(len(parts.spine)))
    kind = _other(rng, space.spine_joints, parts.spine[at])
    return Parts(parts.segments, (*parts.spine[:at], kind, *parts.spine[at + 1 :]))


OPERATORS: tuple[Operator, ...] = (
    grow_leg,
    prune_leg,
    change_joint,
    change_length,
    add_legs,
    drop_legs,
    copy_legs,
    add_segment,
    remove_segment,
    change_spine,
)


def join_halves(first: Parts, second: Parts, space: DesignSpace, rng: np.random.Generator) -> Parts:
    """Front segments of one parent, rear segments of the other; the joint between them from either, or a new one."""
    front = int(rng.integers(1, len(first.segments) + 1))
    rear = int(rng.integers(0, len(second.segments)))
    joints = [*first.spine[front - 1 : front], *second.spine[max(rear - 1, 0) : rear]] or list(space.spine_joints)
    return Parts(
        first.segments[:front] + second.segments[rear:],
        (*first.spine[: front - 1], str(_pick(rng, joints)), *second.spine[rear:]),
    )


@dataclass(frozen=True)
class Variation:
    """Makes children.

    Attributes:
        space: Building blocks and rules of validity.
        more_edits: Chance of each further edit after the first one.
        operators: Edits to draw from, uniformly.
    """

    space: DesignSpace
    more_edits: float = 0.35
    operators: tuple[Operator, ...] = OPERATORS

    def mutate(
        self, parent: PartedDesign, rng: np.random.Generator, *, known: Callable[[Any], bool] = lambda design: False
    ) -> Any | None:
        """A child of one parent, different from it and not `known`; None if `MAX_TRIES` edits gave none."""
        return self._attempt(lambda: self._edited(Parts(parent.segments, parent.spine), rng), parent, known)

    def cross(
        self,
        first: PartedDesign,
        second: PartedDesign,
        rng: np.random.Generator,
        *,
        known: Callable[[Any], bool] = lambda design: False,
    ) -> Any | None:
        """A child of two parents, now and then edited as well; None if `MAX_TRIES` tries gave none."""
        one, two = Parts(first.segments, first.spine), Parts(second.segments, second.spine)

        def attempt() -> Parts:
            child = join_halves(one, two, self.space, rng)
            return self._edited(child, rng) if rng.random() < self.more_edits else child

        return self._attempt(attempt, first, known)

    def _edited(self, parts: Parts, rng: np.random.Generator) -> Parts:
        while True:
            changed = _pick(rng, self.operators)(parts, self.space, rng)
            parts = changed or parts
            if changed is not None and rng.random() >= self.more_edits:
                return parts

    def _attempt(self, make: Callable[[], Parts], parent: PartedDesign, known: Callable[[Any], bool]) -> Any | None:
        for _ in range(MAX_TRIES):
            parts = make()
            try:
                design = self.space.make_design(parts.segments, parts.spine)
                if design.rules == parent.rules or known(design):
                    continue
                self.space.check(design)
            except ValueError:  # what the grammar or the physics rules out; try another edit
                continue
            return design
        return None
