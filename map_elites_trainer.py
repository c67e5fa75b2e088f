"""Entry point: robots evolve while one policy learns to drive them all. `--help` lists the commands.

From Python: `from map_elites_trainer import MAPElitesEvolutionTrainer`.
"""

import sys
from typing import Any

from map_elites.cli import main


def __getattr__(name: str) -> Any:
    """The trainer's class, loaded when it is asked for: the command line checks its arguments first."""
    if name == "MAPElitesEvolutionTrainer":
        from map_elites.trainer import MAPElitesEvolutionTrainer

        return MAPElitesEvolutionTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    sys.exit(main())
