"""Stops jobs whose learning curve, extrapolated to the end, stays below the best finished job."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gml.assessors.base import ASSESSORS, AssessResult, BaseAssessor

THRESHOLD = 0.95  # of the best finished value
MIN_POINTS = 4
MIN_CURVES = 2  # fitted curves that a prediction needs
Array = np.ndarray

# Saturating curves: value at the start, value at the end, and one or two numbers for the way between.
CURVES: dict[str, tuple[Callable[..., Array], int]] = {
    "vapor pressure": (lambda x, a, b, c: np.exp(a + b / x + c * np.log(x)), 3),
    "log power": (lambda x, a, b, c: a / (1 + (x / np.exp(b)) ** c), 3),
    "power": (lambda x, a, b, c: a - b * x**-c, 3),
    "exponential": (lambda x, a, b, c: a - b * np.exp(-c * x), 3),
    "hill": (lambda x, a, b, c: a * x**b / (c**b + x**b), 3),
    "weibull": (lambda x, a, b, c: a - (a - b) * np.exp(-(c * x)), 3),
    "janoschek": (lambda x, a, b, c, d: a - (a - b) * np.exp(-c * x**d), 4),
    "logarithm": (lambda x, a, b: a + b * np.log(x), 2),
}


def predict(values: Sequence[float], at: int) -> float | None:
    """Extrapolates a learning curve.

    Args:
        values: what was reported at steps 1, 2, ...
        at: step of the prediction.

    Returns:
        The mean over all curves that could be fitted, weighted by how well they fit; None if too few could.
    """
    x, y = np.arange(1.0, len(values) + 1), np.asarray(values, float)
    if len(y) < MIN_POINTS or not np.isfinite(y).all():
        return None
    spread = max(float(np.ptp(y)), 1e-9)
    found = [fit for curve in CURVES.values() if (fit := _fit(curve, x, y, at)) is not None]
    # A fit that misses by more than the curve's own spread, or leaps far above all that was seen, says nothing.
    kept = [(end, error) for end, error in found if error < spread**2 and abs(end - y[-1]) < 3 * spread]
    if len(kept) < MIN_CURVES:
        return None
    weights = [1.0 / (error + 1e-6 * spread**2) for _, error in kept]
    return float(np.average([end for end, _ in kept], weights=weights))


def _fit(curve: tuple[Callable[..., Array], int], x: Array, y: Array, at: int) -> tuple[float, float] | None:
    function, num = curve
    if num > len(x):
        return None
    from scipy.optimize import OptimizeWarning, curve_fit  # slow to import, and few searches extrapolate

    start = [y[-1], y[-1] - y[0], 0.5, 1.0][:num]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            best, _ = curve_fit(function, x, y, p0=start, maxfev=500)
        except (RuntimeError, ValueError):
            return None
        end, error = float(function(np.array([float(at)]), *best)[0]), float(np.mean((function(x, *best) - y) ** 2))
    return (end, error) if np.isfinite([end, error]).all() else None


@ASSESSORS.register_module()
class CurveFittingAssessor(BaseAssessor):
    """Bad if the predicted value at `epoch_num` is at most 95 % of the best finished one. Maximises only."""

    def __init__(self, epoch_num: int, optimize_mode: str = "maximize", start_step: int = 6):
        """Takes the rule's settings.

        Args:
            epoch_num: number of reports of a complete job.
            optimize_mode: maximize.
            start_step: reports before the first judgement.

        Raises:
            ValueError: a setting out of range, or minimize.
        """
        if optimize_mode != "maximize":
            raise ValueError("CurveFittingAssessor can only maximize")
        if epoch_num < 1 or start_step < 0:
            raise ValueError("needs epoch_num of at least 1 and start_step of at least 0")
        self._epoch_num, self._start_step = epoch_num, max(start_step, MIN_POINTS)
        self._last: dict[str, float] = {}
        self._best: float | None = None

    def assess_job(self, trial_job_id: str, latest_trial_history: Sequence[dict[str, Any]]) -> AssessResult:
        """Applies the rule."""
        values = [entry["value"] for entry in latest_trial_history]
        if not values:
            return AssessResult.Good
        self._last[trial_job_id] = values[-1]
        if self._best is None or not self._start_step <= len(values) < self._epoch_num:
            return AssessResult.Good
        end = predict(values, self._epoch_num)
        return AssessResult(end is None or end > self._best - (1 - THRESHOLD) * abs(self._best))

    def job_end(self, trial_job_id: str) -> None:
        """Compares the job's last value with the best."""
        if (value := self._last.pop(trial_job_id, None)) is not None:
            self._best = value if self._best is None else max(self._best, value)
