"""How far fresh speeds of an archive's elites agree with the recorded ones, such as those of another simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WALKING_M_S = 0.05  # an elite that is faster walks; an untrained body stays below 0.01 m/s


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's coefficient: the correlation of the ranks, equal values sharing their mean rank.

    Returns:
        A value in [-1, 1]; None for fewer than three pairs, or where one side has equal values only.
    """
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, places, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def agreement(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the pairs of speeds say.

    Args:
        rows: `id`, `recorded_speed` and `speed`, m/s, of each elite; None where there is none.

    Returns:
        `compared` (elites that have both), `rank_correlation`, and by id those `walking_in_both`, `walking_before` only
        and `walking_now` only.
    """
    pairs = {
        row["id"]: (row["recorded_speed"], row["speed"])
        for row in rows
        if row["recorded_speed"] is not None and row["speed"] is not None
    }
    before = {number for number, (recorded, _) in pairs.items() if recorded > WALKING_M_S}
    now = {number for number, (_, speed) in pairs.items() if speed > WALKING_M_S}
    return {
        "compared": len(pairs),
        "rank_correlation": rank_correlation(*zip(*pairs.values(), strict=True)) if pairs else None,
        "walking_m_s": WALKING_M_S,
        "walking_in_both": sorted(before & now),
        "walking_before": sorted(before - now),
        "walking_now": sorted(now - before),
    }
