"""The kinds of job by name."""

import shlex

from gml.errors import ConfigError, unknown
from gml.jobs import Job
from gml.jobs.autolink import AutolinkJob
from gml.jobs.container import ContainerJob
from gml.jobs.slurm import SlurmJob

LocalJob = Job
KINDS: dict[str, type[Job]] = {
    "LocalJob": LocalJob,
    "SlurmJob": SlurmJob,
    "ContainerJob": ContainerJob,
    "AutolinkJob": AutolinkJob,
}


def job_class(name: str, template: str) -> type[Job]:
    """Returns the class for `job.type`; a template that starts with srun or sbatch is a Slurm job by itself.

    Raises:
        ConfigError: unknown name.
    """
    if name not in KINDS:
        raise ConfigError(f"job.type: {unknown('job type', name, KINDS)}")
    first = shlex.split(template.replace("'", "").replace('"', ""))[:1]
    return SlurmJob if name == "LocalJob" and first in (["srun"], ["sbatch"]) else KINDS[name]
