"""Where the learner works: on the CPU or on a GPU."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pick_device(name: str) -> torch.device:
    """Returns the device that "auto", "cpu" or "cuda" stands for; "auto" takes a GPU where torch can use one."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def describe_device(name: str) -> str:
    """The device that a name stands for, and a GPU's own name, for a log."""
    import torch

    device = pick_device(name)
    return f"the GPU {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "the CPU"


def gpu_is_usable() -> bool:
    """Whether torch can use a GPU, found out in another program, for processes that do without torch."""
    question = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", question], stderr=subprocess.DEVNULL, check=False).returncode == 0
