"""What the user sees while a run is going on: progress bar, log lines, curves, and the summary at the end."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tqdm import tqdm

from map_elites.archive import Archive, Score
from map_elites.config import RunConfig
from map_elites.crew import Crew, EpisodeDone, Learned, ProcessReplaced
from map_elites.curves import Table, TensorBoard
from map_elites.evaluation import Settlement
from map_elites.logs import RunLog
from map_elites.memory import memory_by_kind
from map_elites.metrics import COLUMNS, EVALUATION_COLUMNS, METRICS, SUMMARY
from map_elites.plots import save_heatmap
from map_elites.run_folder import RunFolder
from map_elites.verification import Verification

log = logging.getLogger(__name__)


@dataclass
class Totals:
    """Figures that go on over a resume.

    Attributes:
        wall_seconds: Time since the first step, pauses between resumes left out.
        worker_restarts: Workers that died and were replaced.
        lag_sum: Sum over used control steps of their policy lag.
        lag_steps: Control steps in that sum.
        peak_memory_bytes: Highest memory of all processes together.
        resumes: How often the run was taken up again.
        policy_updates: Published versions of the weights.
    """

    wall_seconds: float = 0.0
    worker_restarts: int = 0
    lag_sum: float = 0.0
    lag_steps: float = 0.0
    peak_memory_bytes: int = 0
    resumes: int = 0
    policy_updates: int = 0


@dataclass
class _Window:
    """What happened since the last row of the curves."""

    started: float
    steps: int
    received: int
    updates: int
    speeds: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    learned: dict[str, float] = field(default_factory=dict)


class Reporter:
    """Watches a run.

    Attributes:
        totals: Figures that go on over a resume.
    """

    def __init__(
        self,
        folder: RunFolder,
        run_log: RunLog,
        config: RunConfig,
        *,
        search: Any,
        crew: Crew,
        totals: Totals,
        resumed_at: int | None,
    ) -> None:
        self._folder, self._log, self._config = folder, run_log, config
        self._search, self._crew, self.totals = search, crew, totals
        self._table = Table(folder.metrics_path, COLUMNS, upto=resumed_at)
        self._evaluations = Table(folder.evaluations_path, EVALUATION_COLUMNS, upto=resumed_at)
        self._board = TensorBoard(folder.tensorboard_path, purge_after=resumed_at)
        self._bar: tqdm | None = None
        self._clock_started: float | None = None
        self._final_steps: int | None = None
        self._seconds_before = totals.wall_seconds
        self._next_line = 0.0
        self._steps_at_start = crew.env_steps
        self._window = self._new_window()

    # -- events ----------------------------------------------------------------------------------------------------

    def started(self) -> None:
        """The first command is about to be given."""
        self._bar = tqdm(
            total=self._config.total_steps,
            initial=min(self._crew.env_steps, self._config.total_steps),
            unit="step",
            unit_scale=True,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else self._config.log_interval_s,
            desc=self._folder.path.name,
        )
        self._window = self._new_window()
        self._next_line = time.monotonic() + self._config.log_interval_s

    def episode(self, event: EpisodeDone) -> None:
        """A training episode ended."""
        speed = event.info.get("speed_m_s", math.nan)
        if math.isfinite(speed):
            self._window.speeds.append(speed)
        self._window.lengths.append(event.steps)

    def learned(self, event: Learned) -> None:
        """The policy was updated."""
        self._window.learned = {k: v for k, v in event.metrics.items() if math.isfinite(v)}
        steps = event.metrics.get("batch_steps", 0.0)
        self.totals.lag_sum += event.metrics.get("policy_lag_mean", 0.0) * steps
        self.totals.lag_steps += steps

    def replaced(self, event: ProcessReplaced) -> None:
        """A process died and was replaced."""
        self.totals.worker_restarts += event.is_worker
        log.warning("%s died (%s) and was replaced", event.who, event.cause)

    def scored(self, order: int, version: int, outcome: Settlement) -> None:
        """An order was settled; one that scored nothing is not spoken of."""
        if not outcome.scores and not outcome.failed:
            return
        for number, reason in sorted(outcome.failed.items()):
            log.warning("evaluation of body %d failed: %s", number, reason)
            self._evaluation_row(order, version, number, f"failed: {reason}", None, None)
        for number, score in sorted(outcome.scores.items()):
            result = outcome.results.get(number)
            what = result.status if result else "undecided" if number in outcome.blocked else "dropped"
            self._window.scores.append(score.fitness)
            self._evaluation_row(order, version, number, what, score, result.cell if result else None)
        statuses = [result.status for number, result in outcome.results.items() if number in outcome.scores]
        counts = ", ".join(f"{statuses.count(name)} {name}" for name in ("new", "improved", "rejected"))
        log.info(
            "order %d, policy version %d: %d scored, %s, %d undecided; %d elites, QD score %.3f m/s",
            *(order, version, len(outcome.scores), counts, len(outcome.blocked)),
            *(len(self._search.archive), self._search.archive.qd_score),
        )

    def _evaluation_row(
        self, order: int, version: int, body: int, outcome: str, score: Score | None, cell: Any
    ) -> None:
        self._evaluations.add(
            {
                "env_steps": self._crew.env_steps,
                "policy_version": version,
                "order": order,
                "body": body,
                "fitness": score.fitness if score else None,
                "robogrammar_objective": score.robogrammar_objective if score else None,
                "outcome": outcome,
                "cell": " ".join(map(str, cell)) if cell else None,
            }
        )

    # -- regular output --------------------------------------------------------------------------------------------

    def tick(self, *, force: bool = False) -> None:
        """Moves the bar; writes a line and a row when it is time.

        Raises:
            OSError: A file cannot be written, such as on a full disk.
        """
        now, steps = time.monotonic(), self._steps
        if self._clock_started is None and steps > self._steps_at_start:
            self._clock_started = now
        if self._clock_started is not None and self._final_steps is None:
            self.totals.wall_seconds = self._seconds_before + now - self._clock_started
        if self._bar is not None:
            self._bar.update(min(steps, self._config.total_steps) - self._bar.n)
        self._log.check()
        if now >= self._next_line or force:
            self._next_line = now + self._config.log_interval_s
            self._write_row(now, steps)

    def stop_clock(self) -> None:
        """Training is over: `wall_seconds` stands still from here on."""
        self.tick(force=True)
        self._final_steps = self._crew.env_steps

    @property
    def _steps(self) -> int:
        """Control steps of the run; those of the verification do not count."""
        return self._crew.env_steps if self._final_steps is None else self._final_steps

    def _write_row(self, now: float, steps: int) -> None:
        window, status = self._window, self._crew.status()
        elapsed = max(now - window.started, 1e-6)
        memory = memory_by_kind()
        memory_bytes = sum(memory.values())
        self.totals.peak_memory_bytes = max(self.totals.peak_memory_bytes, memory_bytes)
        received = status.experience.get("received", 0)
        values: dict[str, float | int | None] = {
            **window.learned,
            **archive_figures(self._search.archive),
            **status.extra,
            **{f"experience_{name}": count for name, count in status.experience.items()},
            "wall_seconds": self.totals.wall_seconds,
            "evaluated_speed": _mean(window.scores),
            "evaluations": self._search.counters.evaluations,
            "failed_evaluations": self._search.counters.failed_evaluations,
            "episode_speed": _mean(window.speeds),
            "episode_steps": _mean(window.lengths),
            "policy_version": status.policy_version,
            "updates_per_minute": 60 * (status.policy_updates - window.updates) / elapsed,
            "experience_per_second": (received - window.received) / elapsed,
            "env_steps_per_second": (steps - window.steps) / elapsed,
            "memory_bytes": memory_bytes,
            **{f"memory_{kind}_bytes": size for kind, size in memory.items()},
            "worker_restarts": self.totals.worker_restarts,
        }
        self._table.add({"env_steps": steps, **values})
        known = {metric.tag: values.get(metric.name) for metric in METRICS}
        self._board.scalars({tag: float(value) for tag, value in known.items() if value is not None}, steps)
        self._board.flush()
        log.info("%s", self._line(steps, values))
        self._window = self._new_window()

    def _new_window(self) -> _Window:
        status = self._crew.status()
        received = status.experience.get("received", 0)
        return _Window(time.monotonic(), self._steps, received, status.policy_updates)

    def _line(self, steps: int, values: Mapping[str, Any]) -> str:
        total, rate = self._config.total_steps, values["env_steps_per_second"]
        overall = steps / self.totals.wall_seconds if self.totals.wall_seconds > 0 else rate
        eta = _clock((total - steps) / overall) if overall > 0 and total > steps else "0:00"
        best = values["max_fitness"]
        lag = values.get("policy_lag_mean")
        return (
            f"{min(steps / total, 1):4.0%} {steps}/{total} steps, ETA {eta}, {rate:.0f} steps/s | "
            f"coverage {values['coverage']:.3f}, QD score {values['qd_score']:.3f} m/s, "
            f"best {'-' if best is None else f'{best:.3f} m/s'} | "
            f"policy version {values['policy_version']}, lag {'-' if lag is None else f'{lag:.2f}'} | "
            f"failed evaluations {values['failed_evaluations']}, worker restarts {values['worker_restarts']}"
        )

    def heatmap(self) -> None:
        """Draws the archive into the run folder and TensorBoard."""
        png = save_heatmap(self._search.archive, self._folder.heatmap_path, title=self._folder.path.name)
        self._board.image("archive/heatmap", png, self._steps)

    def close(self) -> None:
        """Closes bar and files."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        for sink in (self._table, self._evaluations, self._board):
            sink.close()

    # -- figures ---------------------------------------------------------------------------------------------------

    def summary(self, status: str, *, env_steps: int, verification: Verification | None = None) -> dict[str, Any]:
        """The closing figures, keys and units as the README lists them; what has no value is None."""
        archive, counters, crew = self._search.archive, self._search.counters, self._crew.status()
        figures, totals = archive_figures(archive), self.totals
        rate = env_steps / totals.wall_seconds if totals.wall_seconds > 0 else None
        values = {
            **figures,
            **verified_figures(archive),
            **{f"experience_{name}": crew.experience.get(name, 0) for name in ("received", "used", "dropped")},
            "status": status,
            "env_steps": env_steps,
            "wall_seconds": totals.wall_seconds,
            "env_steps_per_second": rate,
            "policy_updates": crew.policy_updates,
            "policy_version": crew.policy_version,
            "policy_lag_mean": totals.lag_sum / totals.lag_steps if totals.lag_steps else None,
            "distinct_bodies_trained": len(self._search.trained),
            "evaluations": counters.evaluations,
            "failed_evaluations": counters.failed_evaluations,
            "worker_restarts": totals.worker_restarts,
            "best_robogrammar_objective": _max(elite.score.robogrammar_objective for elite in archive),
            "verification_steps": verification.steps if verification else None,
            "verification_seconds": verification.seconds if verification else None,
            "peak_memory_bytes": totals.peak_memory_bytes,
        }
        return {name: values[name] for name in SUMMARY}

    def state(self) -> dict[str, Any]:
        """Totals for a checkpoint."""
        self.totals.policy_updates = self._crew.status().policy_updates
        return asdict(self.totals)


def archive_figures(archive: Archive) -> dict[str, Any]:
    """Size and running scores of an archive; None where it is empty."""
    best = archive.best
    return {
        "num_elites": len(archive),
        "coverage": archive.coverage,
        "qd_score": archive.qd_score,
        "max_fitness": best.fitness if best else None,
        "mean_fitness": archive.qd_score / len(archive) if best else None,
    }


def verified_figures(archive: Archive) -> dict[str, Any]:
    """Scores under the final frozen weights; None where nothing was verified."""
    scores = [elite.verified for elite in archive if elite.verified is not None]
    total = math.fsum(score.fitness for score in scores)
    return {
        "verified_qd_score": total if scores else None,
        "verified_max_fitness": _max(score.fitness for score in scores),
        "verified_mean_fitness": total / len(scores) if scores else None,
        "best_verified_robogrammar_objective": _max(score.robogrammar_objective for score in scores),
    }


def _mean(values: list[Any]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _max(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
