"""The crew that trains one policy for all bodies: commands of the search become orders to workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from map_elites.checkpoint import LEARNER_FILE
from map_elites.contests import EvaluationOrder
from map_elites.crew import BodyBroke, CrewEvent, CrewStatus, EpisodeDone, Learned, OrderDone, ProcessReplaced
from map_elites.evolution import TrainCommand
from map_elites.schedule import Plan, segment_size, update_size
from map_elites.trainer.bodies import body_spec, make_body, observation_spec
from map_elites.trainer.fork_server import preload_for
from map_elites.trainer.settings import TrainConfig
from shared_ppo.body import BodySpec
from shared_ppo.config import SharedPPOConfig
from shared_ppo.messages import (
    BodyFailed,
    EpisodeReport,
    EvaluateOrder,
    EvaluationReport,
    LearnerRestarted,
    LearnerUpdate,
    TrainOrder,
    WorkerRestarted,
)

WHOLE_ROUND_S = 3600.0  # longer than any round; a worker that hangs is found meanwhile


def learner_settings(config: TrainConfig, plan: Plan) -> SharedPPOConfig:
    """Settings of the shared policy, with updates and segments small enough for a short run."""
    wanted = config.experience
    interval = update_size(max(wanted.update_interval, wanted.min_batch_size), plan.total_steps)
    segment = segment_size(wanted.segment_length, plan)
    experience = replace(
        wanted,
        min_batch_size=min(wanted.min_batch_size, interval),
        update_interval=min(wanted.update_interval, interval),
        segment_length=segment,
        buffer_size=max(wanted.buffer_size, segment),
    )
    return replace(config.shared_ppo, experience=experience)


class SharedCrew:
    """Workers and learner of the shared policy.

    Args:
        config: All settings.
        plan: Sizes of the run.
        design_of: Design of a body by id.
        checkpoint: Checkpoint folder to go on from.
        policy_updates: Published versions before that checkpoint.
        seed: Seed of workers and learner.
    """

    def __init__(
        self,
        config: TrainConfig,
        plan: Plan,
        design_of: Callable[[int], Any],
        *,
        checkpoint: Path | None = None,
        policy_updates: int = 0,
        seed: int = 0,
    ) -> None:
        self._config, self._design_of = config, design_of
        self._updates = policy_updates
        self._supervisor = _supervisor_class(config)(
            make_body,
            observation_spec(config),
            learner_settings(config, plan),
            num_workers=plan.workers,
            seed=seed,
            mode=config.run.mode,
            preload=preload_for(config, training=plan.places, scoring=config.workers.evaluation_rows),
            checkpoint=checkpoint / LEARNER_FILE if checkpoint else None,
        )

    @property
    def env_steps(self) -> int:
        """Control steps so far, those before a resume included."""
        return self._supervisor.env_steps

    def start(self) -> None:
        """Starts learner and workers."""
        self._supervisor.start()

    def carry_out(self, command: Any) -> None:
        """Turns a command into an order."""
        if isinstance(command, TrainCommand):
            self._supervisor.train(command.worker, TrainOrder(self._specs(command.bodies, training=True)))
        elif isinstance(command, EvaluationOrder):
            specs = self._specs(command.bodies, swings=command.purpose == "screening")
            self._supervisor.evaluate(EvaluateOrder(command.order_id, specs, command.seeds))
        else:
            raise TypeError(f"no such command here: {command!r}")

    def _specs(self, bodies: tuple[int, ...], **purpose: bool) -> tuple[BodySpec, ...]:
        return tuple(body_spec(n, self._design_of(n), self._config, **purpose) for n in bodies)

    def poll(self, timeout_s: float) -> list[CrewEvent]:
        """What happened, in the words of the search.

        In sync mode this always waits for the end of a round: in the middle of one, the number of control steps
        depends on the clock, and so would everything that is decided with it.
        """
        wait_s = WHOLE_ROUND_S if self._config.run.mode == "sync" else timeout_s
        return [self._translated(event) for event in self._supervisor.poll(wait_s)]

    def _translated(self, event: Any) -> CrewEvent:
        match event:
            case EpisodeReport():
                return EpisodeDone(event.body_id, event.steps, event.info)
            case EvaluationReport():
                return OrderDone(event.order_id, event.policy_version, event.results, event.failed, event.steps)
            case BodyFailed():
                return BodyBroke(event.body_id, event.reason, event.worker, event.is_final)
            case WorkerRestarted():
                return ProcessReplaced(f"worker {event.worker}", exit_cause(event.exitcode_or_signal))
            case LearnerRestarted():
                return ProcessReplaced("learner", exit_cause(event.exitcode), is_worker=False)
            case LearnerUpdate():
                self._updates = int(event.metrics.get("updates", self._updates + 1))
                return Learned(event.metrics)
        raise TypeError(f"unknown event {event!r}")

    def status(self) -> CrewStatus:
        """Figures for logs and summary."""
        counts = {name.removeprefix("experience_"): n for name, n in self._supervisor.counters().items()}
        return CrewStatus(self._supervisor.policy_version, self._updates, counts)

    def state(self) -> dict[str, int]:
        """Nothing: learner and counters have a file of their own."""
        return {}

    def write_checkpoint(self, folder: Path) -> None:
        """Writes learner and counters."""
        self._supervisor.checkpoint(folder / LEARNER_FILE)

    def finish(self) -> list[CrewEvent]:
        """Ends training, learning from what is left."""
        self._supervisor.freeze()
        return self.poll(0.0)

    def stop(self) -> None:
        """Ends every process."""
        self._supervisor.stop()


def _supervisor_class(config: TrainConfig) -> Any:
    """Processes, or none; imported here because it brings the deep-learning library along."""
    if config.run.multiprocess:
        from shared_ppo.supervisor import ProcessSupervisor

        return ProcessSupervisor
    from shared_ppo.in_process import InProcessSupervisor

    return InProcessSupervisor


def exit_cause(exitcode: int) -> str:
    """An exit code in words."""
    return f"signal {-exitcode}" if exitcode < 0 else f"exit code {exitcode}"
