"""Who is to blame when a worker dies: a body, nobody, or the worker itself too often."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from shared_ppo.body import BodySpec
from shared_ppo.config import WorkerConfig
from shared_ppo.errors import SharedPPOError
from shared_ppo.messages import BodyFailed, EvaluateOrder, EvaluationReport
from shared_ppo.run_state import NOBODY

_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
_STRIKES = 2


def _describe(exitcode: int) -> str:
    """An exit code in words."""
    if exitcode >= 0:
        return f"ended the process with exit code {exitcode}"
    try:
        return f"crashed ({signal.Signals(-exitcode).name})"
    except ValueError:
        return f"crashed (signal {-exitcode})"


class Blame:
    """Keeps count of what broke workers. A body that breaks two is set aside.

    A worker killed from outside (or by the kernel for lack of memory) counts against nobody.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._strikes: dict[int, list[str]] = {}
        self._unexplained: dict[int, deque[float]] = {}
        self._set_aside: dict[int, str] = {}

    def judge(self, worker: int, body_id: int, exitcode: int, *, was_hanging: bool) -> BodyFailed | None:
        """Judges a worker's death.

        Args:
            worker: that died.
            body_id: of the body that had control, or NOBODY.
            exitcode: negative for a signal.
            was_hanging: whether we killed it because it gave no sign of life.

        Returns:
            The failure of the body that is set aside now, if one is.

        Raises:
            SharedPPOError: if the worker has died too often with no body to blame.
        """
        if exitcode in _FROM_OUTSIDE and not was_hanging:
            return None
        if body_id == NOBODY:
            self._use_budget(worker, exitcode)
            return None
        what = f"gave no sign of life for {self._config.hang_timeout_s:g} s" if was_hanging else _describe(exitcode)
        strikes = self._strikes.setdefault(body_id, [])
        strikes.append(what)
        if len(strikes) < _STRIKES:
            return None
        self._set_aside[body_id] = f"broke {len(strikes)} workers and is set aside: {'; '.join(strikes)}"
        return BodyFailed(body_id, self._set_aside[body_id], worker, is_final=True)

    def _use_budget(self, worker: int, exitcode: int) -> None:
        """Counts a death that no body explains.

        Raises:
            SharedPPOError: if there were too many.
        """
        deaths = self._unexplained.setdefault(worker, deque())
        now = time.monotonic()
        deaths.append(now)
        while now - deaths[0] > self._config.restart_window_s:
            deaths.popleft()
        if len(deaths) > self._config.restart_budget:
            raise SharedPPOError(
                f"worker {worker} died {len(deaths)} times within {self._config.restart_window_s:g} s with no body to "
                f"blame; the last one {_describe(exitcode)}"
            )

    def allowed(self, bodies: Sequence[BodySpec]) -> tuple[BodySpec, ...]:
        """Leaves out the bodies that were set aside."""
        return tuple(body for body in bodies if body.body_id not in self._set_aside)

    def completed(self, report: EvaluationReport, order: EvaluateOrder) -> EvaluationReport:
        """Adds to a report why the bodies that were set aside have no result."""
        missing = {body.body_id for body in order.bodies} - report.results.keys() - report.failed.keys()
        reasons = {body_id: self._set_aside[body_id] for body_id in missing if body_id in self._set_aside}
        return replace(report, failed=report.failed | reasons)
