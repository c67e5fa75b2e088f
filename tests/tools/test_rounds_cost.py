"""The benchmark's figures, small: what the runner itself costs per round."""

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "scale_rounds.py"


@pytest.mark.slow
def test_own_cost_per_round_and_memory_stay_small():
    found = runpy.run_path(str(BENCHMARK))["measure"](1000, 4, 2)
    assert found["own_cost_ms_per_round"] <= 60
    assert found["memory_mb_at_95_percent"] - found["memory_mb_at_10_percent"] < 10
    assert found["runner_cpu_ms_per_round_last_third"] < 2 * found["runner_cpu_ms_per_round_first_third"]
