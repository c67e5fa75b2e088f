"""A design and the policy for it as a folder that other tools open: URDF, MJCF, TorchScript, and a script to run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from map_elites.trainer.bodies import SimulatedBody, body_spec, observation_spec, simulate
from map_elites.trainer.runs import changed_config
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign
from robogrammar_env.export import write_robot
from robogrammar_env.runner import write_runner
from robogrammar_env.scripted import raw_state, script_controller
from shared_ppo.acting import ActingPolicy
from shared_ppo.body import BodyDescription, Observation
from shared_ppo.export import check_actions, load_policy, load_script, script_policy

CHECK_STEPS = 64


def export_design(design: RobotDesign, learner_file: Path, folder: Path, config: TrainConfig) -> float:
    """Writes `robot.urdf`, `robot.xml`, `design.txt`, `policy.pt`, `body.json`, `simulators.py` and `run_policy.py`.

    Args:
        design: of the robot.
        learner_file: checkpoint of the policy that drives it.
        folder: where to write; made if needed, files in it are replaced.
        config: of the run.

    Returns:
        The largest difference between actions of the exported file and the trainer's, over an episode of the body on
        flat ground: the file sees the simulator's state, the trainer's policy its own observations.

    Raises:
        CheckpointError: the checkpoint is damaged or does not fit the config.
        ExportError: the difference is above 1e-5, or the action space cannot be exported.
        OSError: something cannot be written.
    """
    config = changed_config(config, {"environment": {"terrain": "flat"}})
    policy = load_policy(learner_file, observation_spec(config), config.shared_ppo)
    body = simulate(body_spec(0, design, config))
    try:
        write_robot(body.robot, folder)
        write_runner(body.robot, folder)
        script = script_policy(policy, BodyDescription(**vars(body.description)), config.action)
        script_controller(script, body.robot, terrain_samples=body.terrain_samples).save(str(folder / "policy.pt"))
        difference = check_controller(load_script(folder / "policy.pt"), policy, body)
    finally:
        body.close()
    rules = " ".join(map(str, design.rules))
    (folder / "design.txt").write_text(f"{design.to_text()}\nrules {rules}\n", encoding="utf-8")
    return difference


def check_controller(controller: Any, policy: ActingPolicy, body: SimulatedBody) -> float:
    """Compares an exported controller with the policy while the body moves at random.

    Returns:
        The largest difference of an action.

    Raises:
        ExportError: it is more than 1e-5.
    """
    rng = np.random.default_rng(0)
    action, seen = np.zeros(body.num_joints), [Observation(*body.reset(0, training=False))]
    controller.reset()
    found = [_action_of(controller, body, action)]
    for _ in range(CHECK_STEPS - 1):
        action = rng.uniform(-1, 1, body.num_joints)
        seen.append(Observation(*body.step(action).observation))
        found.append(_action_of(controller, body, action))
    return check_actions(np.array(found), policy, BodyDescription(**vars(body.description)), seen)


def _action_of(controller: Any, body: SimulatedBody, previous_action: np.ndarray) -> np.ndarray:
    """(n,) the controller's action for the simulator's present state."""
    return controller.act(*controller.observe(raw_state(body.state), torch.from_numpy(previous_action))).numpy()
