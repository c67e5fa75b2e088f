"""Worker processes: small, and gone when the main process is."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest
from fake_bodies import SPEC, make_body
from helpers import body, small_config

from shared_ppo.config import PolicyConfig
from shared_ppo.messages import LearnerUpdate, TrainOrder
from shared_ppo.process import process_context
from shared_ppo.supervisor import ProcessSupervisor

MAX_WORKER_BYTES = 60 * 2**20


def title_of(process: psutil.Process) -> str:
    """What `ps` shows."""
    return " ".join(process.cmdline()).strip()


@pytest.mark.parametrize(
    ("fault", "death"),
    [
        ("hang_with_gil", signal.SIGKILL),
        pytest.param("none", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("hang", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("none", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_nothing_outlives_the_main_process(fault: str, death: signal.Signals) -> None:
    """Whatever the workers are doing, and even if one holds the interpreter and never gives it back."""
    script = Path(__file__).with_name("orphan_main.py")
    with subprocess.Popen([sys.executable, str(script), fault], stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        children = [psutil.Process(int(pid)) for pid in main.stdout.readline().split()]
        time.sleep(0.3)
        main.send_signal(death)
        main.wait(10)
        assert len(children) >= 4
        _, alive = psutil.wait_procs(children, timeout=30)
        for child in alive:
            child.kill()
        assert not alive


def _cost_of_a_collection(pipe: Connection) -> None:
    """Sends how many bytes this process has more of its own after a garbage collection."""
    before = psutil.Process().memory_full_info().uss
    gc.collect()
    pipe.send(psutil.Process().memory_full_info().uss - before)


@pytest.mark.skipif(sys.platform != "linux", reason="unique set size needs Linux")
def test_a_garbage_collection_does_not_copy_what_processes_share() -> None:
    """It would write into every object that the fork server has imported: 40 MiB in each worker, sooner or later."""
    context = process_context(("fake_bodies",))
    ours, theirs = context.Pipe()
    process = context.Process(target=_cost_of_a_collection, args=(theirs,))
    process.start()
    assert ours.recv() < 5 * 2**20
    process.join()


@pytest.mark.skipif(sys.platform != "linux", reason="unique set size needs Linux")
def test_a_worker_is_small() -> None:
    """At most 60 MiB of its own with the default network and four bodies."""
    config = replace(small_config(), policy=PolicyConfig())
    supervisor = ProcessSupervisor(make_body, SPEC, config, num_workers=2)
    supervisor.start()
    try:
        for worker in range(2):
            supervisor.train(worker, TrainOrder(tuple(body(4 * worker + number, num_joints=9) for number in range(4))))
        updates = 0
        while updates < 3:
            updates += sum(isinstance(event, LearnerUpdate) for event in supervisor.poll(1.0))
        family = psutil.Process().children(recursive=True)
        own = {title_of(child): child.memory_full_info().uss for child in family if ": worker" in title_of(child)}
    finally:
        supervisor.stop()
    assert len(own) == 2 and max(own.values()) <= MAX_WORKER_BYTES, own
