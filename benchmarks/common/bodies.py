"""Files of designs, and new designs drawn or bred from a seed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from map_elites.config import EvolutionConfig
from map_elites.errors import UserError
from map_elites.trainer.bodies import design_space
from map_elites.variation import Variation
from robogrammar_env.design import RobotDesign, as_design
from robogrammar_env.errors import RobotError
from robogrammar_env.sampling import sample_design

ROOT = Path(__file__).parents[2]
BODIES = ROOT / "benchmarks" / "bodies32.txt"
HELD_OUT = ROOT / "benchmarks" / "held_out32.txt"
PUBLISHED = ("flat", "ridged")


def read_designs(path: Path) -> list[RobotDesign]:
    """The designs of a file, one readable design, rule sequence or published name a line; `#` starts a comment.

    Raises:
        UserError: The file cannot be read, or a line is no design.
    """
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        return [robot_design(line) for line in lines if line]
    except (OSError, UnicodeDecodeError, RobotError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def robot_design(text: str) -> RobotDesign:
    """A design in words, rule numbers or by its published name, in the canonical form that the trainer uses.

    Raises:
        RobotError: It is none.
    """
    design = as_design(text)
    return design if isinstance(design, RobotDesign) else RobotDesign.from_rules(design.rules)


def published_designs() -> list[RobotDesign]:
    """RoboGrammar's flat and ridged designs."""
    return [robot_design(name) for name in PUBLISHED]


def draw_designs(
    count: int, *, seed: int, without: Collection[RobotDesign] = (), min_joints: int = 3, max_joints: int = 16
) -> list[RobotDesign]:
    """Draws `count` different useful designs, none of those in `without`."""
    rng = np.random.default_rng(seed)
    designs: dict[RobotDesign, None] = {}
    while len(designs) < count:
        design = sample_design(rng, min_joints=min_joints, max_joints=max_joints)
        if design not in without:
            designs[design] = None
    return list(designs)


def breed_designs(parents: Sequence[RobotDesign], count: int, *, seed: int, max_joints: int = 16) -> list[RobotDesign]:
    """`count` different designs: `parents`, then children of any of those before, bred as the trainer breeds."""
    rng = np.random.default_rng(seed)
    variation, family = Variation(design_space(max_joints), EvolutionConfig().more_edits), list(parents)
    while len(family) < count:
        child = variation.mutate(family[int(rng.integers(len(family)))], rng, known=family.__contains__)
        if child is not None:
            family.append(child)
    return family


def write_designs(path: Path, designs: Sequence[RobotDesign], comment: str) -> None:
    """Writes designs, one a line, under a comment."""
    path.write_text(f"# {comment}\n" + "".join(f"{design.to_text()}\n" for design in designs), encoding="utf-8")
