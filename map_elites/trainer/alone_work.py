"""The work of the baseline's processes: each trains one individual's own policy at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from map_elites.schedule import update_size
from map_elites.trainer.alone_jobs import COPIES, Answer, Job
from map_elites.trainer.bodies import make_body, observation_spec
from map_elites.trainer.settings import TrainConfig
from shared_ppo.alone import train_alone
from shared_ppo.config import SharedPPOConfig
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.log_lines import run_logged
from shared_ppo.messages import EvaluateOrder, EvaluationReport
from shared_ppo.process import enter_process, give_back_large_blocks

log = logging.getLogger(__name__)


def work(index: int, pipe: Any, steps: Any, config: TrainConfig) -> None:
    """A worker process: jobs in, answers and log lines out, until the pipe closes."""

    def serve() -> None:
        with contextlib.suppress(EOFError, BrokenPipeError):
            while True:
                job = pipe.recv()
                steps[index] = 0
                pipe.send(_answer(job, config, lambda count: steps.__setitem__(index, count)))

    enter_process(f"map_elites: worker {index}")
    give_back_large_blocks()
    run_logged(serve, pipe)


def _answer(job: Job, config: TrainConfig, on_steps: Callable[[int], None]) -> Answer:
    """The answer to a job; whatever a body raises while it is built or moved is its failure, with the reason."""
    try:
        return run_job(job, config, on_steps)
    except OSError:
        raise
    except Exception as error:
        log.exception("job %d failed", job.order_id)
        reason = f"{type(error).__name__}: {error}"
        return Answer(EvaluationReport(job.order_id, 0, {}, {spec.body_id: reason for spec in job.specs}, 0))


def run_job(job: Job, config: TrainConfig, on_steps: Callable[[int], None]) -> Answer:
    """Trains (if asked to) and evaluates, in this process.

    Args:
        job: What to do.
        config: All settings.
        on_steps: Told the control steps of this job so far, again and again.
    """
    return _train(job, config, on_steps) if job.training_specs else _score(job, config, on_steps)


def _score(job: Job, config: TrainConfig, on_steps: Callable[[int], None]) -> Answer:
    """Scores every body under its own policy."""
    total = EvaluationReport(job.order_id, 0, {}, {}, 0)
    for spec, policy in zip(job.specs, job.policies, strict=True):
        with _supervising(config.shared_ppo, config, seed=job.seed, checkpoint=policy) as supervisor:
            report = supervisor.evaluate_now(EvaluateOrder(job.order_id, (spec,), job.seeds))
        total = EvaluationReport(
            job.order_id,
            max(total.policy_version, report.policy_version),
            total.results | report.results,
            total.failed | report.failed,
            total.steps + report.steps,
        )
        on_steps(total.steps)
    return Answer(total)


def _train(job: Job, config: TrainConfig, on_steps: Callable[[int], None]) -> Answer:
    """Trains one body from scratch for its steps, then scores it."""
    (spec,) = job.training_specs
    with _supervising(alone_settings(config, job.steps), config, seed=job.seed) as supervisor:
        training = train_alone(supervisor, spec, job.steps, copies=COPIES, on_steps=on_steps)
        if training.failed is None:
            report = supervisor.evaluate_now(EvaluateOrder(job.order_id, job.specs, job.seeds))
            supervisor.checkpoint(job.policies[0])
        else:
            version = supervisor.policy_version
            report = EvaluationReport(job.order_id, version, {}, {spec.body_id: training.failed}, 0)
        on_steps(supervisor.env_steps)
        experience = tuple(supervisor.counters().items())
    updates = int(training.metrics.get("updates", 0))
    return Answer(report, tuple(training.episodes), training.metrics, updates, experience)


def alone_settings(config: TrainConfig, steps: int) -> SharedPPOConfig:
    """The learner's settings, with updates and segments that fit an individual's budget."""
    interval = update_size(max(config.experience.update_interval, config.experience.min_batch_size), steps)
    segment = max(1, min(config.experience.segment_length, interval // COPIES, steps // (10 * COPIES)))
    experience = replace(config.experience, min_batch_size=interval, update_interval=interval, segment_length=segment)
    return replace(config.shared_ppo, experience=experience)


@contextlib.contextmanager
def _supervising(
    settings: SharedPPOConfig, config: TrainConfig, *, seed: int, checkpoint: Path | None = None
) -> Iterator[InProcessSupervisor]:
    """A learner and its rollout in this process, from start to stop.

    It has one thread and no GPU, because there is such a process on every core.
    """
    settings = replace(settings, ppo=replace(settings.ppo, threads=1, device="cpu"))
    supervisor = InProcessSupervisor(make_body, observation_spec(config), settings, seed=seed, checkpoint=checkpoint)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
