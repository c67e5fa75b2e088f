"""The baseline: one body that trains a policy of its own, in this process, with the same learner and rollout."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared_ppo.body import BodySpec, MakeBody
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.errors import SharedPPOError
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import BodyFailed, EpisodeReport, EvaluateOrder, EvaluationReport, LearnerUpdate, TrainOrder


@dataclass
class AloneResult:
    """What became of a body that trained alone.

    Attributes:
        infos: of the evaluation episodes, one per seed.
        env_steps: control steps, evaluation included.
        policy_updates: updates made.
        metrics: of the last update; empty if there was none.
        episodes: training episodes in order.
    """

    infos: list[dict[str, float]]
    env_steps: int
    policy_updates: int
    metrics: dict[str, float]
    episodes: list[EpisodeReport] = field(default_factory=list)


def train_alone(
    make_body: MakeBody,
    spec: ObservationSpec,
    body: BodySpec,
    *,
    config: SharedPPOConfig,
    total_steps: int,
    seed: int = 0,
    evaluation_seeds: tuple[int, ...] = (0,),
    copies: int = 1,
) -> AloneResult:
    """Trains a fresh policy on one body, then evaluates it with the mean action.

    Args:
        make_body: builds the body.
        spec: widths of its observations.
        body: which one.
        config: all settings.
        total_steps: training steps; the last round may end up to `copies * segment_length` later.
        seed: of network, noise and resets.
        evaluation_seeds: one evaluation episode each.
        copies: simulations of the body side by side.

    Raises:
        SharedPPOError: if the body fails.
    """
    supervisor = InProcessSupervisor(make_body, spec, config, seed=seed)
    result = AloneResult([], 0, 0, {})
    supervisor.start()
    try:
        supervisor.train(0, TrainOrder((body,) * copies))
        while supervisor.env_steps < total_steps:
            _note(supervisor, result)
        supervisor.freeze()
        supervisor.evaluate(EvaluateOrder(0, (body,), evaluation_seeds))
        _note(supervisor, result)
    finally:
        supervisor.stop()
    result.env_steps = supervisor.env_steps
    return result


def _note(supervisor: InProcessSupervisor, result: AloneResult) -> None:
    """Runs a round and files its events."""
    for event in supervisor.poll(0.0):
        if isinstance(event, BodyFailed):
            raise SharedPPOError(f"body {event.body_id}: {event.reason}")
        if isinstance(event, EvaluationReport):
            for body_id, reason in event.failed.items():
                raise SharedPPOError(f"body {body_id}: {reason}")
            result.infos = event.results[next(iter(event.results))]
        if isinstance(event, LearnerUpdate):
            result.metrics = event.metrics
            result.policy_updates = int(event.metrics["updates"])
        if isinstance(event, EpisodeReport):
            result.episodes.append(event)
