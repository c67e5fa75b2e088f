"""What can be made of a finished run's elites: an export folder, a film, a gallery of the archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from map_elites.archive import Archive, Elite
from map_elites.descriptors import Descriptor
from map_elites.errors import UserError
from map_elites.run_folder import RunFolder
from map_elites.trainer.bodies import body_spec, observation_spec, simulate
from map_elites.trainer.export import export_design
from map_elites.trainer.runs import changed_config, open_run
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign
from robogrammar_env.render import film, portrait, save_film
from robogrammar_env.robot import build_robot
from robogrammar_env.simulation import EPISODE_S, Simulation
from shared_ppo.body import BodyDescription
from shared_ppo.export import load_policy, script_policy

FILMS = (".gif", ".mp4")
CELL_INCHES = 1.7


def pick_elite(archive: Archive, number: int | None) -> Elite:
    """An elite by id, or the fastest.

    Raises:
        UserError: There is no such elite; the message lists the ids.
    """
    elites = {elite.id: elite for elite in archive}
    if not elites:
        raise UserError("the archive has no elite")
    if number is None:
        return max(elites.values(), key=lambda elite: (elite.fitness, -elite.id))
    if number not in elites:
        raise UserError(f"no elite {number}; the archive has {', '.join(map(str, sorted(elites)))}")
    return elites[number]


def learner_file(folder: RunFolder, config: TrainConfig, elite: Elite) -> Path:
    """Checkpoint of the policy that drives an elite: the run's newest, or the individual's own."""
    if config.run.shared:
        return folder.newest_checkpoint() / "learner.npz"
    return folder.path / "policies" / f"{elite.id}.npz"


def export_elite(run: Path, number: int | None, out: Path) -> tuple[Elite, float]:
    """Exports an elite with its policy; see `export_design`.

    Returns:
        The elite, and the largest difference between an exported action and the trainer's.

    Raises:
        UserError, RunFailedError, ArchiveError: As `open_run` and `pick_elite`.
    """
    folder, config, archive = open_run(run)
    elite = pick_elite(archive, number)
    return elite, export_design(cast(RobotDesign, elite.design), learner_file(folder, config, elite), out, config)


def controller(simulation: Simulation, learner: Path, config: TrainConfig) -> Callable[[Any], np.ndarray]:
    """The mean action of a checkpoint's policy for one body, as a function of its observations."""
    import torch

    policy = load_policy(learner, observation_spec(config), config.shared_ppo)
    script = script_policy(policy, BodyDescription(**vars(simulation.description)), config.action)

    def act(observation: Any) -> np.ndarray:
        with torch.no_grad():
            return script(torch.from_numpy(observation.joints), torch.from_numpy(observation.globals)).numpy()

    return act


def replay_elite(
    run: Path,
    number: int | None,
    out: Path,
    *,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[Elite, float]:
    """Films an episode of an elite under the run's newest policy.

    Args:
        run: Run folder.
        number: Id of the elite; None is the fastest.
        out: The film, .gif or .mp4.
        seed: Of the episode; None is without noise at the start, on the run's first terrain.
        overrides: Nested settings, such as another terrain or engine.

    Returns:
        The elite, and its net forward speed in the film, m/s.

    Raises:
        UserError, RunFailedError, ArchiveError: As `open_run` and `pick_elite`, or a film of another kind.
    """
    if out.suffix not in FILMS:
        raise UserError(f"--out {out}: wants a name that ends in {' or '.join(FILMS)}")
    folder, stored, archive = open_run(run)
    config = changed_config(stored, overrides or {})
    elite = pick_elite(archive, number)
    simulation = simulate(body_spec(elite.id, cast(RobotDesign, elite.design), config))
    try:
        act = controller(simulation, learner_file(folder, config, elite), config)
        simulation.reset(seed, training=False)
        start_m = simulation.state.base_position[0]
        pictures = list(film(simulation, act, seed=seed))
        speed_m_s = float(simulation.state.base_position[0] - start_m) / EPISODE_S
    finally:
        simulation.close()
    save_film(out, pictures)
    return elite, speed_m_s


def gallery(run: Path, out: Path | None = None) -> Path:
    """Draws the archive as a contact sheet: in every filled cell its robot, with id and speed.

    Returns:
        Path of the picture, by default `plots/gallery.png` in the run folder.

    Raises:
        UserError, RunFailedError, ArchiveError: As `open_run`.
    """
    folder, _, archive = open_run(run)
    target = out or folder.heatmap_path.with_name("gallery.png")
    target.parent.mkdir(parents=True, exist_ok=True)
    gallery_figure(archive, folder.path.name).savefig(target, dpi=100)
    return target


def gallery_figure(archive: Archive, title: str) -> Figure:
    """The contact sheet; rows and columns without an elite are left out, the axes say what is shown."""
    across, up = archive.axes[0], archive.axes[1]
    cells = {archive.cell_of_elite(elite.id)[:2]: elite for elite in archive}
    columns = sorted({cell[0] for cell in cells})
    rows = sorted({cell[1] for cell in cells}, reverse=True)
    figure = Figure(figsize=(CELL_INCHES * max(3, len(columns)), 1 + 0.8 * CELL_INCHES * max(2, len(rows))))
    figure.suptitle(f"{title}: the elites by {across.axis_label}, across, and {up.axis_label}, up", fontsize=11)
    grid = figure.subplots(max(1, len(rows)), max(1, len(columns)), squeeze=False)
    for row, below in enumerate(rows):
        for column, left in enumerate(columns):
            axes = grid[row][column]
            axes.set(xticks=[], yticks=[], frame_on=False)
            if (left, below) in cells:
                elite = cells[left, below]
                axes.imshow(portrait(build_robot(elite.design), width=200, height=150))
                axes.set_title(f"{elite.id}: {elite.fitness:.2f} m/s", fontsize=8, pad=2)
            if row == len(rows) - 1:
                axes.set_xlabel(_bounds(across, left), fontsize=8)
            if column == 0:
                axes.set_ylabel(_bounds(up, below), fontsize=8)
    figure.tight_layout()
    return figure


def _bounds(axis: Descriptor, index: int) -> str:
    """The range of a bin, with its unit."""
    low, high = axis.edges()[index : index + 2]
    return f"{low:.2g} to {high:.2g} {axis.unit}".strip()
