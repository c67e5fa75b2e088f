"""The docs name every curve and figure, and no setting that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from map_elites.config import flatten
from map_elites.metrics import METRICS
from map_elites.trainer import TrainConfig

DOCS = Path(__file__).parents[2] / "docs"


def test_every_curve_is_explained():
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert [metric.name for metric in METRICS if f"`{metric.name}`" not in text] == []
    assert all(f"## {metric.group}" in text for metric in METRICS)


def test_settings_named_in_the_docs_exist():
    known = dict(flatten(TrainConfig()))
    sections = {name.partition(".")[0] for name in known}
    for path in (DOCS / "metrics.md", DOCS / "troubleshooting.md"):
        for name in re.findall(r"`(?:--set )?([a-z_]+\.[a-z_]+)", path.read_text(encoding="utf-8")):
            if name.partition(".")[0] in sections:
                assert name in known, f"{path.name}: {name}"
