"""When a failed job is worth another try."""

from dataclasses import dataclass, field

from gml.jobs.job import FAILURES, Job


@dataclass(frozen=True)
class Retry:
    """A policy; off by default.

    Attributes:
        times: most tries after the first.
        on: kinds of failure that are tried again: exit, signal, memory, timeout.
        exit_codes: only these exit codes; empty for any.
    """

    times: int = 0
    on: frozenset[str] = field(default=frozenset(FAILURES))
    exit_codes: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: negative times or an unknown kind of failure.
        """
        if self.times < 0:
            raise ValueError(f"times must be at least 0, got {self.times}")
        if unknown := set(self.on) - set(FAILURES):
            raise ValueError(f"unknown kind of failure {sorted(unknown)}; known: {', '.join(FAILURES)}")

    def allows(self, job: Job) -> bool:
        """Returns whether a job that ended is to be tried again (`job.again()`)."""
        if job.failure not in self.on or job.attempt >= self.times:
            return False
        return not self.exit_codes or job.returncode in self.exit_codes
