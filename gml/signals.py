"""Ctrl-C, SIGTERM and SIGHUP as one exception, so that `with` blocks clean up after all of them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to end.

    Attributes:
        exit_code: what the program should exit with: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, number: int):
        """Remembers the signal."""
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


_asked: list[int] = []  # the signal that asked this process to end


def check() -> None:
    """Raises what a signal has asked for, if that was lost: Python drops what is raised in a destructor or callback.

    Raises:
        Interrupted: a signal came within `interrupts`.
    """
    if _asked:
        raise Interrupted(_asked[0])


def _raise(number: int, _frame: object) -> None:
    _asked.append(number)
    for caught in CAUGHT:  # cleaning up is not to be interrupted by a second Ctrl-C
        signal.signal(caught, signal.SIG_IGN)
    raise Interrupted(number)


@contextmanager
def interrupts() -> Iterator[None]:
    """Raises `Interrupted` in the main thread on the first signal; later ones are ignored until the block ends.

    Loops that may run for long call `check`.
    """
    _asked.clear()
    ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()  # started by nohup
    before = {number: signal.signal(number, _raise) for number in CAUGHT if number not in ignored}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
