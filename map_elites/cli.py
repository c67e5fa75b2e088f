"""The command line: flags, exit codes, and what is printed at the end.

Exit code 0 only if everything asked for was done; 2 for a bad command line, config or folder; 1 for damaged data, a
full disk or a run that failed; 130, 143 or 129 after Ctrl-C, SIGTERM or the end of
the terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from setproctitle import setproctitle

from map_elites.archive import ArchiveError
from map_elites.config import FLAGS, merge, nest, nest_flags
from map_elites.errors import Interrupted, RunFailedError, UserError

if TYPE_CHECKING:
    from map_elites.trainer import MAPElitesEvolutionTrainer

RESUMABLE = ("total_steps", "max_workers", "device", "log_file")  # flags that may change when a run is taken up again
ON_FINISHED_RUNS = {  # what is done with a finished run -> training flags that mean something there
    "evaluate": ("terrain", "engine", "seed", "max_workers", "set"),
    "replay": ("terrain", "engine", "seed", "set"),
    "plot": (),
    "gallery": (),
    "export": (),
}
OF_TRAINING = ("archive", "evolution", "experience", "policy", "ppo", "reward")  # sections without a say afterwards


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors that name the nearest known flag."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Parses, refusing unknown flags.

        Raises:
            UserError: The command line is wrong.
        """
        arguments, unknown = self.parse_known_args(argv)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
            self.error(f"unknown argument {unknown[0]}" + (f"; did you mean {near[0]}?" if near else ""))
        return arguments


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return Path(text)


def make_parser() -> Parser:
    """The parser of `map_elites_trainer.py`."""
    parser = Parser(
        prog="map_elites_trainer.py",
        description="Robots of the RoboGrammar grammar evolve with MAP-Elites; one PPO policy learns to drive them.",
        allow_abbrev=False,
    )
    jobs = parser.add_argument_group("what to do").add_mutually_exclusive_group()
    jobs.add_argument("--train-shared", action="store_true", help="evolve robots under one shared policy")
    jobs.add_argument("--train-independent", action="store_true", help="baseline: every individual trains its own PPO")
    jobs.add_argument("--evaluate", metavar="RUN_DIR", type=_path, help="score all elites of a run again")
    jobs.add_argument("--plot", metavar="RUN_DIR", type=_path, help="draw the archive of a run")
    jobs.add_argument("--replay", metavar="RUN_DIR", type=_path, help="film an elite")
    jobs.add_argument("--gallery", metavar="RUN_DIR", type=_path, help="draw every elite in its cell")
    jobs.add_argument("--export", metavar="RUN_DIR", type=_path, help="an elite and its policy for other tools")
    run = parser.add_argument_group("training")
    run.add_argument("--config", metavar="FILE", type=_path, help="YAML settings; flags win over them")
    run.add_argument("--resume", metavar="RUN_DIR", type=_path, help="go on with a run from its newest checkpoint")
    run.add_argument("--results-dir", metavar="DIR", help="where run folders go (default: results)")
    run.add_argument("--run-name", metavar="NAME", help="name of the run folder (default: date, mode, seed)")
    run.add_argument("--seed", metavar="N", help="seed of everything random (default: 0)")
    run.add_argument("--max-workers", metavar="N", help="worker processes (default: 75 %% of the cores)")
    run.add_argument("--total-steps", metavar="N", help="control steps over all workers, evaluation included")
    run.add_argument("--terrain", metavar="NAME", help="terrain, or several in turn: flat,ridged,gap (default: flat)")
    run.add_argument("--engine", metavar="NAME", help="physics engine that scores (default: pybullet)")
    run.add_argument(
        "--training-engine", metavar="NAME", help="physics engine that trains (default: mujoco if it is installed)"
    )
    run.add_argument("--mode", metavar="sync|async", help="sync is reproducible: same seed, same archive")
    run.add_argument(
        "--device", metavar="auto|cpu|cuda", help="where the shared policy learns (default: GPU if usable)"
    )
    run.add_argument("--log-file", metavar="FILE", help="second copy of the log (default: ./training.log)")
    run.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="any other setting of the config")
    plot = parser.add_argument_group("with --plot")
    plot.add_argument("--axes", metavar="A,B", help="two descriptors to draw over (default: those of the archive)")
    elite = parser.add_argument_group("with --replay, --gallery, --export")
    elite.add_argument("--elite", metavar="ID", type=int, help="which one (default: the fastest)")
    elite.add_argument("--out", metavar="PATH", type=_path, help="film (.gif, .mp4), picture, or folder to write")
    return parser


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings that the flags ask for, nested like the config file.

    Raises:
        UserError: A `--set` is not of the form KEY=VALUE, or its value is not YAML.
    """
    given = {flag: getattr(arguments, flag) for flag in FLAGS if getattr(arguments, flag) is not None}
    settings = nest_flags(given)
    for text in arguments.set:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {text}: wants KEY=VALUE, such as ppo.learning_rate=3e-4")
        settings = merge(settings, nest(key.strip(), _yaml(text, value)))
    is_section = isinstance(settings.get("run", {}), Mapping)  # not after `--set run=3`, which is refused later
    if is_section and (arguments.train_shared or arguments.train_independent):
        settings = merge(settings, {"run": {"shared": bool(arguments.train_shared)}})
    return settings


def _yaml(text: str, value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value is not YAML") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Returns:
        The exit code.
    """
    _open_missing_streams()
    setproctitle("map_elites: main")
    try:
        arguments = make_parser().parse(argv)
        return _job(arguments)(arguments)
    except UserError as error:
        return _complain(error, 2)
    except Interrupted as error:
        return _complain(error, 128 + error.signal_number)
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except (RunFailedError, ArchiveError) as error:
        return _complain(error, 1)
    except OSError as error:
        return _complain(_describe(error), 1)
    except Exception as error:
        return _complain(f"unexpected {type(error).__name__}: {' '.join(str(error).split())}", 1)


