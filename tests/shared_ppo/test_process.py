"""What processes do with their memory and with signals to all of them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CODE = """
import psutil
from shared_ppo.process import give_back_large_blocks
assert give_back_large_blocks()
blocks, process = [], psutil.Process()
for size in (1 << 20, 8 << 20, 1 << 20):  # a freed block of 8 MiB would raise the size that is kept
    blocks = [bytearray(size) for _ in range(8)]
    pins = [bytearray(64) for _ in range(8)]
before = process.memory_info().rss
del blocks
print(before - process.memory_info().rss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_freed_large_block_goes_back_to_the_system():
    command = [sys.executable, "-c", CODE]
    freed = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert freed > 7 << 20


STARTER = """
import os, signal, sys, time
from multiprocessing import resource_tracker
from shared_ppo.process import process_context
number = int(sys.argv[1])
process_context()
came = []
signal.signal(number, lambda *_: came.append(1))
os.killpg(0, number)
process = process_context().Process(target=time.sleep, args=(0,))
process.start()
process.join()
resource_tracker.ensure_running()
assert came and process.exitcode == 0
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no fork server elsewhere")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_helpers_that_start_leave_ctrl_c_and_the_end_of_a_terminal_to_the_main_process(number):
    command = [sys.executable, "-c", STARTER, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr and "died" not in done.stderr, done.stderr
