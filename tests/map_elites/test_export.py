"""An exported elite runs in a process without this project, about as fast as in the trainer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from map_elites.evaluation import REFERENCE_SEED
from map_elites.trainer.bodies import body_spec, make_body, observation_spec
from map_elites.trainer.export import export_design
from map_elites.trainer.settings import EnvironmentConfig, TrainConfig
from robogrammar_env.design import RobotDesign
from shared_ppo.config import ActionConfig
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import EvaluateOrder

DESIGN = RobotDesign.from_text("body(swing, obtuse_lift long) -lift- body(swing, obtuse_lift long)")


def config_of(space: str, engine: str, terrain: str = "flat") -> TrainConfig:
    environment = EnvironmentConfig(engine=engine, terrain=terrain)
    return replace(TrainConfig(), environment=environment, action=ActionConfig(space=space))


def trainers_speed(config: TrainConfig, learner_file: Path) -> float:
    """Speed, m/s, of an untrained policy in the trainer, from the exact start; its checkpoint is written."""
    supervisor = InProcessSupervisor(make_body, observation_spec(config), config.shared_ppo, seed=1)
    supervisor.start()
    supervisor.checkpoint(learner_file)
    supervisor.evaluate(EvaluateOrder(0, (body_spec(7, DESIGN, config),), (REFERENCE_SEED,)))
    (report,) = [event for event in supervisor.poll(60.0) if hasattr(event, "results")]
    supervisor.stop()
    return report.results[7][0]["speed_m_s"]


@pytest.mark.parametrize("engine", ["pybullet", "mujoco"])
def test_exported_folder_walks_as_in_the_trainer(tmp_path, engine):
    """With oscillators even an untrained policy moves."""
    pytest.importorskip(engine)
    config = config_of("rhythm", engine)
    speed = trainers_speed(config, tmp_path / "learner.npz")
    assert export_design(DESIGN, tmp_path / "learner.npz", tmp_path / "out", config) <= 1e-5
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "robot.urdf",
        "robot.xml",
        "design.txt",
        "policy.pt",
        "body.json",
        "simulators.py",
        "run_policy.py",
    }
    assert DESIGN.to_text() in (tmp_path / "out" / "design.txt").read_text()
    command = [sys.executable, "run_policy.py", engine]
    done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "m/s" in line]
    found = float(line.split()[0])
    assert abs(found - speed) < 0.1


@pytest.mark.filterwarnings("error")
def test_policies_of_other_terrains_are_exported_with_their_ground_heights(tmp_path):
    config = config_of("clock", "pybullet", terrain="ridged")
    learner = tmp_path / "learner.npz"
    InProcessSupervisor(make_body, observation_spec(config), config.shared_ppo, seed=1).checkpoint(learner)
    assert export_design(DESIGN, learner, tmp_path / "out", config) <= 1e-5
    command = [sys.executable, "run_policy.py", "pybullet"]
    subprocess.run(command, cwd=tmp_path / "out", capture_output=True, check=True)
