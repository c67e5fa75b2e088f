"""Where the learner works: on the CPU or on a GPU."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from shared_ppo.errors import SharedPPOError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)


def pick_device(name: str) -> torch.device:
    """Returns the device that "auto", "cpu" or "cuda" stands for; "auto" takes a GPU where one works.

    Raises:
        SharedPPOError: if "cuda" is asked for and no GPU works.
    """
    import torch

    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    try:
        (torch.ones(2, device="cuda") + 1).sum().item()  # a card that is too old, full or taken shows only at work
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0]
        if name == "cuda":
            raise SharedPPOError(f"PyTorch {torch.__version__} cannot use a GPU here: {reason}") from None
        _log.warning("the GPU is left alone: %s", reason)
        return torch.device("cpu")
    return torch.device("cuda")


def describe_device(name: str) -> str:
    """The device that a name stands for, and a GPU's own name, for a log.

    Raises:
        SharedPPOError: as `pick_device`.
    """
    import torch

    device = pick_device(name)
    return f"the GPU {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "the CPU"


def why_no_gpu() -> str | None:
    """Why no GPU works here, or None; found out in another program, for processes that do without torch."""
    question = "from shared_ppo.device import pick_device; pick_device('cuda')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    asked = subprocess.run(
        [sys.executable, "-c", question], env=environment, capture_output=True, text=True, check=False
    )
    if asked.returncode == 0:
        return None
    last_line = asked.stderr.strip().rpartition("\n")[2]
    return last_line.partition("Error: ")[2] or last_line or f"asking PyTorch ended with {asked.returncode}"
