"""Names, seeds, folders and commands of rounds. Nothing here depends on when or where a round runs."""

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.rounds.settings import SEEDS_PER_OBJECT, Settings


@dataclass(frozen=True)
class Round:
    """One call of the command for one object."""

    settings: Settings
    object_index: int
    round_id: int

    @property
    def object_code(self) -> str:
        """Name of its object."""
        return self.settings.object_code_list[self.object_index]

    @property
    def name(self) -> str:
        """Name that no other round of any experiment has."""
        return f"{self.settings.exp_name}__{self.object_code}__r{self.round_id}"

    @property
    def seed(self) -> int:
        """Its seed, whatever slot it runs on."""
        return seed_of(self.settings.seed_base, self.object_index, self.round_id)

    @property
    def folder(self) -> Path:
        """Folder of all that the round leaves behind."""
        return Path(self.settings.experiments_dir) / self.name

    @property
    def results(self) -> Path:
        """Folder of its results."""
        return self.folder / "results"

    def command(self, gpu: str) -> str:
        """Returns the shell command with every known placeholder filled in and quoted; other braces stay."""
        values = {
            "python": sys.executable,
            "name": self.name,
            "object_code": self.object_code,
            "object_index": self.object_index,
            "round_id": self.round_id,
            "round_batch_size": self.settings.round_batch_size,
            "batch_size": self.settings.round_batch_size,
            "num_iterations": self.settings.num_iterations,
            "seed": self.seed,
            "gpu": gpu,
            "results": self.results.absolute(),
        }
        pattern = "|".join(values)
        return re.sub(
            r"\{(" + pattern + r")\}", lambda found: shlex.quote(str(values[found[1]])), self.settings.command
        )


def seed_of(seed_base: int, object_index: int, round_id: int) -> int:
    """Returns the seed of a round; different for every object and round."""
    return seed_base + object_index * SEEDS_PER_OBJECT + round_id
