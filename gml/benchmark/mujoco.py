"""Linear policies on Gymnasium's Swimmer and Hopper: action = M (observation - mean) / deviation, M is searched.

One value is the mean return of a few episodes. The observations are scaled in one of three ways:
none, online (running statistics of all that this search has seen so far), ars (fixed numbers that come from a solved
policy of the ARS paper for Hopper-v1; they leak knowledge and are offered for comparison only).

Hopper pays 1 for every step without a fall, so that standing still (about 1000) is a hill that searches do not leave.
ARS took that bonus out of what it learned from; `survival_bonus=False` does. Targets are always full returns.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

ENVIRONMENTS = {"swimmer": "Swimmer-v5", "hopper": "Hopper-v5"}
TARGETS = {"swimmer": 325.0, "hopper": 3120.0}
# Mean and deviation of the trained Hopper-v1 policy published with ARS
# (modestyachts/ARS, Copyright (c) 2018 Horia Mania, Aurelia Guy, Benjamin Recht; BSD-2-Clause).
ARS_HOPPER_MEAN = np.fromstring(
    "1.41599384 -0.05478602 -0.25522216 -0.25404721 0.27525085 2.60889529 "
    "-0.0085352 0.0068375 -0.07123674 -0.05044839 -0.45569644",
    sep=" ",
)
ARS_HOPPER_DEVIATION = np.fromstring(
    "0.19805723 0.07824488 0.17120271 0.32000514 0.62401884 0.82814161 "
    "1.51915814 1.17378372 1.87761249 3.63482761 5.7164752",
    sep=" ",
)


class RunningStatistics:
    """Mean and variance of all observations so far (Welford, in batches)."""

    def __init__(self, dims: int):
        """Starts with no observation."""
        self.num, self.mean, self._sum_squares = 0, np.zeros(dims), np.zeros(dims)

    def add(self, batch: np.ndarray) -> None:
        """Adds (n, dims) observations."""
        num, mean = len(batch), batch.mean(0)
        total, shift = self.num + num, mean - self.mean
        self._sum_squares += ((batch - mean) ** 2).sum(0) + shift**2 * self.num * num / total
        self.mean = self.mean + shift * num / total
        self.num = total

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation, at least 1e-2 so that constant entries do no harm; 1 before the first observation."""
        if self.num < 2:
            return np.ones_like(self.mean)
        return np.maximum(np.sqrt(self._sum_squares / (self.num - 1)), 1e-2)

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs, as plain values."""
        return {"num": self.num, "mean": self.mean.tolist(), "sum_squares": self._sum_squares.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from an earlier `state()`."""
        self.num, self.mean = state["num"], np.array(state["mean"])
        self._sum_squares = np.array(state["sum_squares"])


@dataclass(frozen=True)
class Policy:
    """A linear policy with the scaling it was measured with.

    Attributes:
        matrix: (actions, observations).
        mean: (observations,).
        deviation: (observations,).
    """

    matrix: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Returns the action; the simulator clips it."""
        return self.matrix @ ((observation - self.mean) / self.deviation)


@dataclass(frozen=True)
class Measurement:
    """What the episodes of one parameter vector gave.

    Attributes:
        value: what the search maximises.
        mean_return: full return, mean over the episodes.
        policy: what was run.
    """

    value: float
    mean_return: float
    policy: Policy


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        full_return: sum of all rewards.
        bonus: the part of it that was paid for not falling.
        observations: (steps + 1, observations).
    """

    full_return: float
    bonus: float
    observations: np.ndarray


class LinearPolicyProblem:
    """Parameters in, returns out.

    Attributes:
        target: return that counts as solved.
        dims: number of parameters.
        statistics: of all observations so far (online scaling).
        num_episodes: how many have been run.
    """

    def __init__(
        self,
        func_type: str,
        *,
        normalizer: str = "none",
        rollouts: int = 3,
        survival_bonus: bool = True,
        seed: int = 0,
    ):
        """Makes the environment.

        Args:
            func_type: swimmer or hopper.
            normalizer: none, online or ars.
            rollouts: episodes per value.
            survival_bonus: whether values count the bonus for not falling.
            seed: of the first episode; later ones count up.

        Raises:
            ValueError: ars for another task than hopper.
        """
        import gymnasium  # with MuJoCo half a second, and only the benchmark needs it

        if normalizer == "ars" and func_type != "hopper":
            raise ValueError("normalizer ars is known for hopper only")
        self._env = gymnasium.make(ENVIRONMENTS[func_type], disable_env_checker=True)
        assert self._env.observation_space.shape and self._env.action_space.shape
        self._shape = (*self._env.action_space.shape, *self._env.observation_space.shape)
        self._normalizer, self._rollouts, self._seed = normalizer, rollouts, seed
        self._survival_bonus = survival_bonus
        self.target, self.dims = TARGETS[func_type], self._shape[0] * self._shape[1]
        self.statistics = RunningStatistics(self._shape[1])
        self.num_episodes = 0

    def policy(self, parameters: np.ndarray) -> Policy:
        """Returns the policy of (dims,) parameters under the present scaling."""
        matrix = np.asarray(parameters, float).reshape(self._shape)
        if self._normalizer == "ars":
            return Policy(matrix, ARS_HOPPER_MEAN, ARS_HOPPER_DEVIATION)
        if self._normalizer == "online":
            return Policy(matrix, self.statistics.mean.copy(), self.statistics.deviation)
        return Policy(matrix, np.zeros(self._shape[1]), np.ones(self._shape[1]))

    def measure(self, parameters: np.ndarray) -> Measurement:
        """Runs `rollouts` episodes of (dims,) parameters; they feed the running statistics."""
        policy = self.policy(parameters)
        first = self._seed + self.num_episodes
        episodes = [self._episode(policy, seed) for seed in range(first, first + self._rollouts)]
        self.num_episodes += len(episodes)
        if self._normalizer == "online":
            self.statistics.add(np.concatenate([episode.observations for episode in episodes]))
        mean_return = float(np.mean([episode.full_return for episode in episodes]))
        left_out = 0.0 if self._survival_bonus else float(np.mean([episode.bonus for episode in episodes]))
        return Measurement(mean_return - left_out, mean_return, policy)

    def returns(self, policy: Policy, seeds: Iterable[int]) -> list[float]:
        """Returns the full return of one episode per seed; nothing is learned from them."""
        return [self._episode(policy, seed).full_return for seed in seeds]

    def _episode(self, policy: Policy, seed: int) -> Episode:
        observation, _ = self._env.reset(seed=seed)
        observations, total, bonus, is_over = [observation], 0.0, 0.0, False
        while not is_over:
            observation, reward, terminated, truncated, info = self._env.step(policy.act(observation))
            observations.append(observation)
            total += float(reward)
            bonus += info.get("reward_survive", 0.0)
            is_over = terminated or truncated
        return Episode(total, bonus, np.array(observations))
