"""The stand-alone script of an export: it sees what our policies see, and moves as our engines do."""

import json
import subprocess
import sys

import numpy as np
import pytest
from bodies import FLAT, RIDGED, WALKER, robot

from robogrammar_env import run_policy
from robogrammar_env.engine.base import make_engine
from robogrammar_env.errors import RobotError
from robogrammar_env.export import write_robot
from robogrammar_env.observation import ACTION_RANGE_RAD, body_frame, observe
from robogrammar_env.runner import body_tables, write_runner
from robogrammar_env.simulation import Simulation
from robogrammar_env.terrain import make_terrain

torch = pytest.importorskip("torch")


class Waves(torch.nn.Module):
    """A policy for tests: every joint swings with its own phase, its amplitude given by what it sees of the body."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    @torch.jit.export
    def reset(self) -> None:
        self.time = 0.0

    def forward(self, joints: torch.Tensor, globals_: torch.Tensor) -> torch.Tensor:
        self.time += 1.0 / 15
        phases = torch.arange(joints.shape[0]) * 1.3
        return 0.4 * torch.sin(6.28 * self.time + phases) + 0.05 * torch.tanh(joints[:, 0] + globals_.sum())


def state_of(state):
    """Our `RobotState` in the script's words."""
    return {
        "positions": state.link_positions,
        "rotations": state.link_rotations,
        "velocities": state.link_velocities,
        "spin": state.base_angular_velocity,
        "touching": state.contacts,
        "angles": state.joint_angles,
        "speeds": state.joint_velocities,
        "torques": state.motor_torques,
    }


@pytest.mark.parametrize("samples", [False, True])
@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
def test_script_observes_what_our_policies_observe(text, samples):
    model, terrain, rng = robot(text), make_terrain("flat"), np.random.default_rng(0)
    engine, frame = make_engine("pybullet", model, terrain), body_frame(model)
    body = json.loads(json.dumps(body_tables(model, terrain_samples=samples)))
    for _ in range(12):
        action = rng.uniform(-1, 1, model.num_joints)
        engine.step(frame.signs * action * ACTION_RANGE_RAD)
        state = engine.state()
        joints, globals_ = run_policy.observe(body, state_of(state), action)
        ours = observe(frame, state, action, terrain, terrain_samples=samples)
        np.testing.assert_allclose(joints, ours.joints, atol=1e-6)
        np.testing.assert_allclose(globals_, ours.globals, atol=1e-6)
        assert joints.dtype == globals_.dtype == np.float32


@pytest.mark.parametrize(
    ("engine", "tolerance_rad", "tolerance_m"), [("pybullet", 0.005, 0.005), ("mujoco", 0.05, 0.04)]
)
@pytest.mark.parametrize("text", [WALKER, FLAT])
def test_exported_robot_moves_as_ours(tmp_path, monkeypatch, engine, tolerance_rad, tolerance_m, text):
    """The same policy for 1 s in the stock simulator and in our engine, each with its own observations."""
    if engine == "mujoco":
        pytest.importorskip("mujoco")
    monkeypatch.setattr(run_policy, "FOLDER", tmp_path)
    write_robot(robot(text), tmp_path)
    body = body_tables(robot(text), terrain_samples=False)
    stock = {"mujoco": run_policy.MuJoCoRobot, "pybullet": run_policy.BulletRobot}[engine](body)
    ours = Simulation(robot(text), engine=engine, engine_settings={"merge_mounts": False})
    seen = ours.reset(None, training=False)
    action, policies = np.zeros(ours.num_joints), (Waves(), Waves())
    np.testing.assert_allclose(run_policy.observe(body, stock.state(), action)[0], seen.joints, atol=1e-3)
    for _ in range(15):
        action = policies[0](*map(torch.from_numpy, run_policy.observe(body, stock.state(), action))).numpy()
        stock.step(np.array(body["signs"]) * action * ACTION_RANGE_RAD)
        seen = ours.step(policies[1](*map(torch.from_numpy, seen)).numpy()).observation
    state = stock.state()
    difference_rad = np.sqrt(np.mean((state["angles"] - ours.state.joint_angles) ** 2))
    assert difference_rad < tolerance_rad
    assert np.abs(state["positions"][0] - ours.state.base_position).max() < tolerance_m


@pytest.mark.parametrize("engine", ["pybullet", "mujoco"])
def test_the_folder_runs_without_this_project(tmp_path, engine):
    pytest.importorskip(engine)
    model = robot(WALKER)
    write_robot(model, tmp_path)
    write_runner(model, tmp_path)
    torch.jit.script(Waves()).save(str(tmp_path / "policy.pt"))
    command = [sys.executable, "-I", "-X", "importtime", "run_policy.py", "--engine", engine, "--steps", "15"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "m/s forwards over 1.0 s" in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "torch" in imported and not imported & {"robogrammar_env", "shared_ppo", "map_elites"}


def test_wheels_are_refused(tmp_path):
    with pytest.raises(RobotError, match="wheels"):
        write_runner(robot("apr30_wheel: 0 7 6 2 16 8 20"), tmp_path)
