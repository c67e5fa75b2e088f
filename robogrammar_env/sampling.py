"""Random designs: RoboGrammar's uniform derivation, a sampler of useful bodies, and the list of all small ones."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from robogrammar_env.apr30 import LIMB_JOINTS, SPINE_JOINTS
from robogrammar_env.design import Design, LimbLink, RobotDesign, as_design
from robogrammar_env.errors import NoJointsError, UnfinishedDesignError
from robogrammar_env.grammar import MAX_RULES, load_grammar
from robogrammar_env.robot import build_robot, self_collides
from robogrammar_env.rule import is_finished

MAX_SEGMENTS = 6
MAX_LEG_PAIRS = 4
MAX_LEG_LINKS = 5
_LEG_TRIES = 20
_MOVING = tuple(kind for kind in SPINE_JOINTS if kind != "fixed")

Size = tuple[int, int, int, int]
"""Numbers of torso segments, leg pairs, leg links on one side, and hinges in the spine."""


def random_derivation(rng: np.random.Generator, max_rules: int = MAX_RULES, *, grammar: str = "apr30") -> Design:
    """Applies rules drawn uniformly from the applicable ones until the robot is finished, as RoboGrammar does.

    The result may be jointless or collide with itself: most are small, a quarter has no joint.

    Args:
        rng: source of randomness.
        max_rules: most rule applications.
        grammar: name or path of the grammar.

    Raises:
        UnfinishedDesignError: the robot is not finished after `max_rules` rules (3 in 100 with apr30 and 40 rules).
    """
    rules = load_grammar(grammar)
    graph = rules.start()
    numbers: list[int | str] = []
    while not is_finished(graph):
        applicable = rules.applicable(graph)
        if len(numbers) == max_rules or not applicable:
            raise UnfinishedDesignError(f"the derivation is not finished after {len(numbers)} rules: {numbers}")
        rule = applicable[rng.integers(len(applicable))]
        graph = rules.apply(graph, rule.number)
        numbers.append(rule.number)
    return as_design(numbers, grammar=grammar)


def sample_design(
    rng: np.random.Generator, *, min_joints: int = 1, max_joints: int = 24, max_rules: int = MAX_RULES
) -> RobotDesign:
    """Draws a body that can be trained: it has legs and joints, and does not collide with itself at rest.

    Sizes are spread evenly: first the number of torso segments (1 to 6), then of leg pairs (1 to 4), of leg links, and
    of moving spine joints, each uniform over what the limits leave. Legs are then drawn one after the other; a leg that
    overlaps what is there is drawn again.

    Args:
        rng: source of randomness.
        min_joints: fewest joints.
        max_joints: most joints.
        max_rules: most rules of the canonical sequence.

    Raises:
        NoJointsError: no body fits these limits.
    """
    sizes = _feasible_sizes(min_joints, max_joints, max_rules)
    while True:
        design = _try_design(rng, _draw_size(rng, sizes))
        if design is not None:
            return design


def _feasible_sizes(min_joints: int, max_joints: int, max_rules: int) -> list[Size]:
    """Lists all sizes within the limits; legs longer than `MAX_LEG_LINKS` only if nothing else fits."""
    for longest in (MAX_LEG_LINKS, max_rules):
        sizes = [
            (segments, legs, links, hinges)
            for segments in range(1, MAX_SEGMENTS + 1)
            for legs in range(1, min(segments, MAX_LEG_PAIRS) + 1)
            for links in range(legs, min(longest * legs, (max_rules - 1) // 3 - segments) + 1)
            for hinges in range(segments)
            if min_joints <= 2 * links + hinges <= max_joints
        ]
        if sizes:
            return sizes
    raise NoJointsError(f"no body has {min_joints} to {max_joints} joints and at most {max_rules} rules")


def _draw_size(rng: np.random.Generator, sizes: list[Size]) -> Size:
    """Draws each number in turn, uniformly over its values that are still possible."""
    for position in range(4):
        values = sorted({size[position] for size in sizes})
        value = values[rng.integers(len(values))]
        sizes = [size for size in sizes if size[position] == value]
    return sizes[0]


def _try_design(rng: np.random.Generator, size: Size) -> RobotDesign | None:
    """Draws a body of a size, or None if a leg finds no free place in `_LEG_TRIES` tries."""
    num_segments, num_legs, num_links, num_hinges = size
    segments: list[tuple[LimbLink, ...]] = [()] * num_segments
    spine = _draw_spine(rng, num_segments - 1, num_hinges)
    places = rng.permutation(num_segments)[:num_legs]
    for place, length in zip(places, _draw_lengths(rng, num_legs, num_links), strict=True):
        for _ in range(_LEG_TRIES):
            segments[place] = tuple(_draw_link(rng) for _ in range(length))
            design = RobotDesign(tuple(segments), spine)
            if not self_collides(build_robot(design)):
                break
        else:
            return None
    return design


def _draw_spine(rng: np.random.Generator, num_joints: int, num_hinges: int) -> tuple[str, ...]:
    kinds = [_MOVING[rng.integers(len(_MOVING))] for _ in range(num_hinges)] + ["fixed"] * (num_joints - num_hinges)
    return tuple(kinds[i] for i in rng.permutation(num_joints))


def _draw_lengths(rng: np.random.Generator, num_legs: int, num_links: int) -> list[int]:
    """Splits links among legs, at least one each, all splits equally likely."""
    cuts = np.sort(rng.permutation(num_links - 1)[: num_legs - 1]) + 1
    return np.diff([0, *cuts, num_links]).tolist()


def _draw_link(rng: np.random.Generator) -> LimbLink:
    kinds = tuple(LIMB_JOINTS)
    return LimbLink(kinds[rng.integers(len(kinds))], bool(rng.integers(2)))


def all_designs(max_rules: int) -> Iterator[RobotDesign]:
    """Yields every robot of apr30 that `max_rules` rules can make, each once, small ones first.

    There are 273 up to 10 rules, 4,369 up to 13, 69,905 up to 16; each 3 rules more make about 16 times as many.
    """
    for parts in range(1, (max_rules - 1) // 3 + 1):
        for num_segments in range(1, parts + 1):
            for spine in itertools.product(SPINE_JOINTS, repeat=num_segments - 1):
                for segments in _all_legs(num_segments, parts - num_segments):
                    yield RobotDesign(segments, spine)


def _all_legs(num_segments: int, num_links: int) -> Iterator[tuple[tuple[LimbLink, ...], ...]]:
    """Yields all ways to give `num_segments` segments `num_links` leg links in all."""
    kinds = [LimbLink(joint, long) for joint in LIMB_JOINTS for long in (False, True)]
    for lengths in _all_splits(num_segments, num_links):
        legs: list[Sequence[tuple[LimbLink, ...]]] = [
            tuple(itertools.product(kinds, repeat=length)) for length in lengths
        ]
        yield from itertools.product(*legs)


def _all_splits(num_parts: int, total: int) -> Iterator[tuple[int, ...]]:
    """Yields all tuples of `num_parts` counts, zeros allowed, that add up to `total`."""
    if num_parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _all_splits(num_parts - 1, total - first):
            yield (first, *rest)
