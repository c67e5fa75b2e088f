"""A design and the policy for it as a folder that other tools open: URDF, MJCF, TorchScript, and a script to run it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from map_elites.trainer.bodies import body_spec, observation_spec, simulate
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign
from robogrammar_env.export import write_robot
from robogrammar_env.runner import write_runner
from shared_ppo.body import BodyDescription, Observation
from shared_ppo.export import export_policy, load_policy

CHECK_STEPS = 64


def export_design(design: RobotDesign, learner_file: Path, folder: Path, config: TrainConfig) -> float:
    """Writes `robot.urdf`, `robot.xml`, `design.txt`, `policy.pt`, `body.json` and `run_policy.py`.

    Args:
        design: of the robot.
        learner_file: checkpoint of the policy that drives it.
        folder: where to write; made if needed, files in it are replaced.
        config: of the run.

    Returns:
        The largest difference between actions of the exported policy and the trainer's, on observations of the body.

    Raises:
        CheckpointError: the checkpoint is damaged or does not fit the config.
        ExportError: the difference is above 1e-5, or the action space cannot be exported.
        OSError: something cannot be written.
    """
    policy = load_policy(learner_file, observation_spec(config), config.shared_ppo)
    body = simulate(body_spec(0, design, config))
    try:
        observations = [body.reset(0, training=False)]
        rng = np.random.default_rng(0)
        for _ in range(CHECK_STEPS - 1):
            observations.append(body.step(rng.uniform(-1, 1, body.num_joints)).observation)
    finally:
        body.close()
    write_robot(body.robot, folder)
    write_runner(body.robot, folder, terrain_samples=body.terrain_samples)
    rules = " ".join(map(str, design.rules))
    (folder / "design.txt").write_text(f"{design.to_text()}\nrules {rules}\n", encoding="utf-8")
    seen = [Observation(*observation) for observation in observations]
    known = BodyDescription(**vars(body.description))
    return export_policy(policy, known, config.action, folder / "policy.pt", observations=seen)
