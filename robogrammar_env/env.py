"""The Gymnasium environment `RoboGrammar-v0`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robogrammar_env.engine.base import CONTROL_STEP_S
from robogrammar_env.errors import RobotError, SimulationDiverged
from robogrammar_env.observation import CLIP, GLOBAL_DIM, GLOBAL_STATIC_DIM, JOINT_DIM, JOINT_STATIC_DIM, TERRAIN_DIM
from robogrammar_env.observation import Observation as BodyObservation
from robogrammar_env.simulation import EpisodeSettings, RewardWeights, Simulation

DEFAULT_DESIGN = "body(swing, obtuse_lift long) -fixed- body(swing, obtuse_lift long)"


class RoboGrammarEnv(gymnasium.Env):
    """A robot of the RoboGrammar grammar that is to walk along +x, 128 steps of 1/15 s an episode.

    Observation: a dict of float32 arrays, N = `max_joints`, rows beyond the robot's own n joints are 0:
        joints: (N, 38) per joint, 14 dynamic and 24 static values, see `observation.py`; within +-5.
        globals: (21,) 13 dynamic and 8 static values of the whole body; within +-5. Where a terrain is not flat,
            24 ground heights come between the two (45 in all).
        mask: (N,) 1 for joints that exist, 0 for padding.

    Action: (N,) in [-1, 1], a position target of -90 to +90 degrees per joint (mirrored on the other side of the
        body); values beyond the robot's own joints do nothing.

    Reward: see `reward.py`; above all forward speed in m/s.

    Episodes: truncated after 128 steps. With `early_stops` an episode also ends when the robot lies on its back
        (terminated) or makes no progress (truncated). If the physics diverges, the episode is terminated, the reward
        of that step is 0, the observation is the last finite one and `info["diverged"]` is 1; there is no score then.

    Info at the start of an episode: `terrain`, its name. At the end: `speed_m_s`, the same as `speed_m_s_on_TERRAIN`,
    `robogrammar_objective`, `steps` and the descriptors of `behaviour.py`.

    Args:
        design: rules, text or graph of a design, or a `RobotModel`.
        terrain: name of the terrain, or several with commas between them: every episode takes place on one of them.
        engine: "pybullet" or "mujoco".
        render_mode: None or "rgb_array".
        max_joints: pads to this many joints; by default the design's own number.
        early_stops: whether an episode may end early, as in training.
        settings: see `EpisodeSettings`.
        reward: see `RewardWeights`.

    Raises:
        RobotError: of the kind that says what is wrong with design, terrain or engine.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / CONTROL_STEP_S)}  # noqa: RUF012

    def __init__(
        self,
        *,
        design: Any = DEFAULT_DESIGN,
        terrain: str = "flat",
        engine: str = "pybullet",
        render_mode: str | None = None,
        max_joints: int | None = None,
        early_stops: bool = True,
        settings: EpisodeSettings | None = None,
        reward: RewardWeights | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.render_mode = render_mode
        self.simulation = Simulation(design, terrain=terrain, engine=engine, settings=settings, reward=reward)
        self.max_joints = max_joints or self.simulation.num_joints
        if self.max_joints < self.simulation.num_joints:
            self.simulation.close()
            raise RobotError(f"the robot has {self.simulation.num_joints} joints, more than max_joints={max_joints}")
        self._early_stops = early_stops
        self._renderer: Any = None
        self._static = self._padded(self.simulation.description.joint_static)
        self._mask = (np.arange(self.max_joints) < self.simulation.num_joints).astype(np.float32)
        width = GLOBAL_DIM + GLOBAL_STATIC_DIM + TERRAIN_DIM * self.simulation.terrain_samples
        self.observation_space = spaces.Dict(
            {
                "joints": spaces.Box(-CLIP, CLIP, (self.max_joints, JOINT_DIM + JOINT_STATIC_DIM), np.float32),
                "globals": spaces.Box(-CLIP, CLIP, (width,), np.float32),
                "mask": spaces.Box(0.0, 1.0, (self.max_joints,), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (self.max_joints,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Starts an episode with noise drawn from the seed. `options` are not used."""
        super().reset(seed=seed)
        self._renderer = None  # another seed may bring another terrain
        episode_seed = int(self.np_random.integers(2**31))
        self._last = self._dict(self.simulation.reset(episode_seed, training=self._early_stops))
        return self._last, {"terrain": self.simulation.terrain.name}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        """Moves one control step of 1/15 s. `action`: (N,) in [-1, 1]."""
        own = np.asarray(action)[: self.simulation.num_joints]
        try:
            step = self.simulation.step(own)
        except SimulationDiverged as error:
            last = {name: value.copy() for name, value in self._last.items()}
            return last, 0.0, True, False, {"diverged": 1.0, "reason": str(error)}
        self._last = self._dict(step.observation)
        return self._last, step.reward, step.terminated, step.truncated, dict(step.info)

    def render(self) -> np.ndarray | None:
        """The present view, (height, width, 3) uint8, or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            from robogrammar_env.render import Renderer

            self._renderer = Renderer(self.simulation.robot, self.simulation.terrain)
        return self._renderer.frame(self.simulation.state)

    def close(self) -> None:
        """Frees the simulator. A second call does nothing."""
        self.simulation.close()

    def _dict(self, observation: BodyObservation) -> dict[str, np.ndarray]:
        joints = np.concatenate([self._padded(observation.joints), self._static], axis=1)
        values = np.concatenate([observation.globals, self.simulation.description.global_static])
        return {"joints": joints, "globals": values, "mask": self._mask.copy()}

    def _padded(self, rows: np.ndarray) -> np.ndarray:
        missing = self.max_joints - len(rows)
        return np.pad(rows, ((0, missing), (0, 0))) if missing else rows
