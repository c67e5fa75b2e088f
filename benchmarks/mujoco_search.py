"""How many parameter vectors each searcher needs to solve Swimmer (325) or Hopper (3120) with a linear policy.

A row per seed: vectors until the mean of its episodes reached the target, and until a winner held it in the mean of
10 fresh episodes. `episodes` counts all that were run until then, those of the checks too.
Run: python benchmarks/mujoco_search.py --task swimmer --methods lamcts cma gp
     python benchmarks/mujoco_search.py --task hopper --methods lamcts cma --normalizer online --no-survival-bonus \
         --rollouts 1 --max-vectors 4000
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cmaes
import numpy as np
import optuna
from common.options import Parser, positive, run_program, whole_number
from optuna.distributions import FloatDistribution

from gml.benchmark.mujoco import LinearPolicyProblem, Policy
from gml.searchers.lamcts import LamctsSampler

LAMCTS: dict[str, dict[str, Any]] = {
    "swimmer": {"Cp": 1, "leaf_size": 20, "kernel_type": "rbf", "ninits": 30},
    "hopper": {"Cp": 10, "leaf_size": 100, "kernel_type": "rbf", "ninits": 30},
}
SIGMA = {"swimmer": 0.5, "hopper": 0.3}  # of CMA-ES at the start
FRESH_SEED = 1_000_000
NUM_FRESH = 10
Ask = Callable[[], np.ndarray]
Tell = Callable[[np.ndarray, float], None]


def optuna_search(sampler: optuna.samplers.BaseSampler, dims: int) -> tuple[Ask, Tell]:
    """Returns ask and tell of an Optuna sampler over [-1, 1]^dims."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    box: dict[str, Any] = {f"a{index}": FloatDistribution(-1.0, 1.0) for index in range(dims)}
    trials: list[optuna.Trial] = []

    def ask() -> np.ndarray:
        trials.append(study.ask(box))
        return np.array([trials[-1].params[name] for name in box])

    def tell(_: np.ndarray, value: float) -> None:
        study.tell(trials[-1], value)

    return ask, tell


def cma_search(dims: int, seed: int, *, sigma: float) -> tuple[Ask, Tell]:
    """Returns ask and tell of CMA-ES that restarts with twice the population (IPOP) when it has converged."""
    rng = np.random.default_rng(seed)
    bounds = np.tile([-1.0, 1.0], (dims, 1))

    def fresh(mean: np.ndarray, population: int | None) -> cmaes.CMA:
        return cmaes.CMA(mean, sigma, bounds=bounds, seed=int(rng.integers(1 << 30)), population_size=population)

    state: dict[str, Any] = {"cma": fresh(np.zeros(dims), None), "batch": []}

    def tell(vector: np.ndarray, value: float) -> None:
        cma, batch = state["cma"], state["batch"]
        batch.append((vector, -value))
        if len(batch) == cma.population_size:
            cma.tell(batch)
            state["batch"] = []
            if cma.should_stop():
                state["cma"] = fresh(rng.uniform(-1, 1, dims), 2 * cma.population_size)

    return lambda: state["cma"].ask(), tell


def make_search(method: str, task: str, dims: int, seed: int) -> tuple[Ask, Tell]:
    """Returns ask and tell of one of the compared searchers."""
    if method == "cma":
        return cma_search(dims, seed, sigma=SIGMA[task])
    if method == "gp":
        return optuna_search(optuna.samplers.GPSampler(seed=seed), dims)
    if method == "random":
        return optuna_search(optuna.samplers.RandomSampler(seed=seed), dims)
    return optuna_search(LamctsSampler(seed=seed, **LAMCTS[task]), dims)


def solve(method: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Searches until a winner is confirmed or `max_vectors` are used; returns the row."""
    problem = LinearPolicyProblem(
        options.task,
        normalizer=options.normalizer,
        rollouts=options.rollouts,
        survival_bonus=options.survival_bonus,
        seed=seed * 100_000,
    )
    ask, tell = make_search(method, options.task, problem.dims, seed)
    row: dict[str, Any] = {"method": method, "seed": seed, "first_hit": None, "confirmed": None, "best": -np.inf}
    begun, best_policy, num_checks = time.process_time(), problem.policy(np.zeros(problem.dims)), 0
    for number in range(1, options.max_vectors + 1):
        vector = ask()
        measured = problem.measure(vector)
        tell(vector, measured.value)
        if measured.mean_return > row["best"]:
            row["best"], best_policy = measured.mean_return, measured.policy
        if measured.mean_return >= problem.target:
            row["first_hit"] = row["first_hit"] or number
            row["fresh_mean"] = fresh_mean(problem, measured.policy, number)
            num_checks += 1
            if row["fresh_mean"] >= problem.target:
                row["confirmed"] = number
                break
        if number % 250 == 0:
            print(json.dumps({"method": method, "seed": seed, "number": number, "best": row["best"]}), flush=True)
    if row["confirmed"] is None:
        row["fresh_mean"] = fresh_mean(problem, best_policy, 0)
    episodes = problem.num_episodes + num_checks * NUM_FRESH
    return {**row, "vectors": number, "episodes": episodes, "cpu_s": round(time.process_time() - begun, 1)}


def fresh_mean(problem: LinearPolicyProblem, policy: Policy, offset: int) -> float:
    """Returns the mean return of episodes that the search has not seen."""
    first = FRESH_SEED + offset * NUM_FRESH
    return float(np.mean(problem.returns(policy, range(first, first + NUM_FRESH))))


def main() -> None:
    """Prints a row per run and a line per method."""
    parser = Parser(__doc__)
    parser.add_argument("--task", choices=sorted(LAMCTS), default="swimmer")
    parser.add_argument("--methods", nargs="+", default=["lamcts", "cma", "gp"], help="lamcts, cma, gp, random")
    parser.add_argument("--seeds", type=whole_number, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--normalizer", choices=["online", "none", "ars"], default="none")
    parser.add_argument("--survival-bonus", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--rollouts", type=positive, default=3, help="episodes per vector")
    parser.add_argument("--max-vectors", type=positive, default=500)
    parser.add_argument("--out", type=Path, help="file for the settings and rows, JSON")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[dict[str, Any]] = []
    for method in options.methods:
        for seed in options.seeds:
            rows.append(solve(method, options, seed))
            print(json.dumps(rows[-1]), flush=True)
            if options.out:
                settings = {key: value for key, value in vars(options).items() if key != "out"}
                options.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1), encoding="utf-8")
        hits = [row["confirmed"] or float("inf") for row in rows if row["method"] == method]
        print(f"{options.task} {options.normalizer} {method}: median confirmed {statistics.median(hits)}", flush=True)


if __name__ == "__main__":
    run_program(main)
