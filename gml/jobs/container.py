"""Jobs in a container: the command line of docker, podman or apptainer."""

import shlex
from collections.abc import Sequence

from gml.jobs.job import Job

ENGINES = ("docker", "podman", "apptainer")


class ContainerJob(Job):
    """A command that runs in a container; the project is seen as /work, the job's folder under its own path."""

    own_settings = ("image", "engine", "volumes", "options")
    image, engine, options = "", "docker", ""
    volumes: Sequence[str] = ()

    def configure(self, *, image: str, engine: str = "docker", volumes: Sequence[str] = (), options: str = "") -> None:
        """Takes the settings.

        Args:
            image: image to run.
            engine: docker, podman or apptainer.
            volumes: further folders, as the engine writes them: /data:/data:ro.
            options: further options of the engine.

        Raises:
            ValueError: an unknown engine.
        """
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}")
        self.image, self.engine, self.volumes, self.options = image, engine, tuple(volumes), options

    def command_line(self) -> str:
        """Returns the engine's command; the slot's and our environment go in by name, their values at the start."""
        folders = [f"{self.cwd}:/work", f"{self.job_dir}:{self.job_dir}", *self.volumes]
        if self.engine == "apptainer":
            gpu = ["--nv"] if self.gpu else []
            words = ["apptainer", "exec", *gpu, "--pwd", "/work", *_each("--bind", folders)]
        else:
            gpu = ["--gpus", f"device={self.gpu}"] if self.gpu else []
            words = [self.engine, "run", "--rm", "--name", self.name, "-w", "/work", *gpu, *_each("-v", folders)]
            words += _each("-e", [name for name in self.env if name != "PYTHONPATH"])
        inside = [self.image, "sh", "-c", self.command]
        return f"exec {shlex.join(words)} {self.options} {shlex.join(inside)}"

    def kill_command(self) -> str:
        """Returns the command that stops the container; ending the client alone would leave it running."""
        if self.engine == "apptainer":
            return ""  # its processes are ours
        return f"{self.engine} stop -t {max(1, round(self.grace_s))} {shlex.quote(self.name)}"


def _each(flag: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]
