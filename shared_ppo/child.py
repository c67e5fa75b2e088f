"""A process of ours, as the supervisor holds it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from shared_ppo.log_lines import LogLine, log_line

_log = logging.getLogger(__name__)


class Child:
    """A process and our end of its pipe.

    Orders go through a thread, so that a process that hangs with a full pipe never holds up the one that watches it.

    Attributes:
        process: the process.
        orders: our end of the pipe.
        was_hanging: whether it was killed because it gave no sign of life.
    """

    def __init__(self, context: Any, main: Callable[[Any], None], setup: Any, pipe: tuple[Any, Any], name: str) -> None:
        """Starts `main(setup)` in a new process; `pipe` is (our end, its end)."""
        self.orders, theirs = pipe
        self.process = context.Process(target=main, args=(setup,), name=name, daemon=True)
        self.process.start()
        theirs.close()
        self.was_hanging = False
        self._last_beat, self._alive_at = 0.0, time.monotonic()
        self._outbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._deliver, name=f"orders to {name}", daemon=True)
        self._sender.start()

    def send(self, order: object) -> None:
        """Sends an order; one to a dead process is lost, its successor gets what it needs."""
        self._outbox.put(order)

    def _deliver(self) -> None:
        """Sends orders until there is nobody to send them to."""
        while (order := self._outbox.get()) is not None:
            try:
                self.orders.send(order)
            except OSError:
                return

    def received(self) -> list[Any]:
        """Everything that has arrived but log lines, which are logged; what a dying process was writing is lost."""
        messages = []
        try:
            while self.orders.poll():
                message = self.orders.recv()
                if isinstance(message, LogLine):
                    log_line(message, self.process.name)
                else:
                    messages.append(message)
        except (EOFError, OSError):
            _log.debug("%s has closed its pipe", self.process.name)
        return messages

    def feel_pulse(self, beat: float, *, away_s: float, timeout_s: float) -> None:
        """Kills the process if its heartbeat stands still.

        Args:
            beat: time in s of its last heartbeat, on its own clock.
            away_s: time in s that does not count, because nobody read what it sent.
            timeout_s: how long it may be silent, in s.
        """
        now = time.monotonic()
        self._alive_at += away_s
        if beat != self._last_beat:
            self._last_beat, self._alive_at = beat, now
        elif now - self._alive_at > timeout_s and not self.was_hanging:
            self.was_hanging = True
            self.process.kill()

    def forget(self) -> None:
        """Frees what belongs to a process that has ended."""
        self.process.join()
        self._outbox.put(None)
        self._sender.join()
        self.orders.close()
