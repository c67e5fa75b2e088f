"""The stand-alone script of an export: it sees what our policies see, and moves as our engines do."""

import subprocess
import sys

import numpy as np
import pytest
from bodies import FLAT, RIDGED, WALKER, robot

from robogrammar_env.engine.base import make_engine
from robogrammar_env.errors import RobotError
from robogrammar_env.export import write_robot
from robogrammar_env.exported import simulators
from robogrammar_env.observation import ACTION_RANGE_RAD, body_frame, observe
from robogrammar_env.runner import write_runner
from robogrammar_env.scripted import raw_state, script_controller
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


@pytest.mark.parametrize("samples", [False, True])
@pytest.mark.parametrize("text", [WALKER, FLAT, RIDGED])
def test_controller_observes_what_our_policies_observe(text, samples):
    model, terrain, rng = robot(text), make_terrain("flat"), np.random.default_rng(0)
    engine, frame = make_engine("pybullet", model, terrain), body_frame(model)
    controller = script_controller(torch.jit.script(Waves()), model, terrain_samples=samples)
    for _ in range(12):
        action = rng.uniform(-1, 1, model.num_joints)
        engine.step(frame.signs * action * ACTION_RANGE_RAD)
        state = engine.state()
        joints, values = controller.observe(raw_state(state), torch.from_numpy(action))
        ours = observe(frame, state, action, terrain, terrain_samples=samples)
        np.testing.assert_allclose(joints, ours.joints, atol=1e-6)
        np.testing.assert_allclose(values, ours.globals, atol=1e-6)
        assert joints.dtype == values.dtype == torch.float32


def test_controller_carries_the_previous_action_and_mirrors_its_targets():
    model = robot(WALKER)
    ours = Simulation(model)
    seen = ours.reset(None, training=False)
    controller, policy = script_controller(torch.jit.script(Waves()), model, terrain_samples=False), Waves()
    controller.reset()
    for _ in range(10):
        targets_rad = controller(raw_state(ours.state)).numpy()
        action = policy(*map(torch.from_numpy, seen)).numpy()
        np.testing.assert_allclose(targets_rad, ours.frame.signs * action * ACTION_RANGE_RAD, atol=1e-5)
        seen = ours.step(action).observation
    assert np.abs(seen.joints[:, 2] - action).max() < 1e-6 and len(set(ours.frame.signs)) == 2


@pytest.mark.parametrize(
    ("engine", "tolerance_rad", "tolerance_m"), [("pybullet", 0.005, 0.005), ("mujoco", 0.05, 0.04)]
)
@pytest.mark.parametrize("text", [WALKER, FLAT])
def test_exported_robot_moves_as_ours(tmp_path, monkeypatch, engine, tolerance_rad, tolerance_m, text):
    """The same policy for 1 s in the stock simulator and in our engine, each with its own observations."""
    if engine == "mujoco":
        pytest.importorskip("mujoco")
    monkeypatch.setattr(simulators, "FOLDER", tmp_path)
    write_robot(robot(text), tmp_path)
    write_runner(robot(text), tmp_path)
    stock, policy = simulators.open_robot(engine), Waves()
    controller = script_controller(torch.jit.script(Waves()), robot(text), terrain_samples=False)
    ours = Simulation(robot(text), engine=engine, engine_settings={"merge_mounts": False})
    seen = ours.reset(None, training=False)
    still = torch.zeros(ours.num_joints, dtype=torch.float64)
    np.testing.assert_allclose(controller.observe(stock.state(), still)[0], seen.joints, atol=1e-3)
    for _ in range(15):
        stock.step(controller(stock.state()))
        seen = ours.step(policy(*map(torch.from_numpy, seen)).numpy()).observation
    state = stock.state()
    difference_rad = np.sqrt(np.mean((state["angles"].numpy() - ours.state.joint_angles) ** 2))
    assert difference_rad < tolerance_rad
    assert np.abs(state["positions"][0].numpy() - ours.state.base_position).max() < tolerance_m


def run_script(folder, *arguments, python=("-s", "-E")):
    command = [sys.executable, *python, "run_policy.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("engine", ["pybullet", "mujoco"])
def test_the_folder_runs_without_this_project(tmp_path, engine):
    pytest.importorskip(engine)
    model = robot(WALKER)
    write_robot(model, tmp_path)
    write_runner(model, tmp_path)
    script_controller(torch.jit.script(Waves()), model, terrain_samples=False).save(str(tmp_path / "policy.pt"))
    done = run_script(tmp_path, engine, python=("-s", "-E", "-X", "importtime"))
    assert done.returncode == 0, done.stderr
    assert "m/s forwards" in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "torch" in imported and not imported & {"robogrammar_env", "shared_ppo", "map_elites"}


def test_the_script_is_short_and_refuses_other_simulators_in_one_line(tmp_path):
    write_runner(robot(WALKER), tmp_path)
    code = [line for line in (tmp_path / "run_policy.py").read_text().splitlines() if line and '"""' not in line]
    assert len(code) <= 10
    done = run_script(tmp_path, "gazebo")
    assert done.returncode == 1 and done.stderr == "no simulator 'gazebo'; known: mujoco, pybullet\n"


def test_wheels_are_refused(tmp_path):
    with pytest.raises(RobotError, match="wheels"):
        write_runner(robot("apr30_wheel: 0 7 6 2 16 8 20"), tmp_path)
