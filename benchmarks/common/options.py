"""The command line that the learning benchmarks share, and the settings it asks for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from map_elites.config import build, merge, nest, read_yaml, to_plain
from map_elites.errors import RunFailedError, UserError
from map_elites.trainer.settings import TrainConfig
from robogrammar_env.errors import RobotError

TRIAL_SECTIONS = ("environment", "episode", "reward", "policy", "action", "ppo", "experience", "workers")


class Parser(argparse.ArgumentParser):
    """argparse with the docstring of a program as its description and errors of one line."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see --help)\n")


def whole_number(text: str, least: int = 0) -> int:
    """A whole number of an option.

    Raises:
        ArgumentTypeError: It is none, or less than `least`.
    """
    if not (text.removeprefix("-").isdecimal() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"wants a whole number of at least {least}, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return whole_number(text, least=1)


def make_parser(description: str | None, *, steps: int | None, out: str, seeds: int = 3) -> Parser:
    """A parser with the options that every learning benchmark has.

    Args:
        description: docstring of the program.
        steps: default of --steps; None leaves it out, for programs with another budget.
        out: default of --out, below results/benchmarks.
        seeds: seeds 0 to `seeds - 1` are the default of --seeds.
    """
    parser = Parser(description)
    parser.add_argument("--engine", default="mujoco", help="engine that trains (mujoco)")
    parser.add_argument("--judge", help="engine that scores, at its own default settings; by default as in training")
    parser.add_argument("--seeds", type=whole_number, nargs="+", default=list(range(seeds)))
    if steps is not None:
        parser.add_argument("--steps", type=positive, default=steps, help=f"training control steps in all ({steps})")
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    add_settings(parser, "--set", "settings that win over --config, e.g. ppo.epochs=8")
    parser.add_argument("--workers", type=whole_number, default=2, help="worker processes (2); 0: all in this process")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks") / out)
    parser.add_argument("--report", action="store_true", help="train nothing: tables and pictures from what --out has")
    return parser


def add_settings(parser: argparse.ArgumentParser, flag: str, help_text: str) -> None:
    """Adds an option that takes any number of KEY=VALUE."""
    parser.add_argument(flag, nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=help_text)


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """`["ppo.clip=0.1"]` as nested settings.

    Raises:
        UserError: One is not KEY=VALUE.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--set {pair}: wants KEY=VALUE, such as ppo.epochs=8")
        settings = merge(settings, nest(key, yaml.safe_load(value)))
    return settings


def train_config(options: argparse.Namespace, pairs: list[str] | None = None) -> TrainConfig:
    """The settings that the options ask for; `pairs` win over all of them.

    Raises:
        ConfigError: With everything that is wrong.
    """
    settings = read_yaml(options.config) if options.config else {}
    for top in (nest("environment.engine", options.engine), parse_settings(options.set), parse_settings(pairs or [])):
        settings = merge(settings, top)
    return build(TrainConfig, settings)


def trial_settings(config: TrainConfig, **more: Any) -> dict[str, Any]:
    """Everything that decides a trial's outcome, as plain data: the settings it reads, and `more`."""
    plain = to_plain(config)
    return {**{name: plain[name] for name in TRIAL_SECTIONS}, **to_plain(more)}


def run_program(main: Callable[[], None]) -> None:
    """Runs a program; bad input ends it with one clear line and exit code 2, a run that failed with 1, Ctrl-C with 130.

    What is printed into a pipe that nobody reads any more, as in `... | head`, is lost without a word.
    """
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("interrupted; parts that were finished are kept", file=sys.stderr)
        sys.exit(130)
    except (UserError, RobotError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except RunFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
