"""The kinds of job, under the path that the document gives them."""

from gml.jobs.kinds import AutolinkJob, ContainerJob, Job, LocalJob, SlurmJob, job_class

__all__ = ["AutolinkJob", "ContainerJob", "Job", "LocalJob", "SlurmJob", "job_class"]
