"""Designs as the search wants them, and as bodies that the shared policy can drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from map_elites.evaluation import REFERENCE_SEED
from map_elites.variation import DesignSpace
from robogrammar_env.apr30 import LIMB_JOINTS, SPINE_JOINTS
from robogrammar_env.controllers import gait
from robogrammar_env.design import LimbLink, RobotDesign
from robogrammar_env.engine.base import CONTROL_STEP_S
from robogrammar_env.observation import GLOBAL_DIM, GLOBAL_STATIC_DIM, JOINT_DIM, JOINT_STATIC_DIM, TERRAIN_DIM
from robogrammar_env.robot import build_robot, check_robot
from robogrammar_env.sampling import sample_design
from robogrammar_env.simulation import EpisodeSettings, RewardWeights, Simulation
from shared_ppo.body import Body, BodySpec
from shared_ppo.config import ObservationSpec

if TYPE_CHECKING:
    from map_elites.trainer.settings import TrainConfig


@dataclass(frozen=True)
class BodyPlan:
    """What a worker needs to simulate a body; travels between processes.

    Attributes:
        swings: Whether it moves by random gaits, whatever the policy says.
    """

    rules: tuple[int, ...]
    terrain: str
    terrain_samples: bool
    engine: str
    engine_settings: Mapping[str, int]
    episode: EpisodeSettings
    reward: RewardWeights
    swings: bool = False


class SimulatedBody(Simulation):
    """A simulation in which an evaluation's reference seed stands for no noise on layout 0 of the first terrain."""

    def reset(self, seed: int | None, *, training: bool) -> Any:
        """Starts an episode; see `Simulation.reset`."""
        reference = seed == REFERENCE_SEED and not training
        return super().reset(None if reference else seed, training=training)


class SwingingBody(SimulatedBody):
    """A simulation whose joints follow a random gait, another for each seed; what the policy wants is ignored."""

    def reset(self, seed: int | None, *, training: bool) -> Any:
        """Starts an episode with the gait of its seed."""
        self._gait, self._steps = gait(self.num_joints, np.random.default_rng(seed)), 0
        return super().reset(seed, training=training)

    def step(self, action: np.ndarray) -> Any:
        """Moves one control step along the gait."""
        swing = self._gait(self._steps * CONTROL_STEP_S)
        self._steps += 1
        return super().step(swing)


def body_spec(
    number: int, design: RobotDesign, config: TrainConfig, *, training: bool = False, swings: bool = False
) -> BodySpec:
    """A design on its way to a worker, in the engine that scores unless it trains or swings: then it wants no cell.

    Args:
        number: Its id.
        design: What it is.
        config: All settings.
        training: It trains.
        swings: It moves by random gaits, whatever the policy says.
    """
    environment = config.environment
    engine = environment.trains_in if training or swings else environment.engine
    return BodySpec(
        number,
        BodyPlan(
            rules=design.rules,
            terrain=environment.terrain,
            terrain_samples=environment.terrain_samples,
            engine=engine,
            engine_settings=dict(environment.engine_settings) if engine == environment.engine else {},
            episode=config.episode,
            reward=config.reward,
            swings=swings,
        ),
    )


def simulate(spec: BodySpec) -> SimulatedBody:
    """The simulation of a body."""
    plan: BodyPlan = spec.payload
    kind = SwingingBody if plan.swings else SimulatedBody
    return kind(
        RobotDesign.from_rules(plan.rules),
        terrain=plan.terrain,
        terrain_samples=plan.terrain_samples,
        engine=plan.engine,
        settings=plan.episode,
        reward=plan.reward,
        engine_settings=dict(plan.engine_settings),
    )


def make_body(spec: BodySpec) -> Body:
    """Builds a body inside the worker that simulates it."""
    return cast(Body, simulate(spec))  # the rooms agree on a body's description, each has its own class for it


def observation_spec(config: TrainConfig) -> ObservationSpec:
    """Widths of what every body of the run senses."""
    return ObservationSpec(
        joint_dim=JOINT_DIM,
        joint_static_dim=JOINT_STATIC_DIM,
        global_dim=GLOBAL_DIM + TERRAIN_DIM * config.environment.terrain_samples,
        global_static_dim=GLOBAL_STATIC_DIM,
    )


def design_space(max_joints: int) -> DesignSpace:
    """The building blocks of apr30 designs; allowed are those with 1 to `max_joints` joints that fit together."""

    def check(design: RobotDesign) -> None:
        if not 1 <= design.num_joints <= max_joints:
            raise ValueError(f"the search takes 1 to {max_joints} joints, the design has {design.num_joints}")
        check_robot(build_robot(design))

    def sample(rng: np.random.Generator) -> RobotDesign:
        return sample_design(rng, max_joints=max_joints)

    return DesignSpace(tuple(LIMB_JOINTS), tuple(SPINE_JOINTS), LimbLink, RobotDesign, check, sample)


def read_design(rules: Sequence[int]) -> RobotDesign:
    """The design of a saved rule sequence.

    Raises:
        ValueError: It makes no finished design.
    """
    return RobotDesign.from_rules([int(rule) for rule in rules])


@lru_cache(maxsize=4096)
def describe(design: RobotDesign) -> dict[str, float]:
    """Body descriptors of a design, by name."""
    robot, legs = build_robot(design), [leg for leg in design.segments if leg]
    links = design.limb_links
    low, high = (np.array(corner) for corner in robot.bounding_box_m)
    length_m, width_m, height_m = (high - low).tolist()
    return {
        "joints": float(design.num_joints),
        "legs": 2.0 * len(legs),
        "segments": float(len(design.segments)),
        "leg_links": len(links) / len(legs) if legs else 0.0,
        "long_links": sum(link.long for link in links) / len(links) if links else 0.0,
        "mass_kg": robot.total_mass_kg,
        "length_m": length_m,
        "width_m": width_m,
        "height_m": height_m,
    }
