"""What processes do with their memory."""

from __future__ import annotations

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
