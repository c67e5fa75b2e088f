"""What each of our processes does first, and how processes are started."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any

import setproctitle

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_PR_SET_PDEATHSIG = 1
_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE_BLOCK_BYTES = 128 * 1024  # glibc's threshold before it adapts
_PRELOAD = ("numpy", "torch", "shared_ppo.worker", "shared_ppo.learner_process")
_LAST = "shared_ppo.frozen"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _ignored(*numbers: int) -> Iterator[None]:
    """Ignores signals for a while, as programs do that are started meanwhile; only the main thread can."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers if in_main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def process_context(preload: Sequence[str] = ()) -> Any:
    """Returns the multiprocessing context that our processes are started with.

    On Linux a fork server that has imported `preload` and what we need: a new worker starts in about 10 ms, shares
    the imported pages with the others, and inherits no lock and no thread. Elsewhere each process starts afresh.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOAD, *preload, _LAST])
    # The server skips what it cannot import without a word, so it has to find packages where we do.
    # It, and the resource tracker beside it, leave Ctrl-C and the end of a terminal to the main process.
    environment = _environment({**_ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    with environment, _ignored(signal.SIGINT, signal.SIGHUP):
        forkserver.ensure_running()
    return context


def enter_process(title: str) -> None:
    """First thing in each of our processes: its title, its signals, and an end when the main process ends.

    Ctrl-C and the end of a terminal reach the whole process group, so only the main process acts on them.
    """
    setproctitle.setproctitle(title)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()


def give_back_large_blocks() -> bool:
    """Has a large block of memory go back to the system when it is freed; returns whether the C library does that.

    By default glibc raises the size from which it does so with every such block, and a worker in which simulators come
    and go grows. For workers only: the learner is faster when it keeps its blocks.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES) == 1


def die_with_parent() -> None:
    """Ends this process when the process that asked for it ends, however that happens and whatever this one does.

    A thread waits for the parent's end. It cannot run while a simulator holds the interpreter, so on Linux the
    kernel is also told to end this process by SIGIO when the parent's end of the sentinel pipe closes.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait_and_exit() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=wait_and_exit, name="parent watch", daemon=True).start()
    if sys.platform == "linux":
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_processes(processes: Sequence[Any], *, patience_s: float) -> None:
    """Waits for processes to end by themselves, then terminates, then kills them."""
    for insist in (lambda process: None, lambda process: process.terminate(), lambda process: process.kill()):
        for process in processes:
            if process.is_alive():
                insist(process)
        for process in processes:
            process.join(patience_s)
        patience_s = min(patience_s, 2.0)
