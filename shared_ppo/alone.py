"""The baseline: one body trains a policy of its own, in this process, with the same learner and rollout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shared_ppo.body import BodySpec
from shared_ppo.in_process import InProcessSupervisor
from shared_ppo.messages import BodyFailed, EpisodeReport, Event, LearnerUpdate, TrainOrder


@dataclass
class AloneTraining:
    """What became of a body that trained alone.

    Attributes:
        episodes: training episodes in order.
        metrics: of the last update; empty if there was none.
        failed: why the body could not train on; None if it could.
    """

    episodes: list[EpisodeReport] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    failed: str | None = None

    def note(self, event: Event) -> None:
        """Files an event."""
        if isinstance(event, EpisodeReport):
            self.episodes.append(event)
        elif isinstance(event, LearnerUpdate):
            self.metrics = dict(event.metrics)
        elif isinstance(event, BodyFailed):
            self.failed = event.reason


def train_alone(
    supervisor: InProcessSupervisor,
    body: BodySpec,
    total_steps: int,
    *,
    copies: int = 1,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> AloneTraining:
    """Trains a started supervisor's policy on one body until it has had its steps or failed.

    Args:
        supervisor: its policy is trained.
        body: which one.
        total_steps: training steps; the last round may end up to `copies * segment_length` later.
        copies: simulations of the body side by side.
        on_steps: told the control steps so far after every round.
    """
    training = AloneTraining()
    supervisor.train(0, TrainOrder((body,) * copies))
    while supervisor.env_steps < total_steps and training.failed is None:
        for event in supervisor.poll(0.0):
            training.note(event)
        on_steps(supervisor.env_steps)
    supervisor.freeze()
    for event in supervisor.poll(0.0):
        training.note(event)
    return training
