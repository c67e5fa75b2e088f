"""Data sets of rollouts: a run folder made by hand, its elites rolled out, every step checked."""

import json
from pathlib import Path

import numpy as np
import pytest

from map_elites.archive import Archive
from map_elites.config import to_yaml
from map_elites.trainer.bodies import make_body, observation_spec
from map_elites.trainer.rollouts import BodyRollouts, main
from map_elites.trainer.runs import plan_of
from map_elites.trainer.settings import load_config
from map_elites.trainer.shared_crew import LEARNER_FILE, learner_settings
from robogrammar_env.design import RobotDesign
from robogrammar_env.env import RoboGrammarEnv
from robogrammar_env.simulation import Simulation
from shared_ppo.in_process import InProcessSupervisor

DESIGNS = ("body(swing, obtuse_lift long) -lift- body(swing, obtuse_lift long)", "body -fixed- body(right_roll)")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run with two elites and fresh weights."""
    folder = tmp_path_factory.mktemp("results") / "run"
    config = load_config(None, {"run": {"shared": True, "total_steps": 40_000}})
    checkpoint = folder / "checkpoints" / "step_000000000001"
    checkpoint.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    settings = learner_settings(config, plan_of(config))
    supervisor = InProcessSupervisor(make_body, observation_spec(config), settings, seed=3)
    supervisor.start()
    supervisor.checkpoint(checkpoint / LEARNER_FILE)
    axes = [axis.name for axis in config.archive.axes()]
    elites = [elite(number, text, dict.fromkeys(axes, 0.01 + 0.4 * number)) for number, text in enumerate(DESIGNS)]
    for entry, cell in zip(elites, cells(config, elites), strict=True):
        entry["cell"] = cell
    (folder / "archive.json").write_text(json.dumps(elites))
    return folder


def elite(number: int, text: str, descriptors: dict[str, float]) -> dict:
    design = RobotDesign.from_text(text)
    scores = {"fitness": 0.1, "verified_fitness": None, "robogrammar_objective": 4.0}
    return {
        **{"id": number, "parent_ids": [], "rules": list(design.rules), "design": text, "descriptors": descriptors},
        **{"policy_version": 1, "episodes": 1, "terrain": "flat", "engine": "pybullet", "joints": design.num_joints},
        **{**scores, "verified_robogrammar_objective": None},
    }


def cells(config, elites) -> list[list[int]]:
    archive = Archive(tuple(config.archive.axes()))
    return [list(archive.cell_of(entry["descriptors"])) for entry in elites]


@pytest.fixture(scope="module")
def rollouts(run_dir) -> Path:
    out = run_dir.parent / "rollouts"
    assert main([str(run_dir), "--out", str(out), "--episodes", "2", "--seed", "4"]) == 0
    return out


def test_every_elite_has_its_episodes(rollouts):
    index = json.loads((rollouts / "index.json").read_text())
    assert [entry["design"] for entry in index] == list(DESIGNS)
    for entry in index:
        body = BodyRollouts.load(rollouts / entry["file"])
        joints = RobotDesign.from_text(entry["design"]).num_joints
        assert body.joints.shape == (2, 129, joints, 14)
        assert body.actions.shape == (2, 128, joints)
        assert body.rewards.shape == (2, 128)
        assert body.truncated[:, -1].all()
        assert not body.truncated[:, :-1].any()
        assert np.isfinite(body.speeds_m_s).all()


def test_recorded_actions_give_the_recorded_steps_again(rollouts):
    body = BodyRollouts.load(rollouts / "elite_000000.npz")
    simulation = Simulation(RobotDesign.from_rules(body.rules.tolist()))
    for row, seed in enumerate(body.seeds.tolist()):
        np.testing.assert_allclose(simulation.reset(seed, training=False).joints, body.joints[row, 0])
        for step, action in enumerate(body.actions[row]):
            found = simulation.step(action)
            np.testing.assert_allclose(found.observation.joints, body.joints[row, step + 1], atol=1e-5)
            np.testing.assert_allclose(found.reward, body.rewards[row, step], atol=1e-5)


def test_minari_data_set_has_the_spaces_of_the_environment(rollouts, monkeypatch):
    minari = pytest.importorskip("minari")
    from map_elites.trainer.minari_data import write_minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(write_minari(rollouts, "elites/test-v0")))
    dataset = minari.load_dataset("elites/test-v0")
    width = RobotDesign.from_text(DESIGNS[0]).num_joints
    environment = RoboGrammarEnv(design=DESIGNS[1], max_joints=width)
    assert dataset.observation_space == environment.observation_space
    assert dataset.action_space == environment.action_space
    episodes = list(dataset.iterate_episodes())
    assert len(episodes) == 4
    body = BodyRollouts.load(rollouts / "elite_000001.npz")
    np.testing.assert_array_equal(episodes[2].rewards, body.rewards[0].astype(np.float64))
    np.testing.assert_array_equal(episodes[2].actions[:, 0], body.actions[0, :, 0])
    first, _ = environment.reset(seed=0)
    np.testing.assert_array_equal(episodes[2].observations["joints"][0][:, 14:], first["joints"][:, 14:])
    np.testing.assert_array_equal(episodes[2].observations["mask"][0], first["mask"])
    assert dataset.storage.get_episode_metadata([2])
    environment.close()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--episodes", "0"], "at least 1"),
        ([], "exists"),
        (["--episodes", "x"], "invalid int value: 'x'"),
        (["--episode", "3"], "did you mean --episodes?"),
        (["--out", f"{__file__}/x"], "is not a folder"),
    ],
)
def test_bad_requests_are_told(run_dir, tmp_path, capsys, flags, told):
    assert main([str(run_dir), "--out", str(tmp_path), *flags]) == 2
    printed = capsys.readouterr().err
    assert told in printed and printed.count("\n") == 1
