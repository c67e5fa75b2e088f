"""Checks the set-up: what is installed, and that two small jobs run to their end."""

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from gml.schedulers import NaiveScheduler

NEEDED = ("optuna", "yaml", "sqlalchemy")
OPTIONAL = {
    "scipy": "CurveFittingAssessor, LamctsSearcher, winner check",
    "torch": "SkoptSearcher and GPSampler",
    "cmaes": "CmaEsSampler",
    "tensorboard": "reading TensorBoard events",
    "optuna_dashboard": "search-ctl dashboard",
    "gymnasium": "--benchmark",
    "mujoco": "--benchmark",
}
COMMANDS = {"srun": "SlurmJob", "docker": "ContainerJob", "podman": "ContainerJob", "apptainer": "ContainerJob"}
PROGRAM = "from pavi import SummaryWriter; SummaryWriter('smoke').add_scalar('acc', {x}, 0)"
SMOKE = {
    "task": {
        "template": f'{sys.executable} -c "{PROGRAM}"',
        "search_args": [{"type": "Categorical", "name": "x", "data": [0.25, 0.5]}],
    }
}


def verify() -> int:
    """Prints what was found; returns 0 if searches can run here."""
    ok = True
    for name in NEEDED:
        ok &= _report(name, importlib.util.find_spec(name) is not None, "needed")
    for name, use in OPTIONAL.items():
        _report(name, importlib.util.find_spec(name) is not None, f"for {use}")
    for name, use in COMMANDS.items():
        _report(name, shutil.which(name) is not None, f"for {use}")
    ok &= _report("pidfd (Linux 5.3 or newer)", hasattr(os, "pidfd_open"), "needed")
    ok &= _report("two small jobs", _smoke(), "ran to their end")
    print("this machine can run searches" if ok else "this machine cannot run searches")
    return 0 if ok else 1


def _report(name: str, is_there: bool, text: str) -> bool:
    print(f"{'ok     ' if is_there else 'missing'}  {name} ({text})")
    return is_there


def _smoke() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        book = NaiveScheduler(Path(folder) / "smoke", SMOKE).run()
        return sorted(trial.value or 0.0 for trial in book.trials()) == [0.25, 0.5]
