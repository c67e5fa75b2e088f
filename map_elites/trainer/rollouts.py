"""Data sets of rollouts: every elite of a run moves under the run's newest policy, and every step is kept.

    python -m map_elites.trainer.rollouts RUN_DIR --out DIR [--episodes 10] [--seed 0] [--minari NAME]

For people who train models of these bodies. DIR gets one `elite_ID.npz` per elite (the fields of `BodyRollouts`) and
`index.json`; `--minari` writes the same as a Minari data set below DIR. Actions are joint targets, those of the mean
action: episodes differ in the joint angles at the start and, on rough terrain, in its layout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from map_elites.archive import ArchiveError, Elite
from map_elites.checkpoint import LEARNER_FILE
from map_elites.cli import Parser
from map_elites.errors import RunFailedError, UserError
from map_elites.evaluation import draw_seeds
from map_elites.files import write_atomically
from map_elites.run_folder import check_writable
from map_elites.trainer.bodies import body_spec, make_body, observation_spec, read_design
from map_elites.trainer.runs import open_run, plan_of
from map_elites.trainer.shared_crew import learner_settings
from shared_ppo.body import Body, BodySpec, Observation, Step
from shared_ppo.errors import SharedPPOError
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import EvaluateOrder

ROLLOUTS = 3  # branch of the seed, beside those of evaluation.py
BODIES_AT_A_TIME = 16
INDEX = "index.json"


@dataclass(frozen=True)
class BodyRollouts:
    """All episodes of one body. E episodes of T control steps (1/15 s) each, n joints.

    Attributes:
        joints: (E, T+1, n, 14) what the joints sense before every step and after the last; see `observation.py`.
        globals: (E, T+1, G) what the whole body senses.
        actions: (E, T, n) joint targets in [-1, 1]; 1 stands for 90 degrees.
        rewards: (E, T).
        terminated: (E, T) whether the episode ended for good at this step.
        truncated: (E, T) whether it ended because time was up.
        seeds: (E,) seeds of the episodes; on T terrains, `seed % T` is the number of the episode's terrain.
        speeds_m_s: (E,) net forward speed.
        joint_static: (n, 24) the joints' description.
        global_static: (8,) the body's description.
        parent: (n,) parent joint, -1 on the root.
        rules: rule sequence of the design.
    """

    joints: np.ndarray
    globals: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    seeds: np.ndarray
    speeds_m_s: np.ndarray
    joint_static: np.ndarray
    global_static: np.ndarray
    parent: np.ndarray
    rules: np.ndarray

    def save(self, path: Path) -> None:
        """Writes an .npz, whole or not at all."""
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as file:
            np.savez_compressed(file, **{item.name: getattr(self, item.name) for item in fields(self)})
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> BodyRollouts:
        """Reads what `save` wrote."""
        with np.load(path) as found:
            return cls(**{item.name: found[item.name] for item in fields(cls)})


@dataclass
class _Episode:
    seed: int
    observations: list[Observation]
    actions: list[np.ndarray] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class RecordedBody:
    """A body that keeps all that it is told and all that it answers."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.description = body.description
        self.episodes: list[_Episode] = []

    def reset(self, seed: int, *, training: bool) -> Observation:
        """Starts an episode."""
        observation = self._body.reset(seed, training=training)
        self.episodes.append(_Episode(seed, [_copied(observation)]))
        return observation

    def step(self, action: np.ndarray) -> Step:
        """Moves one control step."""
        step = self._body.step(action)
        episode = self.episodes[-1]
        episode.actions.append(np.array(action, dtype=np.float32))
        episode.observations.append(_copied(step.observation))
        episode.steps.append(step)
        return step

    def close(self) -> None:
        """Frees the simulator."""
        self._body.close()

    def rollouts(self, rules: Sequence[int]) -> BodyRollouts:
        """All episodes so far as arrays."""
        steps = [episode.steps for episode in self.episodes]
        views = [episode.observations for episode in self.episodes]
        return BodyRollouts(
            joints=np.array([[view.joints for view in row] for row in views], dtype=np.float32),
            globals=np.array([[view.globals for view in row] for row in views], dtype=np.float32),
            actions=np.array([episode.actions for episode in self.episodes], dtype=np.float32),
            rewards=np.array([[step.reward for step in row] for row in steps], dtype=np.float32),
            terminated=np.array([[step.terminated for step in row] for row in steps]),
            truncated=np.array([[step.truncated for step in row] for row in steps]),
            seeds=np.array([episode.seed for episode in self.episodes], dtype=np.int64),
            speeds_m_s=np.array([row[-1].info["speed_m_s"] for row in steps]),
            joint_static=np.array(self.description.joint_static),
            global_static=np.array(self.description.global_static),
            parent=np.array(self.description.parent),
            rules=np.array(rules, dtype=np.int16),
        )