def _open_missing_streams() -> None:
    """Opens what the shell closed, as `>&-` does: the next file would take its number, and get what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open("w" if number else "r", encoding="utf-8")  # noqa: SIM115
            if stream.fileno() != number:
                os.dup2(stream.fileno(), number)
            setattr(sys, name, stream)


def _complain(message: object, code: int) -> int:
    """One line on the terminal, whatever the message looks like."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"map_elites_trainer.py: {'; '.join(str(message).splitlines())}", file=sys.stderr, flush=True)
    return code


def _describe(error: OSError) -> str:
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _job(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if arguments.axes is not None and not arguments.plot:
        raise UserError("--axes goes with --plot RUN_DIR")
    _check_elite_flags(arguments)
    _check_training_flags(arguments)
    for name, job in AFTERWARDS.items():
        if getattr(arguments, name):
            return job
    if arguments.evaluate:
        return _evaluate
    if arguments.plot:
        return _plot
    if arguments.resume:
        return _resume
    if arguments.train_shared or arguments.train_independent:
        return _train
    raise UserError("nothing to do; start with --train-shared, or see --help")


def _check_training_flags(arguments: argparse.Namespace) -> None:
    """Refuses what would be ignored."""
    for job, meaningful in ON_FINISHED_RUNS.items():
        if getattr(arguments, job) is None:
            continue
        for flag in (*FLAGS, "config", "resume", "set"):
            if flag not in meaningful and getattr(arguments, flag):
                raise UserError(f"--{flag.replace('_', '-')} means nothing with --{job}")
        for text in arguments.set:
            if text.partition("=")[0].strip().partition(".")[0] in OF_TRAINING:
                raise UserError(f"--set {text} means nothing with --{job}: it is a setting of training")


def _train(arguments: argparse.Namespace) -> int:
    from map_elites.trainer import MAPElitesEvolutionTrainer, load_config

    config = load_config(arguments.config, overrides(arguments))
    _check_device_flag(arguments, is_shared=config.run.shared)
    return _run(MAPElitesEvolutionTrainer(config))


def _resume(arguments: argparse.Namespace) -> int:
    from map_elites.checkpoint import read_state
    from map_elites.run_folder import open_folder
    from map_elites.trainer import MAPElitesEvolutionTrainer, load_config, stored_config

    fixed = [flag for flag in (*FLAGS, "config") if flag not in RESUMABLE and getattr(arguments, flag) is not None]
    if fixed or arguments.set:
        flag = f"--{fixed[0].replace('_', '-')}" if fixed else "--set"
        raise UserError(f"{flag} cannot change when a run is taken up again; --resume keeps the run's own settings")
    folder = open_folder(arguments.resume)
    stored = stored_config(folder)
    config = load_config(folder.config_path, overrides(arguments))
    if stored.run.shared != config.run.shared:
        kind = "--train-shared" if stored.run.shared else "--train-independent"
        raise UserError(f"{folder.path} is a {kind} run")
    _check_device_flag(arguments, is_shared=stored.run.shared)
    if config.run.total_steps < stored.run.total_steps:
        done = int(read_state(folder.newest_checkpoint())["env_steps"])
        if config.run.total_steps < done:
            raise UserError(f"--total-steps {config.run.total_steps}: {folder.path} has {done} steps behind it already")
    return _run(MAPElitesEvolutionTrainer(config, resume=folder))


def _check_device_flag(arguments: argparse.Namespace, *, is_shared: bool) -> None:
    """Refuses a device where every robot has a learner of its own."""
    if arguments.device and not is_shared:
        raise UserError("--device means nothing with --train-independent: each policy learns on a core of its own")


def _run(trainer: MAPElitesEvolutionTrainer) -> int:
    """Runs a trainer and prints the closing table."""
    summary = trainer.run()
    print_summary(summary)
    if trainer.folder:
        _print(f"\narchive, curves and heatmap are in {trainer.folder.path}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from map_elites.run_folder import RunFolder
    from map_elites.trainer import evaluate_run

    report = evaluate_run(arguments.evaluate, overrides(arguments))
    print_evaluation(report)
    _print(f"written to {RunFolder(arguments.evaluate).write_evaluation(report)}")
    return 1 if any(row["speed"] is None for row in report["elites"]) else 0


def _plot(arguments: argparse.Namespace) -> int:
    from map_elites.trainer import plot_run

    names = [name.strip() for name in arguments.axes.split(",")] if arguments.axes is not None else None
    _print(str(plot_run(arguments.plot, names)))
    return 0


def _check_elite_flags(arguments: argparse.Namespace) -> None:
    if arguments.elite is not None and not (arguments.replay or arguments.export):
        raise UserError("--elite goes with --replay RUN_DIR or --export RUN_DIR")
    if arguments.out and not (arguments.replay or arguments.export or arguments.gallery):
        raise UserError("--out goes with --replay, --export or --gallery RUN_DIR")
    if (arguments.replay or arguments.export) and not arguments.out:
        raise UserError("--out is missing: where the film (walk.gif) or the exported folder goes")
    if arguments.out:
        _check_out(arguments.out, is_folder=bool(arguments.export))


def _check_out(out: Path, *, is_folder: bool) -> None:
    """Refuses a place that cannot be written to, before the work for it is done."""
    from map_elites.run_folder import check_writable

    check_writable(out if is_folder else out.parent)
    if not is_folder and out.is_dir():
        raise UserError(f"--out {out}: is a folder; wants the name of a file")


def _replay(arguments: argparse.Namespace) -> int:
    from map_elites.trainer.elites import replay_elite

    wanted = overrides(arguments)
    elite, speed_m_s = replay_elite(arguments.replay, arguments.elite, arguments.out, overrides=wanted)
    _print(f"{arguments.out}: elite {elite.id} at {speed_m_s:.3f} m/s, {elite.design}")
    return 0


def _gallery(arguments: argparse.Namespace) -> int:
    from map_elites.trainer.elites import gallery

    _print(str(gallery(arguments.gallery, arguments.out)))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from map_elites.trainer.elites import export_elite

    elite, difference = export_elite(arguments.export, arguments.elite, arguments.out)
    _print(f"{arguments.out}: elite {elite.id}, {elite.design}; actions equal the trainer's to {difference:.1g}")
    return 0


AFTERWARDS = {"replay": _replay, "gallery": _gallery, "export": _export}


def print_summary(summary: Mapping[str, Any]) -> None:
    """The closing table."""
    width = max(map(len, summary))
    lines = [f"{name:<{width}}  {_shown(name, value):>14}" for name, value in summary.items()]
    _print("\n".join(lines))


def print_evaluation(report: Mapping[str, Any]) -> None:
    """One line per elite, the fastest first, then the means, then how far recorded and fresh speeds agree."""
    rows, terrains = report["elites"], report["terrain"].split(",")
    several = terrains if len(terrains) > 1 else []
    heads = ["recorded m/s", "now m/s", *several, "objective"]
    lines = [f"{'id':>6} {' '.join(f'{head:>12}' for head in heads)}  design"]
    for row in rows:
        speeds = (row["terrain_speeds"].get(name) for name in several)
        numbers = [row["recorded_speed"], row["speed"], *speeds, row["robogrammar_objective"]]
        lines.append(f"{row['id']:>6} {' '.join(f'{_decimal(number):>12}' for number in numbers)}  {row['design']}")
    scored = [row["speed"] for row in rows if row["speed"] is not None]
    if scored:
        where = f"on {report['terrain']} in {report['engine']}"
        means = f"mean {sum(scored) / len(scored):.4f} m/s, QD score {sum(scored):.3f} m/s"
        lines.append(f"{len(scored)} elites scored {where}: {means}")
    _print("\n".join([*lines, *_agreement(report)]))


def _agreement(report: Mapping[str, Any]) -> list[str]:
    """What recorded and fresh speeds say about each other, for people."""
    if not report["compared"]:
        return []
    correlation = report["rank_correlation"]
    shown = "not defined for so few" if correlation is None else f"{correlation:.2f}"
    walking = {name: report[f"walking_{name}"] for name in ("in_both", "before", "now")}
    named = {name: ", ".join(map(str, ids)) or "none" for name, ids in walking.items()}
    return [
        f"rank correlation (Spearman) with the recorded speeds: {shown}",
        f"faster than {report['walking_m_s']} m/s, recorded and now: {named['in_both']}; "
        f"only recorded: {named['before']}; only now: {named['now']}",
    ]


def _print(text: str) -> None:
    """Prints, also into a pipe that nobody reads any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 4) + 0.0:.4f}"  # + 0.0: no minus sign before zero


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "peak_memory_bytes":
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
