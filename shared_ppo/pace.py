"""How far a worker may run ahead of the learner."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from shared_ppo.config import ExperienceConfig

_LEAST_PATIENCE_S = 0.5


class Pace:
    """Keeps experience fresh: a worker rolls out its share of a batch under one version, then waits for the next.

    What is rolled out while the learner learns from that batch is a version old when its turn comes, and stale
    experience teaches less. But nobody waits for a worker that hangs, is being replaced or has long evaluations:
    if the learner, too, has only been waiting for as long as the worker's share took, it rolls out another one.
    With so many workers that one segment per body of each is more than a batch, the learner is behind and lag is back.
    """

    def __init__(
        self, config: ExperienceConfig, num_workers: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.share_steps = math.ceil(config.batch_steps / num_workers)
        self._clock = clock
        self._version = -1
        self._steps_left = 0
        self._share_s = self._idle_since = 0.0

    def rolled_out(self, steps: int, seconds: float) -> None:
        """Counts control steps under the version of the last `may_roll_out`, and the time that they took."""
        self._steps_left -= steps
        self._share_s += seconds
        self._idle_since = self._clock()

    def may_roll_out(self, version: int, *, learner_is_busy: bool) -> bool:
        """Whether to roll out now, under this newest version of the policy."""
        if version != self._version:
            self._version = version
            self._begin_share()
        if learner_is_busy:
            self._idle_since = self._clock()
            return False
        if self._steps_left <= 0 and self._clock() - self._idle_since > max(_LEAST_PATIENCE_S, self._share_s):
            self._begin_share()
        return self._steps_left > 0

    def _begin_share(self) -> None:
        """Starts to count anew."""
        self._steps_left, self._share_s = self.share_steps, 0.0
