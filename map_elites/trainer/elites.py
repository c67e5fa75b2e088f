"""What can be made of a finished run's elites: an export folder, a film, a gallery of the archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from map_elites.archive import Archive, Elite
from map_elites.checkpoint import LEARNER_FILE
from map_elites.errors import UserError
from map_elites.plots import EMPTY, INK, colour_range
from map_elites.run_folder import RunFolder
from map_elites.trainer.bodies import body_spec, observation_spec, simulate
from map_elites.trainer.export import export_design
from map_elites.trainer.runs import changed_config, open_run, policy_errors
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.design import RobotDesign
from robogrammar_env.render import film, portrait, save_film
from robogrammar_env.robot import build_robot
from robogrammar_env.simulation import EPISODE_S, Simulation
from shared_ppo.body import BodyDescription
from shared_ppo.export import load_policy, script_policy

FILMS = (".gif", ".mp4")
PICTURES = (".png", ".pdf", ".svg")


def pick_elite(archive: Archive, number: int | None) -> Elite:
    """An elite by id, or the fastest, by its verified speed where it has one.

    Raises:
        UserError: There is no such elite; the message lists the ids.
    """
    elites = {elite.id: elite for elite in archive}
    if not elites:
        raise UserError("the archive has no elite")
    if number is None:
        return max(elites.values(), key=lambda elite: (elite.known_speed, -elite.id))
    if number not in elites:
        raise UserError(f"no elite {number}; the archive has {', '.join(map(str, sorted(elites)))}")
    return elites[number]


def learner_file(folder: RunFolder, config: TrainConfig, elite: Elite) -> Path:
    """Checkpoint of the policy that drives an elite: the run's newest, or the individual's own."""
    if config.run.shared:
        return folder.newest_checkpoint() / LEARNER_FILE
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
    with policy_errors():
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
        with policy_errors():
            act = controller(simulation, learner_file(folder, config, elite), config)
        simulation.reset(seed, training=False)
        start_m = simulation.state.base_position[0]
        pictures = list(film(simulation, act, seed=seed))
        speed_m_s = float(simulation.state.base_position[0] - start_m) / EPISODE_S
    finally:
        simulation.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    save_film(out, pictures)
    return elite, speed_m_s


def gallery(run: Path, out: Path | None = None) -> Path:
    """Draws the archive as a contact sheet: in every filled cell its robot, with id and speed.

    Returns:
        Path of the picture, by default `plots/gallery.png` in the run folder.

    Raises:
        UserError, RunFailedError, ArchiveError: As `open_run`, or a picture of another kind.
    """
    if out and out.suffix not in PICTURES:
        raise UserError(f"--out {out}: wants a name that ends in {', '.join(PICTURES[:-1])} or {PICTURES[-1]}")
    folder, _, archive = open_run(run)
    target = out or folder.heatmap_path.with_name("gallery.png")
    target.parent.mkdir(parents=True, exist_ok=True)
    gallery_figure(archive, folder.path.name).savefig(target, dpi=120)
    return target


def gallery_figure(archive: Archive, title: str) -> Figure:
    """The contact sheet: as the heatmap, with a robot in every filled cell, cut to the part that is filled."""
    across, up = archive.axes[0], archive.axes[1]
    cells = {archive.cell_of_elite(elite.id)[:2]: elite for elite in archive}
    columns, rows = (_span([cell[axis] for cell in cells]) for axis in (0, 1))
    width, height = columns[1] - columns[0], rows[1] - rows[0]
    figure = Figure(figsize=(1.5 + 1.6 * max(2, width), 1.1 + 1.2 * max(2, height)), layout="constrained")
    plot = figure.add_subplot()
    colours = ScalarMappable(Normalize(*colour_range([elite.fitness for elite in cells.values()])), "viridis")
    for column, row in product(range(*columns), range(*rows)):
        _draw_cell(plot, (column, row), cells.get((column, row)), colours)
    plot.set(xlim=columns, ylim=rows, aspect=0.75, xlabel=across.axis_label, ylabel=up.axis_label)
    for axis, edges, (first, end) in ((plot.xaxis, across.edges(), columns), (plot.yaxis, up.edges(), rows)):
        axis.set_ticks(range(first, end + 1), [f"{edge:.3g}" for edge in edges[first : end + 1]])
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)
    plot.set_title(f"{title}: {len(cells)} elites, framed in the colour of their speed", loc="left", pad=10)
    bar = figure.colorbar(colours, ax=plot, pad=0.01, aspect=30, shrink=0.9, label="net forward speed (m/s)")
    bar.outline.set_visible(False)
    return figure


def _span(indices: Sequence[int]) -> tuple[int, int]:
    """First and last + 1 of some bins."""
    return (min(indices), max(indices) + 1) if indices else (0, 1)


def _draw_cell(plot: Axes, cell: tuple[int, int], elite: Elite | None, colours: ScalarMappable) -> None:
    """One cell of unit size: the robot in a coloured frame with its speed and id, or a faint square."""
    column, row = cell
    gap = 0.04
    frame = Rectangle((column + gap, row + gap), 1 - 2 * gap, 1 - 2 * gap, facecolor=EMPTY, edgecolor="none")
    plot.add_patch(frame)
    if elite is None:
        return
    extent = (column + gap, column + 1 - gap, row + gap, row + 1 - gap)
    plot.imshow(portrait(build_robot(elite.design), width=240, height=180), extent=extent, aspect="auto")
    frame.set(fill=False, edgecolor=colours.to_rgba(np.array([elite.fitness]))[0], linewidth=3)
    speed = round(elite.fitness, 2) + 0.0  # + 0.0: no minus sign before zero
    plot.text(column + 0.09, row + 0.91, f"{speed:.2f} m/s", va="top", fontsize=8, weight="bold", color=INK)
    plot.text(column + 0.91, row + 0.09, f"{elite.id}", ha="right", fontsize=7, color=INK)
