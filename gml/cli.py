"""The commands search-init, search-run and search-ctl."""

import argparse
import errno
import logging
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gml.errors import DamagedError, UserError
from gml.signals import Interrupted, interrupts

log = logging.getLogger("gml")
BAD_PATH = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


def guarded(command: Callable[[Sequence[str] | None], int]) -> Callable[[Sequence[str] | None], int]:
    """Turns the errors that a user can do something about into one line and an exit code."""

    def run(argv: Sequence[str] | None = None) -> int:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        try:
            with interrupts():
                return command(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except DamagedError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except Interrupted as interrupted:
            print(f"interrupted ({interrupted}); go on with --resume", file=sys.stderr)
            return interrupted.exit_code
        except BrokenPipeError:  # the reader of our output has gone, as in `search-ctl show | head`
            sys.stderr.close()
            return 0
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            hint = "; free some space (a search then goes on with --resume)" if error.errno == errno.ENOSPC else ""
            print(f"error: {where}{error.strerror or error}{hint}", file=sys.stderr)
            return 2 if isinstance(error, BAD_PATH) or error.errno == errno.EROFS else 1
        except Exception as error:  # Optuna and SQLAlchemy wrap what SQLite says
            if (cause := _of_sqlite(error)) is None:
                raise
            print(f"error: the study cannot be read or written: {cause}", file=sys.stderr)
            return 1

    return run


def _of_sqlite(error: BaseException | None) -> sqlite3.Error | None:
    while error is not None and not isinstance(error, sqlite3.Error):
        error = error.__cause__ or error.__context__
    return error


@guarded
def search_init(argv: Sequence[str] | None = None) -> int:
    """Prepares the current folder for searches."""
    parser = argparse.ArgumentParser(prog="search-init", description="Prepares the current folder for searches.")
    parser.parse_args(argv)
    from gml.workspace import prepare

    for line in prepare(Path.cwd()):
        print(line)
    return 0


@guarded
def search_run(argv: Sequence[str] | None = None) -> int:
    """Runs a search."""
    parser = argparse.ArgumentParser(prog="search-run", description="Runs a search; joins one that is running.")
    parser.add_argument("config", help="search config, YAML")
    parser.add_argument("-t", "--task", required=True, help="name of the task; its files go to ./gml_tasks/TASK")
    parser.add_argument("--resume", action="store_true", help="go on with a task, its ERROR jobs first")
    parser.add_argument("--symlinks", default="", help="run in copies of this folder, with these paths (a,b) linked")
    parser.add_argument("--benchmark", action="store_true", help="evaluate linear MuJoCo policies, no command")
    parser.add_argument("--gpus", help="GPU ids (0,1,2), one job each, '' for none; replaces scheduler.gpus")
    parser.add_argument("--parallel-size", help="most jobs at a time; replaces scheduler.parallel_size")
    parser.add_argument("--max-tries", help="replaces stop_criterion.max_tries; +20 means 20 more than there are")
    parser.add_argument("--import", dest="imports", action="append", default=[], help="Python file with own classes")
    options = parser.parse_args(argv)
    from gml.running import run_search  # Optuna takes a while to import

    return run_search(options)


@guarded
def search_ctl(argv: Sequence[str] | None = None) -> int:
    """Looks at tasks and manages them."""
    options = _ctl_parser().parse_args(argv)
    from gml import ctl

    return getattr(ctl, options.verb.replace("-", "_").replace("import", "import_"))(options)


def _ctl_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="search-ctl", description="Shows, stops, removes, moves and checks tasks.")
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name: str, text: str, *, task: bool | None = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        if task is not None:
            made.add_argument("-t", "--task", required=task, help="name of the task")
        return made

    show = verb("show", "Shows all tasks, or one with its jobs.", task=False)
    show.add_argument("--jobs", help="only these jobs: job_0001,job_0002 or 1,2")
    show.add_argument("--scalar", action="store_true", help="show the scalars of the jobs")
    show.add_argument("--out", help="write YAML to this file instead")
    verb("stop", "Stops a task: PENDING and RUNNING jobs become KILLED.")
    verb("rm", "Removes a task; its summary goes to summary.yaml first.")
    clean = verb("clean", "Removes the trials that have no result; the old study is kept beside the new one.")
    clean.add_argument("--dry-run", action="store_true", help="only say what would go")
    export = verb("export", "Packs a task.")
    export.add_argument("--tar-path", help="default: archive/TASK.YYYYmmddHHMMSS.tar.gz")
    import_ = verb("import", "Unpacks a task.", task=False)
    import_.add_argument("--tar-path", required=True, help="what export wrote")
    import_.add_argument("--force", action="store_true", help="replace the task if it exists")
    rerun = verb("rerun", "Runs one job again from its manifest, beside the search.")
    rerun.add_argument("--job", required=True, help="job_0003 or 3")
    winners = verb("winners", "Runs the best configurations again on fresh seeds.")
    winners.add_argument("--top", type=int, default=3, help="how many configurations (default 3)")
    winners.add_argument("--seeds", type=int, default=5, help="seeds of each (default 5)")
    verb("best", "Shows the best trial and how much each arg matters.")
    dashboard = verb("dashboard", "Serves optuna-dashboard on a task.")
    dashboard.add_argument("--port", type=int, default=8080)
    dashboard.add_argument("--host", default="127.0.0.1")
    verb("verify", "Checks the set-up and runs two small jobs.", task=None)
    return parser


def main(argv: Sequence[str] | None = None) -> Any:
    """`python -m gml.cli run|ctl|init ...`, for places where the console scripts are not installed."""
    commands = {"run": search_run, "ctl": search_ctl, "init": search_init}
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in commands:
        print(f"usage: python -m gml.cli {'|'.join(commands)} ...", file=sys.stderr)
        return 2
    return commands[words[0]](words[1:])


if __name__ == "__main__":
    sys.exit(main())
