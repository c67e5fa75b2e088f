"""Commands for people: `python -m robogrammar_env show|random|simulate|terrain`.

show      what a rule sequence is, step by step, with the rules that could be applied, and the robot that it makes
random    random designs
simulate  one episode of a design with a simple controller, or with RoboGrammar's planner (mppi)
terrain   the list of terrains, or a picture of one
"""

import argparse
import errno
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import networkx as nx
import numpy as np

from robogrammar_env.controllers import CONTROLLERS, make_controller
from robogrammar_env.design import Design, as_design, rules_of
from robogrammar_env.drawing import robot_figure, save_figure, sheet_figure
from robogrammar_env.errors import RobotError, SimulationDiverged, UnfinishedDesignError, unknown_name
from robogrammar_env.grammar import MAX_RULES, Grammar
from robogrammar_env.robot import build_robot, colliding_links
from robogrammar_env.robot_model import RobotModel
from robogrammar_env.rule import is_finished, unfinished_parts
from robogrammar_env.sampling import random_derivation, sample_design
from robogrammar_env.terrain import TERRAINS, make_terrain
from robogrammar_env.terrain_drawing import terrain_figure, terrain_sheet_figure

if TYPE_CHECKING:
    from robogrammar_env.simulation import Simulation

LARGEST_NUMBER = 1e6  # of a wave's frequency and amplitude
MOST_JOINTS = 24
PLANNER_FLAGS = ("samples", "first_samples", "horizon", "planner_seed")
WAVE_FLAGS = ("frequency_hz", "amplitude")

DESIGN_HELP = """rule numbers or names ("0 7 2 16 8 5 6"), a readable design ("body(swing long) -roll- body"),
a published robot (ridged, flat, gap, frozen_lake), or GRAMMAR: RULES ("apr30_wheel: 0 7 2 16 8 20 6")"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0 done, 2 bad input, 1 failed or disk full, 130 interrupted."""
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except SimulationDiverged as error:
        return _failed(error, 1)
    except BrokenPipeError:  # as in `... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _failed(f"{error.strerror or error}{where}", 1 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 2)
    except RobotError as error:
        return _failed(error, 2)
    except KeyboardInterrupt:
        return 130
    return 0


def _failed(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m robogrammar_env", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="show|random|simulate|terrain")
    _add_show(commands.add_parser("show", help="explain a rule sequence or a design"))
    _add_random(commands.add_parser("random", help="draw random designs"))
    _add_simulate(commands.add_parser("simulate", help="run one episode of a design"))
    _add_terrain(commands.add_parser("terrain", help="list or draw terrains"))
    return parser


def _add_show(parser: argparse.ArgumentParser) -> None:
    _add_design(parser)
    parser.add_argument("--out", type=_file, metavar="FILE", help="write a picture (png, svg, pdf)")
    parser.set_defaults(run=_show)


def _add_random(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=_positive, default=1, metavar="N", help="how many (default 1)")
    parser.add_argument("--seed", type=_whole, help="seed; the same seed gives the same designs")
    parser.add_argument("--min-joints", type=_positive, metavar="N", help="fewest joints (default 1)")
    parser.add_argument("--max-joints", type=_positive, metavar="N", help=f"most joints (default {MOST_JOINTS})")
    parser.add_argument("--uniform", action="store_true", help="RoboGrammar's sampler: any applicable rule, any body")
    parser.add_argument("--grammar", default="apr30", help="name or DOT file; other than apr30 only with --uniform")
    parser.add_argument("--out", type=_file, metavar="FILE", help="write a picture of all (png, svg, pdf)")
    parser.set_defaults(run=_random)


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    _add_design(parser)
    parser.add_argument(
        "--controller", "--action", default="sinusoid", help=f"{', '.join(CONTROLLERS)} or mppi (default sinusoid)"
    )
    parser.add_argument("--terrain", default="flat", help=f"{', '.join(TERRAINS)} (default flat)")
    parser.add_argument("--engine", default="pybullet", help="pybullet or mujoco (default pybullet)")
    parser.add_argument(
        "--seed", type=_whole, help="of controller, start pose and terrain (default: exact start, terrain 0)"
    )
    parser.add_argument("--frequency-hz", type=_number, metavar="F", help="of the sinusoid (default 1)")
    parser.add_argument("--amplitude", type=_number, metavar="A", help="of the sinusoid, 1 is 90 degrees (0.5)")
    planner = parser.add_argument_group("mppi, RoboGrammar's planner (minutes in pybullet, faster in mujoco)")
    planner.add_argument("--samples", type=_positive, metavar="N", help="sequences a control step (64)")
    planner.add_argument("--first-samples", type=_whole, metavar="N", help="the same before the first (512)")
    planner.add_argument("--horizon", type=_positive, metavar="N", help="control steps ahead (the terrain's: 16 or 32)")
    planner.add_argument(
        "--planner-seed", type=_whole, metavar="N", help="of the planner alone (default: --seed, or 0)"
    )
    parser.set_defaults(run=_simulate)


def _add_terrain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="one terrain; all by default")
    parser.add_argument("--seed", type=_whole, default=0, help="of the layout (default 0, RoboGrammar's own)")
    parser.add_argument("--out", type=_file, metavar="FILE", help="write a picture (png, svg, pdf)")
    parser.set_defaults(run=_terrain)


