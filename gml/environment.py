"""What a search takes from the machine and the environment: slots, and the mode of pavi."""

import os

from gml.config import SearchConfig
from gml.errors import ConfigError, UserError
from gml.jobs import Slots


def make_slots(config: SearchConfig) -> Slots:
    """Returns the slots of a config: GPUs if it names some, at most `parallel_size`.

    Raises:
        ConfigError: a bad list of GPUs.
    """
    part = config.scheduler
    try:
        if part.gpus:
            per_gpu, limit = part.jobs_per_gpu, part.parallel_size
            return Slots.gpus(part.gpus, jobs_per_gpu=per_gpu, limit=limit, threads=part.threads)
        return Slots.plain(part.parallel_size or 1, threads=part.threads)
    except ValueError as error:
        raise ConfigError(f"scheduler.gpus: {error}") from error


def mock_mode() -> str:
    """Returns MOCK_PAVI: 0 (default) and 1 keep scalars in the task's folder, 2 keeps none.

    Raises:
        UserError: another value.
    """
    mode = os.environ.get("MOCK_PAVI", "0")
    if mode not in ("0", "1", "2"):
        raise UserError(f"MOCK_PAVI must be 0, 1 or 2, got {mode!r}")
    return mode
