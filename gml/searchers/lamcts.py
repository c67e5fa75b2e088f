"""LaMCTS: Monte Carlo tree search over regions that are learned from the results (Wang, Fonseca, Tian: NeurIPS 2020).

Written from the paper's description. Every ask builds the tree anew from the finished trials, so that a search
can go on after any end: all tried points are split in two by k-means on (parameters, value), a kernel classifier draws
the border between the better and the worse half, and so on in both halves. From the root a UCB rule walks down to
one leaf; there a Gaussian process proposes the next point among candidates inside the borders passed on the way.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.cluster.vq import kmeans2
from scipy.stats import qmc

from gml.searchers.gaussian_process import GaussianProcess, expected_improvement

CLASSIFIER_POINTS = 400  # most points that a border is learned from
GP_POINTS = 200  # most points in the leaf's model: the best and the newest
NUM_CANDIDATES = 2000
RIDGE = 1e-2
KERNELS = ("rbf", "poly", "linear")
Array = np.ndarray


class Border:
    """A kernel classifier (least squares, so that it is solved in one step) between good and bad points."""

    def __init__(self, points: Array, is_good: Array, *, kernel_type: str, gamma: float):
        """Learns the border.

        Args:
            points: (n, d) in the unit cube.
            is_good: (n,) truth values, both occurring.
            kernel_type: one of KERNELS.
            gamma: scale of the kernel.
        """
        self._points, self._kernel_type, self._gamma = points, kernel_type, gamma
        gram = self._kernel(points, points)
        ridge = RIDGE * np.trace(gram) / len(points) + 1e-9
        target = np.where(is_good, 1.0, -1.0)
        self._offset = target.mean()
        self._weights = np.linalg.solve(gram + ridge * np.eye(len(points)), target - self._offset)

    def is_good(self, points: Array) -> Array:
        """Returns (m,) truth values for (m, d) points."""
        return self._kernel(points, self._points) @ self._weights + self._offset > 0

    def _kernel(self, one: Array, two: Array) -> Array:
        one, two = one - 0.5, two - 0.5
        if self._kernel_type == "linear":
            return one @ two.T
        if self._kernel_type == "poly":
            return (self._gamma * one @ two.T + 1.0) ** 3
        squared = (one**2).sum(1)[:, None] + (two**2).sum(1)[None] - 2 * one @ two.T
        return np.exp(-self._gamma * np.maximum(squared, 0.0))


@dataclass
class Region:
    """A node of the tree.

    Attributes:
        index: (n,) which of all points lie in it.
        borders: from the root: border and side of it.
        children: the better and the worse half, or nothing.
    """

    index: Array
    borders: list[tuple[Border, bool]] = field(default_factory=list)
    children: list["Region"] = field(default_factory=list)

    def contains(self, points: Array) -> Array:
        """Returns (m,) whether (m, d) points lie on the right side of all borders."""
        inside = np.ones(len(points), bool)
        for border, side in self.borders:
            inside &= border.is_good(points) == side
        return inside


class LamctsSampler(optuna.samplers.BaseSampler):
    """LaMCTS for boxes of real numbers, one objective."""

    def __init__(
        self,
        *,
        Cp: float = 10.0,
        leaf_size: int = 100,
        kernel_type: str = "poly",
        gamma_type: str = "auto",
        ninits: int = 150,
        enable_cuda: bool = False,
        seed: int | None = None,
    ):
        """Takes the settings.

        Args:
            Cp: weight of exploration, in units of the reward.
            leaf_size: a region with more points is split.
            kernel_type: rbf, poly or linear.
            gamma_type: auto (1 / dims) or scale (1 / (dims * variance)).
            ninits: Latin hypercube points before the tree is used.
            enable_cuda: the leaf's model runs on a CUDA device.
            seed: seed of all draws.

        Raises:
            ValueError: a setting out of range, or no CUDA device.
        """
        if kernel_type not in KERNELS or gamma_type not in ("auto", "scale"):
            raise ValueError(f"kernel_type must be one of {', '.join(KERNELS)} and gamma_type auto or scale")
        if Cp < 0 or leaf_size < 2 or ninits < 2:
            raise ValueError("needs Cp >= 0, leaf_size >= 2 and ninits >= 2")
        self._cp, self._leaf_size, self._ninits = float(Cp), leaf_size, ninits
        self._kernel_type, self._gamma_type, self._seed = kernel_type, gamma_type, seed or 0
        self._cuda = enable_cuda
        if enable_cuda:
            require_cuda()
        self._random = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Returns the box that the study has been searching; nothing before the first trial."""
        done = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        return next((dict(other.distributions) for other in done if other.distributions), {})

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draws a single value for the very first trial."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns the next point."""
        if not search_space:
            return {}
        point = self._next(study, trial.number, search_space)
        return {name: _from_unit(box, unit) for (name, box), unit in zip(search_space.items(), point, strict=True)}

    def _next(self, study: optuna.Study, number: int, space: dict[str, BaseDistribution]) -> Array:
        trials = [
            trial
            for trial in study.get_trials(deepcopy=False)
            if trial.distributions.keys() == space.keys() and trial.state in (TrialState.COMPLETE, TrialState.RUNNING)
        ]
        done = [trial for trial in trials if trial.state == TrialState.COMPLETE and np.isfinite(trial.value or 0.0)]
        if number < self._ninits or len(done) < 2:
            design = qmc.LatinHypercube(len(space), rng=np.random.default_rng(self._seed)).random(self._ninits)
            return design[number % self._ninits]
        sign = 1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
        points = np.array([[_to_unit(box, trial.params[name]) for name, box in space.items()] for trial in done])
        reward = sign * np.array([trial.value for trial in done], float)
        waiting = [trial for trial in trials if trial.state == TrialState.RUNNING and trial.params]
        pending = np.array([[_to_unit(box, t.params[name]) for name, box in space.items()] for t in waiting])
        rng = np.random.default_rng([self._seed, number])
        return self._propose(points, reward, pending.reshape(-1, len(space)), rng)

    def _propose(self, points: Array, reward: Array, pending: Array, rng: np.random.Generator) -> Array:
        root = Region(np.arange(len(points)))
        self._split(root, points, reward, rng)
        leaf = self._walk(root, reward)
        ranked = leaf.index[np.argsort(-reward[leaf.index])]
        kept = np.unique(np.concatenate([ranked[: GP_POINTS // 2], leaf.index[-GP_POINTS // 2 :]]))
        # A running trial counts as average, so that it is not proposed again.
        model_points = np.concatenate([points[kept], pending])
        model_reward = np.concatenate([reward[kept], np.full(len(pending), reward[kept].mean())])
        model = GaussianProcess(model_points, model_reward, cuda=self._cuda)
        candidates = _candidates(leaf, points[ranked], rng)
        return candidates[np.argmax(expected_improvement(model, candidates, best=reward[leaf.index].max()))]

    def _split(self, region: Region, points: Array, reward: Array, rng: np.random.Generator) -> None:
        if len(region.index) <= self._leaf_size:
            return
        inside, values = points[region.index], reward[region.index]
        is_good = _better_half(inside, values, rng)
        if is_good is None:
            return
        some = rng.permutation(len(inside))[:CLASSIFIER_POINTS]
        if is_good[some].all() or not is_good[some].any():
            return
        gamma = 1.0 / inside.shape[1] / (1.0 if self._gamma_type == "auto" else max(float(inside.var()), 1e-9))
        border = Border(inside[some], is_good[some], kernel_type=self._kernel_type, gamma=gamma)
        side = border.is_good(inside)
        if side.all() or not side.any():
            return
        region.children = [
            Region(region.index[side == good], [*region.borders, (border, good)]) for good in (True, False)
        ]
        for child in region.children:
            self._split(child, points, reward, rng)

    def _walk(self, region: Region, reward: Array) -> Region:
        while region.children:
            spread = np.sqrt(2.0 * np.sqrt(len(region.index)))
            scores = [
                reward[child.index].mean() + 2.0 * self._cp * spread / np.sqrt(len(child.index))
                for child in region.children
            ]
            region = region.children[int(np.argmax(scores))]
        return region


def require_cuda() -> None:
    """Checks that PyTorch sees a CUDA device.

    Raises:
        ValueError: it does not.
    """
    import torch

    if not torch.cuda.is_available():
        raise ValueError("enable_cuda needs a CUDA device; PyTorch sees none")


def _better_half(points: Array, reward: Array, rng: np.random.Generator) -> Array | None:
    """Returns (n,) which points belong to the better of two clusters in (parameters, reward); None if there is one."""
    if np.ptp(reward) == 0:
        return None
    scaled = (reward - reward.mean()) / reward.std() * points.std() * np.sqrt(points.shape[1])
    _, label = kmeans2(np.column_stack([points, scaled]), 2, minit="++", rng=rng, missing="warn")
    if label.all() or not label.any():
        return None
    return label == int(reward[label == 1].mean() > reward[label == 0].mean())


def _candidates(leaf: Region, ranked: Array, rng: np.random.Generator) -> Array:
    """Returns points around the best of the leaf at several distances, those inside its borders if there are any.

    Args:
        leaf: the region.
        ranked: (n, d) its points, best first.
        rng: random numbers.
    """
    num, dims = NUM_CANDIDATES, ranked.shape[1]
    best = ranked[: max(1, min(10, len(ranked) // 3))]
    centre = best[np.minimum(rng.geometric(0.4, num) - 1, len(best) - 1)]
    spread = np.maximum(best.std(0).mean(), 0.01)
    radius = spread * 2.0 ** rng.integers(-3, 3, (num, 1))
    moved = rng.random((num, dims)) < np.maximum(min(1.0, 20.0 / dims), rng.random((num, 1)))
    drawn = centre + np.where(moved, rng.normal(0.0, 1.0, (num, dims)) * radius, 0.0)
    drawn = np.concatenate([np.clip(drawn, 0.0, 1.0), rng.random((num // 10, dims))])
    inside = leaf.contains(drawn)
    return drawn[inside] if inside.any() else drawn


def _to_unit(box: BaseDistribution, value: float) -> float:
    assert isinstance(box, FloatDistribution)
    if box.low == box.high:
        return 0.5
    if box.log:
        return float((np.log(value) - np.log(box.low)) / (np.log(box.high) - np.log(box.low)))
    return (value - box.low) / (box.high - box.low)


def _from_unit(box: BaseDistribution, unit: float) -> float:
    assert isinstance(box, FloatDistribution)
    low, high = (np.log(box.low), np.log(box.high)) if box.log else (box.low, box.high)
    value = float(low + unit * (high - low))
    value = float(np.exp(value)) if box.log else value
    if box.step:
        value = box.low + round((value - box.low) / box.step) * box.step
    return min(max(value, box.low), box.high)
