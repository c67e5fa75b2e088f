"""The command line of the scale runner."""

import argparse
import difflib
import errno
import logging
import re
import sys
import types
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_args

from tqdm.contrib.logging import logging_redirect_tqdm

from gml.jobs import Interrupted, interrupts
from tools.rounds import journal as journals
from tools.rounds import report
from tools.rounds.errors import RoundsError
from tools.rounds.journal import locked
from tools.rounds.opening import open_experiment
from tools.rounds.quota import DONE, Quota, replay
from tools.rounds.runner import Runner
from tools.rounds.settings import Settings, make_settings, read_yaml

DESCRIPTION = "Runs a command in rounds until every object has its number of samples, and merges what they made."
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the parsing.

        Raises:
            RoundsError: always.
        """
        raise RoundsError(f"{message} (see --help)")

    def check_flags(self, argv: Sequence[str]) -> None:
        """Refuses unknown flags; argparse would complain about their values first.

        Raises:
            RoundsError: names the nearest known flag.
        """
        known = [flag for action in self._actions for flag in action.option_strings]
        for flag in (word.split("=")[0] for word in argv if re.match(r"--\w", word)):
            if flag not in known and " " not in flag:
                near = difflib.get_close_matches(flag, known, 1)
                raise RoundsError(f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else " (see --help)"))


def build_parser() -> Parser:
    """Returns the parser: a flag for every setting."""
    parser = Parser(prog="scale_runner.py", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=("run", "status"), default="run", help="status: how it stands")
    parser.add_argument("--config", type=Path, help="YAML file with any of the settings below; flags win")
    parser.add_argument("--dry_run", action="store_true", help="only print the plan and the disk that it needs")
    for item in fields(Settings):
        shown = item.default if item.default not in ((), None, "") else "none"
        if isinstance(shown, tuple):
            shown = " ".join(shown)
        text = f"{item.metadata['help']} (default: {shown})".replace("%", "%%")
        parser.add_argument(f"--{item.name}", help=text, default=None, **_flag_kind(item.type))
    return parser


def _flag_kind(kind: Any) -> dict[str, Any]:
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind == tuple[str, ...]:
        return {"nargs": "+", "metavar": "TEXT"}
    plain = get_args(kind)[0] if isinstance(kind, types.UnionType) else kind
    return {"metavar": {int: "N", float: "NUMBER"}.get(plain, "TEXT")}


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Joins the YAML file and the flags; what neither says is taken from the experiment if it is there.

    Raises:
        RoundsError: something in them is wrong.
    """
    from_file = read_yaml(arguments.config) if arguments.config else {}
    names = [item.name for item in fields(Settings)]
    flags = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return make_settings(_settings_before(arguments, {**from_file, **flags}), from_file, flags)


def _settings_before(arguments: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    goes_on = bool(given.get("resume")) or arguments.what == "status"
    name = str(given.get("exp_name", ""))
    folder = Path(str(given.get("experiments_dir", Settings.experiments_dir))) / name
    return journals.settings_of(folder) if goes_on and name else {}


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        parser = build_parser()
        parser.check_flags(sys.argv[1:] if argv is None else argv)
        arguments = parser.parse_args(argv)
        settings = settings_from(arguments)
        if arguments.what == "status":
            return _status(settings)
        return _dry_run(settings) if arguments.dry_run else _run(settings)
    except RoundsError as error:
        print(f"scale_runner.py: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        advice = "; make room, then go on with --resume" if error.errno in DISK_FULL else ""
        print(f"scale_runner.py: {error}{advice}", file=sys.stderr)
        return 1
    except Interrupted as interruption:
        print(f"scale_runner.py: stopped by {interruption}; go on with --resume", file=sys.stderr)
        return interruption.exit_code


def _known(settings: Settings) -> list[Quota]:
    return replay(settings, journals.read_lines(settings.folder) if settings.folder.is_dir() else [])


def _status(settings: Settings) -> int:
    if not settings.folder.is_dir():
        raise RoundsError(f"there is no experiment {settings.folder}")
    print(report.status(settings, _known(settings), journals.holder(settings.folder)))
    return 0


def _dry_run(settings: Settings) -> int:
    print(report.plan(settings, _known(settings)))
    return 0


def _run(settings: Settings) -> int:
    if not Path(settings.workdir).is_dir():
        raise RoundsError(f"workdir {settings.workdir} is no folder")
    with interrupts(), locked(settings.folder), logging_redirect_tqdm():
        journal, quotas, mergers = open_experiment(settings)
        progress = report.Progress(quotas)
        try:
            Runner(settings, journal, quotas, mergers).run(lambda _: progress.show())
        finally:
            progress.close()
            print(report.table(quotas))
    return 0 if all(quota.status == DONE for quota in quotas) else 1
