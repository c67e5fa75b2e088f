"""The controller of one body as TorchScript: from what a simulator says of a robot to the targets of its joints.

With a policy inside, it is all that an exported robot needs beside its simulator. The ground is a flat floor at z = 0.
"""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robogrammar_env.engine.base import RobotState
from robogrammar_env.observation import ACTION_RANGE_RAD, CLIP, TERRAIN_DIM, body_frame
from robogrammar_env.robot_model import BASE_ROTATION, RobotModel


class BodyController(nn.Module):
    """A policy with its body's observation before it and its motors' targets behind it; L links, n joints.

    A state is a dict of float64: `positions` (L, 3), `rotations` (L, 3, 3), `velocities` (L, 3), `spin` (3,) of the
    base, `touching` (L,), `angles` (n,), `speeds` (n,), `torques` (n,); world frame, SI units, see `RobotState`.

    Args:
        policy: scripted; maps `joints` (n, 14) and `globals` (13,) or (37,) to (n,) actions in [-1, 1]; has `reset`.
        robot: its body.
        terrain_samples: whether the policy wants ground heights.
    """

    signs: Tensor
    tip_m: Tensor
    tip_radius_m: Tensor
    group_weights: Tensor
    members: Tensor
    hangs_on: Tensor
    angle_scale: Tensor
    speed_scale: Tensor
    torque_scale: Tensor
    half_turn: Tensor
    previous: Tensor
    mains: Tensor

    def __init__(self, policy: Any, robot: RobotModel, *, terrain_samples: bool) -> None:
        super().__init__()
        frame = body_frame(robot)
        self.policy = policy
        self.length_m, self.speed_m_s = float(frame.length_m), float(frame.speed_m_s)
        self.rest_height_m = float(frame.rest_height_m)
        self.range_rad, self.clip = float(ACTION_RANGE_RAD), float(CLIP)
        self.samples = TERRAIN_DIM if terrain_samples else 0
        tables = {
            "signs": frame.signs,
            "tip_m": frame.half_lengths_m[:, None],
            "tip_radius_m": frame.tip_radius_m,
            "group_weights": frame.group_weights,
            "members": frame.members,
            "hangs_on": frame.hangs_on,
            "angle_scale": frame.angle_scale,
            "speed_scale": frame.speed_scale,
            "torque_scale": frame.torque_scale,
            "half_turn": BASE_ROTATION,
            "previous": np.zeros(len(frame.signs)),
        }
        for name, values in tables.items():
            self.register_buffer(name, torch.tensor(np.asarray(values, dtype=float)))
        self.register_buffer("mains", torch.tensor(frame.mains, dtype=torch.int64))

    @torch.jit.export
    def reset(self) -> None:
        """Starts an episode."""
        self.policy.reset()
        self.previous = torch.zeros_like(self.signs)

    def forward(self, state: dict[str, Tensor]) -> Tensor:
        """Returns (n,) joint targets, rad, for the next control step of 1/15 s."""
        joints, values = self.observe(state, self.previous)
        action = self.act(joints, values).double()
        self.previous = action
        return self.signs * action * self.range_rad

    @torch.jit.export
    def act(self, joints: Tensor, values: Tensor) -> Tensor:
        """Returns (n,) actions in [-1, 1] for an observation, and moves the clock on."""
        return self.policy(joints, values)

    @torch.jit.export
    def observe(self, state: dict[str, Tensor], previous_action: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (n, 14) values of the joints and (13,) or (37,) of the body, float32: `observation.observe`."""
        positions, rotations = state["positions"], state["rotations"]
        root = rotations[0] @ self.half_turn
        heading = self.heading_frame(root)
        touching = (self.members @ state["touching"] > 0).double()
        own = torch.stack([self.angle_scale * state["angles"], self.speed_scale * state["speeds"]], dim=1)
        tips_m = (positions[self.mains] + rotations[self.mains][:, :, 0] * self.tip_m)[:, 2] - self.tip_radius_m
        joints = [
            own,
            previous_action[:, None],
            (self.torque_scale * state["torques"])[:, None],
            (self.group_weights @ positions - positions[0]) @ heading / self.length_m,
            self.group_weights @ state["velocities"] @ heading / self.speed_m_s,
            torch.clamp(tips_m / self.length_m, 0.0, 2.0)[:, None],
            touching[:-1, None],
            self.hangs_on @ own,
        ]
        rise = positions[0, 2:] / self.rest_height_m
        values = [
            -root[2],
            state["velocities"][0] @ heading / self.speed_m_s,
            state["spin"] @ root * (self.length_m / self.speed_m_s),
            rise,
            heading[0, :2],
            touching.mean()[None],
            (1.0 - rise).expand(self.samples),
        ]
        return self.narrowed(torch.cat(joints, dim=1)), self.narrowed(torch.cat(values))

    def heading_frame(self, root: Tensor) -> Tensor:
        """The rotation about z whose x axis is the root's, seen from above; the world's if that is vertical."""
        x, y = root[0, 0], root[1, 0]
        size = torch.hypot(x, y)
        frame = torch.eye(3, dtype=torch.float64)
        if float(size) > 1e-6:
            frame[0, 0] = frame[1, 1] = x / size
            frame[0, 1], frame[1, 0] = -y / size, y / size
        return frame

    def narrowed(self, values: Tensor) -> Tensor:
        """Clipped, in single precision."""
        return torch.clamp(values, -self.clip, self.clip).float()


def script_controller(policy: Any, robot: RobotModel, *, terrain_samples: bool) -> Any:
    """Compiles the controller of a body; see `BodyController`."""
    controller = BodyController(policy, robot, terrain_samples=terrain_samples).eval()
    for parameter in controller.parameters():
        parameter.requires_grad_(False)
    with warnings.catch_warnings():  # TorchScript is deprecated, but torch.export files cannot have several methods
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(controller)


def raw_state(state: RobotState) -> dict[str, Tensor]:
    """A state of ours as the controller reads it."""
    values = {
        "positions": state.link_positions,
        "rotations": state.link_rotations,
        "velocities": state.link_velocities,
        "spin": state.base_angular_velocity,
        "touching": state.contacts,
        "angles": state.joint_angles,
        "speeds": state.joint_velocities,
        "torques": state.motor_torques,
    }
    return {name: torch.from_numpy(np.array(value, dtype=float)) for name, value in values.items()}
