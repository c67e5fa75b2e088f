"""The docs name every curve and figure, and no setting that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from map_elites.config import flatten
from map_elites.metrics import METRICS
from map_elites.run_folder import make_folder
from map_elites.trainer import TrainConfig
from tests.map_elites.test_loop import Run

DOCS = Path(__file__).parents[2] / "docs"


def documented_tags() -> set[str]:
    """`group/name` of every curve in the tables of docs/metrics.md."""
    tags, group = set(), ""
    for line in (DOCS / "metrics.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ")
        elif line.startswith("| `"):
            tags |= {f"{group}/{name}" for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])}
    return tags


def scalar_tags(folder: Path) -> set[str]:
    """Tags of all scalars in the event files of a folder."""
    seen = EventAccumulator(str(folder))
    seen.Reload()
    return set(seen.Tags()["scalars"])


def test_every_curve_is_explained_and_every_explained_curve_exists():
    assert documented_tags() == {metric.tag for metric in METRICS}


def test_every_scalar_that_a_run_writes_is_explained(tmp_path: Path):
    Run(make_folder(tmp_path, "run")).run()
    tags = scalar_tags(tmp_path / "run" / "tensorboard")
    assert len(tags) > 20 and tags <= documented_tags()


def test_settings_named_in_the_docs_exist():
    known = dict(flatten(TrainConfig()))
    sections = {name.partition(".")[0] for name in known}
    for path in (DOCS / "metrics.md", DOCS / "troubleshooting.md"):
        for name in re.findall(r"`(?:--set )?([a-z_]+\.[a-z_]+)", path.read_text(encoding="utf-8")):
            if name.partition(".")[0] in sections:
                assert name in known, f"{path.name}: {name}"