def _copied(observation: Any) -> Observation:
    return Observation(np.array(observation.joints), np.array(observation.globals))


def collect(run_dir: Path, *, episodes: int, seed: int = 0) -> Iterator[tuple[Elite, BodyRollouts | str]]:
    """Rolls out every elite of a run.

    Args:
        run_dir: Folder of a run with a shared policy; nothing in it changes.
        episodes: Episodes per elite, the same seeds for all of them.
        seed: Draws the episodes.

    Yields:
        Every elite with its rollouts, or with the reason why it has none.

    Raises:
        UserError, RunFailedError, ArchiveError: It is no such run, or damaged.
    """
    folder, config, archive = open_run(run_dir)
    if not config.run.shared:
        raise UserError(f"{run_dir} has no shared policy")
    bodies: dict[int, RecordedBody] = {}

    def make_recorded(spec: BodySpec) -> Body:
        bodies[spec.body_id] = RecordedBody(make_body(spec))
        return bodies[spec.body_id]

    settings = learner_settings(config, plan_of(config))
    checkpoint = folder.newest_checkpoint() / LEARNER_FILE
    supervisor = InProcessSupervisor(make_recorded, observation_spec(config), settings, checkpoint=checkpoint)
    supervisor.start()
    terrains = len(config.environment.terrains)
    elites, seeds = list(archive), draw_seeds(seed, ROLLOUTS, 0, episodes, terrains=terrains)
    for start in range(0, len(elites), BODIES_AT_A_TIME):
        chosen = elites[start : start + BODIES_AT_A_TIME]
        specs = tuple(body_spec(elite.id, read_design(elite.design.rules), config) for elite in chosen)
        report = supervisor.evaluate_now(EvaluateOrder(start, specs, seeds))
        for elite in chosen:
            yield elite, report.failed.get(elite.id) or bodies[elite.id].rollouts(elite.design.rules)
        bodies.clear()
    supervisor.stop()


def write_rollouts(run_dir: Path, out: Path, *, episodes: int, seed: int = 0) -> list[dict[str, Any]]:
    """Writes the data set and returns its index: one entry per elite.

    Raises:
        UserError: `out` exists or cannot be made, or as `collect`.
    """
    if out.exists():
        raise UserError(f"--out {out} exists; choose another folder")
    check_writable(out)
    index: list[dict[str, Any]] = []
    for elite, found in collect(run_dir, episodes=episodes, seed=seed):
        out.mkdir(parents=True, exist_ok=True)
        entry = {"id": elite.id, "design": str(elite.design), "terrain": elite.terrain, "engine": elite.engine}
        if isinstance(found, str):
            index.append({**entry, "file": None, "failed": found})
            continue
        name = f"elite_{elite.id:06d}.npz"
        found.save(out / name)
        index.append({**entry, "file": name, "failed": None, "speed_m_s": float(found.speeds_m_s.mean())})
    if not index:
        raise RunFailedError(f"{run_dir} has no elites")
    write_atomically(out / INDEX, json.dumps(index, indent=1) + "\n")
    return index


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser(
        prog="map_elites.trainer.rollouts", description="Data set of rollouts of elites.", allow_abbrev=False
    )
    parser.add_argument("run_dir", type=Path, help="folder of a run with a shared policy")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--episodes", type=int, default=10, help="episodes per elite (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="draws the episodes (default: 0)")
    parser.add_argument(
        "--minari", metavar="NAME", help="write a Minari data set of this name too, as in elites/flat-v0"
    )
    try:
        options = parser.parse(argv)
        if options.episodes < 1:
            raise UserError(f"--episodes must be at least 1, got {options.episodes}")
        index = write_rollouts(options.run_dir, options.out, episodes=options.episodes, seed=options.seed)
        if options.minari:
            from map_elites.trainer.minari_data import write_minari

            write_minari(options.out, options.minari)
    except (UserError, RunFailedError, ArchiveError, SharedPPOError, OSError) as error:
        print(f"map_elites.trainer.rollouts: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    return _report(index, options.out)


def _report(index: Sequence[Mapping[str, Any]], out: Path) -> int:
    failed = [entry for entry in index if entry["failed"]]
    for entry in failed:
        print(f"elite {entry['id']} failed: {entry['failed']}", file=sys.stderr)
    print(f"{len(index) - len(failed)} of {len(index)} elites in {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
