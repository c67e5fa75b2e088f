"""Turns a configuration into a job: command, rendered files, environment, manifest."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gml import scores
from gml.book import Assignment
from gml.config import SearchConfig
from gml.errors import DamagedError
from gml.fill import fill
from gml.jobs import Job
from gml.jobs.kinds import job_class
from gml.render import render_file
from gml.task import TaskFolder

MANIFEST = "manifest.json"
RESERVED = ("job_dir", "job_name", "task", "seed", "ckpt_save_path", "python")


class Launcher:
    """Makes the jobs of one task."""

    def __init__(
        self,
        config: SearchConfig,
        task: TaskFolder,
        *,
        mock: str,
        compare_id: str = "",
        symlink_paths: Sequence[str] = (),
        timeout_s: float | None = None,
    ):
        """Keeps what all jobs have in common.

        Args:
            config: the search config.
            task: folder of the task.
            mock: value of MOCK_PAVI.
            compare_id: the Compare of the task.
            symlink_paths: see Job.
            timeout_s: see Job.
        """
        self._config, self._task, self._mock, self._compare_id = config, task, mock, compare_id
        self._symlink_paths, self._timeout_s = tuple(symlink_paths), timeout_s
        self._git = git_version()

    def make(self, assignment: Assignment, *, name: str = "") -> Job:
        """Returns the job of a configuration; nothing is written yet.

        Args:
            assignment: the configuration.
            name: of the job, if not the usual one.
        """
        name = name or assignment.job_name
        job_dir = self._task.jobs / name
        values = self._values(assignment, name, job_dir)
        cls = job_class(self._config.job.type, self._config.task.template)
        job = cls(
            fill(self._config.task.template, values),
            name if cls is Job else f"{self._task.name}_{name}",
            assignment.arg_dict,
            self._compare_id or None,
            self._symlink_paths,
            job_dir=job_dir,
            env=self._env(assignment, name, job_dir),
            timeout_s=self._timeout_s,
            grace_s=self._config.scheduler.grace_s,
        )
        job.configure(**self._config.job.settings)
        return job

    def write(self, assignment: Assignment, job: Job) -> None:
        """Writes what the job reads (its copies of the program's files) and its manifest."""
        job.job_dir.mkdir(parents=True, exist_ok=True)
        for arg in self._config.task.search_args.files:
            inside = self._config.task.search_args.inside(arg, assignment.arg_dict)
            render_file(arg, inside, self._task.source(arg), job.job_dir)
        manifest = {
            "command": job.command,
            "kind": self._config.job.type,
            "settings": dict(self._config.job.settings),
            "cwd": str(job.cwd),
            "env": job.env,
            "seed": assignment.seed,
            "arg_dict": dict(assignment.arg_dict),
            "git": self._git,
        }
        (job.job_dir / MANIFEST).write_text(json.dumps(manifest, indent=2, default=str), encoding="utf-8")

    def scalars(self, assignment: Assignment, job: Job) -> scores.JobScalars:
        """Returns the reader of what the job reports, from now on."""
        reward = self._config.searcher.reward_attribute
        if self._mock == "2":
            return scores.JobScalars([], reward)
        values = self._values(assignment, job.job_dir.name, job.job_dir)
        files = [fill(path, values, quote=False) for path in self._config.pavi.files]
        sources = [
            scores.JsonLinesSource(job.job_dir / "scalars.jsonl"),
            *(scores.file_source(path) for path in files),
            scores.OutputSource(job.log_file, [reward, *self._config.pavi.scalars]),
        ]
        return scores.JobScalars(sources, reward)

    def _values(self, assignment: Assignment, name: str, job_dir: Path) -> dict[str, Any]:
        save_path = self._config.searcher.ckpt_save_path
        reserved = (job_dir, name, self._task.name, assignment.seed, save_path, sys.executable)
        values: dict[str, Any] = dict(zip(RESERVED, reserved, strict=True))
        for arg in self._config.task.search_args.files:
            source = self._task.source(arg)
            path = job_dir / f"{arg.place_holder or source.stem}{source.suffix}"
            values |= {arg.name: path, **({arg.place_holder: path} if arg.place_holder else {})}
        return {**values, **assignment.arg_dict}

    def _env(self, assignment: Assignment, name: str, job_dir: Path) -> dict[str, str]:
        own = {
            "GML_TASK": self._task.name,
            "GML_JOB_NAME": name,
            "GML_JOB_DIR": str(job_dir),
            "GML_SEED": str(assignment.seed),
            "GML_ARG_DICT": json.dumps(dict(assignment.arg_dict), default=str),
            "GML_CKPT_SAVE_PATH": self._config.searcher.ckpt_save_path,
            "PAVI_COMPARE_ID": self._compare_id,
        }
        return {**own, **scores.environment(job_dir, self._mock), **self._config.task.env}


def git_version() -> str:
    """Returns the commit that the current folder is at, with "-dirty" if files differ; "" outside of git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def job_from_manifest(folder: Path, *, name: str, job_dir: Path) -> Job:
    """Returns a job that runs again exactly what a manifest says, but writes into a folder of its own.

    Args:
        folder: of the job that ran.
        name: of the new job.
        job_dir: of the new job.

    Raises:
        DamagedError: there is no manifest, or it cannot be read.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8").replace(str(folder), str(job_dir))
        manifest: Mapping[str, Any] = json.loads(text)
        cwd = manifest["cwd"] if Path(manifest["cwd"]).is_dir() else Path.cwd()
        cls = job_class(manifest["kind"], manifest["command"])
        job = cls(manifest["command"], name, manifest["arg_dict"], job_dir=job_dir, cwd=cwd, env=manifest["env"])
        job.configure(**manifest["settings"])
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise DamagedError(f"{folder / MANIFEST} cannot be read: {type(error).__name__}: {error}") from error
    return job
