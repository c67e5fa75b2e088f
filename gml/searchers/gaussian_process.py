"""A small Gaussian process: Matern-5/2 kernel, one length scale, noise; on NumPy, or on PyTorch for CUDA."""

from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.stats import norm

LENGTHS = np.geomspace(0.05, 3.0, 12)  # times sqrt(dims / 4)
NOISES = (1e-4, 1e-2, 1e-1, 0.4)  # share of the variance
Array = np.ndarray


class GaussianProcess:
    """Fitted by picking the likeliest of a grid of length scales and noises: robust, and fast enough."""

    def __init__(self, points: Array, values: Array, *, cuda: bool = False):
        """Fits.

        Args:
            points: (n, d) in the unit cube.
            values: (n,) what was measured.
            cuda: whether the linear algebra runs on a CUDA device.
        """
        self._points, self._mean = points, values.mean()
        self._scale = values.std() or 1.0
        self._algebra = _Torch() if cuda else _Numpy()
        target = (values - self._mean) / self._scale
        distance = np.sqrt(np.maximum(_squared(points, points), 0.0))
        grid = [(length * np.sqrt(points.shape[1]) / 2, noise) for length in LENGTHS for noise in NOISES]
        fits = [(self._algebra.fit(_matern(distance / length), noise, target), length) for length, noise in grid]
        (_, self._factor, self._weights), self._length = max(fits, key=lambda fit: fit[0][0])

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Returns mean and standard deviation, each (m,), at (m, d) points."""
        cross = _matern(np.sqrt(np.maximum(_squared(points, self._points), 0.0)) / self._length)
        variance = 1.0 - self._algebra.explained(self._factor, cross)
        return self._mean + self._scale * (cross @ self._weights), self._scale * np.sqrt(np.maximum(variance, 1e-12))


class _Numpy:
    def fit(self, kernel: Array, noise: float, target: Array) -> tuple[float, Any, Array]:
        """Returns log likelihood, Cholesky factor and weights."""
        factor = cholesky(kernel + noise * np.eye(len(kernel)), lower=True, check_finite=False)
        weights = cho_solve((factor, True), target, check_finite=False)
        return float(-0.5 * target @ weights - np.log(np.diag(factor)).sum()), factor, weights

    def explained(self, factor: Array, cross: Array) -> Array:
        """Returns the variance (m,) that the data take away."""
        return np.einsum("ij,ji->i", cross, cho_solve((factor, True), cross.T, check_finite=False))


class _Torch:
    def __init__(self) -> None:
        import torch

        self._torch = torch

    def _tensor(self, array: Array) -> Any:
        return self._torch.as_tensor(array, dtype=self._torch.float64, device="cuda")

    def fit(self, kernel: Array, noise: float, target: Array) -> tuple[float, Any, Array]:
        torch, goal = self._torch, self._tensor(target)[:, None]
        factor = torch.linalg.cholesky(self._tensor(kernel) + noise * torch.eye(len(kernel), device="cuda").double())
        weights = torch.cholesky_solve(goal, factor)
        likelihood = -0.5 * (goal * weights).sum() - factor.diagonal().log().sum()
        return float(likelihood), factor, weights[:, 0].cpu().numpy()

    def explained(self, factor: Any, cross: Array) -> Array:
        crossed = self._tensor(cross)
        return (crossed * self._torch.cholesky_solve(crossed.T, factor).T).sum(1).cpu().numpy()


def expected_improvement(model: GaussianProcess, points: Array, *, best: float) -> Array:
    """Returns the expected improvement (m,) over `best` at (m, d) points."""
    mean, deviation = model.predict(points)
    z = (mean - best) / deviation
    return deviation * (z * norm.cdf(z) + norm.pdf(z))


def _squared(one: Array, two: Array) -> Array:
    return (one**2).sum(1)[:, None] + (two**2).sum(1)[None] - 2 * one @ two.T


def _matern(ratio: Array) -> Array:
    scaled = np.sqrt(5.0) * ratio
    return (1.0 + scaled + scaled**2 / 3.0) * np.exp(-scaled)