def _add_design(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("design", nargs="+", help=DESIGN_HELP)
    parser.add_argument(
        "--grammar", default="apr30", help="apr30, apr30_asym, apr30_wheel or a DOT file (default apr30)"
    )


def _whole(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST_NUMBER:
        raise argparse.ArgumentTypeError(f"expected a number up to {LARGEST_NUMBER:g}, got {text!r}")
    return value


def _file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file")
    return text


def _refuse(args: argparse.Namespace, names: Sequence[str], where: str) -> None:
    """Raises for an option that was given where it would be ignored."""
    for name in names:
        if getattr(args, name) is not None:
            raise RobotError(f"--{name.replace('_', '-')} means nothing {where}")


def _show(args: argparse.Namespace) -> None:
    text = " ".join(args.design)
    grammar, rules = rules_of(text, grammar=args.grammar)
    graph = grammar.start()
    for step, which in enumerate(rules, start=1):
        _print_choices(grammar, graph)
        graph = grammar.apply(graph, which, step=step)
        print(f"step {step}: rule {grammar.rule(which)}")
    if not is_finished(graph):
        _print_choices(grammar, graph)
        print(f"not finished after {len(rules)} rules: left are {', '.join(unfinished_parts(graph))}")
        if args.out:
            grammar.check_finished(graph)
        return
    design = as_design(text, grammar=args.grammar)
    robot = build_robot(design)
    print()
    print(describe(design, robot))
    if args.out:
        save_figure(robot_figure(robot, design.to_text()), args.out)
        print(f"picture: {args.out}")


def _print_choices(grammar: Grammar, graph: nx.MultiDiGraph) -> None:
    width = max(60, shutil.get_terminal_size().columns - 1)
    glued = ", ".join(str(rule).replace(" ", "\0") for rule in grammar.applicable(graph))  # no break inside a rule
    lines = textwrap.wrap(f"applicable: {glued}", width, initial_indent="    ", subsequent_indent="        ")
    print("\n".join(lines).replace("\0", " "))


def describe(design: Design, robot: RobotModel) -> str:
    """Returns a table of a robot's links, and what it is in all, as text."""
    lines = [f"{'link':<18}{'on':<18}{'joint':<16}{'length m':>9}{'radius m':>9}{'mass kg':>9}"]
    for link in robot.links:
        on = robot.links[link.parent].name if link.joint else "-"
        joint = link.joint.kind if link.joint else "free"
        lines.append(
            f"{link.name:<18}{on:<18}{joint:<16}{link.length_m:>9.3f}{link.radius_m:>9.3f}{link.mass_kg:>9.3f}"
        )
    low, high = np.array(robot.bounding_box_m)
    size = " x ".join(f"{extent:.2f}" for extent in high - low)
    pairs = colliding_links(robot)
    return "\n".join(
        [
            *lines,
            "",
            f"links {len(robot.links)}, joints {robot.num_joints}, mass {robot.total_mass_kg:.3f} kg, "
            f"size {size} m (length x width x height)",
            f"design: {design.to_text()}",
            f"rules ({design.num_rules}): {' '.join(map(str, design.rules))}",
            *(["it has no joint: nothing can move"] if not robot.num_joints else []),
            *([f"it collides with itself at rest: {', '.join(f'{a} with {b}' for a, b in pairs)}"] if pairs else []),
        ]
    )


def _random(args: argparse.Namespace) -> None:
    if args.grammar != "apr30" and not args.uniform:
        raise RobotError("designs of a grammar other than apr30 can only be drawn with --uniform")
    if args.uniform:
        _refuse(args, ("min_joints", "max_joints"), "with --uniform")
    rng = np.random.default_rng(args.seed)
    robots, titles = [], []
    for _ in range(args.count):
        design = _draw(rng, args)
        robot = build_robot(design)
        print(f"{design.to_text()}\n    rules {' '.join(map(str, design.rules))}\n    {_summary(robot)}")
        robots.append(robot)
        titles.append(f"{robot.num_joints} joints, {robot.total_mass_kg:.2f} kg")
    if args.out:
        save_figure(robot_figure(robots[0], titles[0]) if args.count == 1 else sheet_figure(robots, titles), args.out)
        print(f"picture: {args.out}")


def _draw(rng: np.random.Generator, args: argparse.Namespace) -> Design:
    """Draws one design; derivations that do not come to an end are drawn again, a hundred times at most."""
    if not args.uniform:
        return sample_design(rng, min_joints=args.min_joints or 1, max_joints=args.max_joints or MOST_JOINTS)
    for _ in range(100):
        try:
            return random_derivation(rng, grammar=args.grammar)
        except UnfinishedDesignError:
            print(f"drawn again: not finished after {MAX_RULES} rules", file=sys.stderr)
    raise UnfinishedDesignError(f"no derivation of {args.grammar} came to an end within {MAX_RULES} rules")


def _summary(robot: RobotModel) -> str:
    remark = ", collides with itself" if colliding_links(robot) else ""
    return f"{len(robot.links)} links, {robot.num_joints} joints, {robot.total_mass_kg:.3f} kg{remark}"


def _simulate(args: argparse.Namespace) -> None:
    # the engine is only needed here: `show` and `random` work without one
    from robogrammar_env.simulation import Simulation

    if args.controller not in (known := [*CONTROLLERS, "mppi"]):
        raise unknown_name("controller", args.controller, known)
    if args.controller != "mppi":
        _refuse(args, PLANNER_FLAGS, "without --controller mppi")
    if args.controller != "sinusoid":
        _refuse(args, WAVE_FLAGS, "without --controller sinusoid")
    design = as_design(" ".join(args.design), grammar=args.grammar)
    simulation = Simulation(design, terrain=args.terrain, engine=args.engine)
    try:
        run = _run_planner if args.controller == "mppi" else _run_controller
        info = run(simulation, args)
    finally:
        simulation.close()
    print(f"{design.to_text()}\n{_summary(simulation.robot)}; {args.controller} on {args.terrain} with {args.engine}")
    for name, value in info.items():
        print(f"{name:<26}{value:>10.4f}")


def _run_controller(simulation: "Simulation", args: argparse.Namespace) -> dict[str, float]:
    from robogrammar_env.simulation import run_episode

    waves = {name: getattr(args, name) for name in WAVE_FLAGS if getattr(args, name) is not None}
    controller = make_controller(args.controller, simulation.num_joints, np.random.default_rng(args.seed or 0), **waves)
    return run_episode(simulation, controller, seed=args.seed)


def _run_planner(simulation: "Simulation", args: argparse.Namespace) -> dict[str, float]:
    from tqdm import tqdm

    from robogrammar_env.mppi import MPPISettings, plan_episode

    sizes = ("first_samples", "samples", "horizon")
    settings = MPPISettings(**{name: getattr(args, name) for name in sizes if getattr(args, name) is not None})
    seed = (args.seed or 0) if args.planner_seed is None else args.planner_seed
    with tqdm(total=simulation.settings.control_steps, unit="step", desc="mppi") as bar:
        found = plan_episode(simulation, settings=settings, seed=seed, start_seed=args.seed, on_step=bar.update)
    return {**found.info, "planning_s": found.seconds, "planning_cpu_s": found.cpu_seconds}


def _terrain(args: argparse.Namespace) -> None:
    terrains = [make_terrain(name, args.seed) for name in (TERRAINS if args.name is None else [args.name])]
    print(f"{'terrain':<15}{'made of':<13}{'friction':<10}weights (forwards, upright, speed)")
    for terrain in terrains:
        kind = "heightfield" if terrain.heightfield else f"{len(terrain.boxes)} boxes"
        weights = ", ".join(f"{weight:g}" for weight in terrain.weights)
        print(f"{terrain.name:<15}{kind:<13}{terrain.friction:<10.2f}{weights}")
    if args.out:
        save_figure(terrain_figure(terrains[0]) if args.name else terrain_sheet_figure(terrains), args.out)
        print(f"picture: {args.out}")


if __name__ == "__main__":
    sys.exit(main())
