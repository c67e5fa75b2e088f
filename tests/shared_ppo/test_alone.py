"""A body that trains alone learns with the same code."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_bodies import SPEC, make_body
from helpers import body, small_config

from shared_ppo.alone import train_alone
from shared_ppo.errors import SharedPPOError


def test_a_body_learns_alone() -> None:
    """From an untrained mean reward of -target^2 to nearly nothing lost, and reproducibly."""
    config = small_config()
    config = replace(config, ppo=replace(config.ppo, target_kl=0.05))
    untrained = train_alone(make_body, SPEC, body(4), config=config, total_steps=0)
    results = [
        train_alone(make_body, SPEC, body(4), config=config, total_steps=8000, copies=4, evaluation_seeds=(0, 1))
        for _ in range(2)
    ]
    assert untrained.policy_updates == 0
    assert results[0].infos == results[1].infos and len(results[0].infos) == 2
    assert results[0].infos[0]["total"] > 0.3 * untrained.infos[0]["total"]
    assert 8000 <= results[0].env_steps <= 8000 + 4 * 32 + 40
    assert results[0].policy_updates == 8000 // 256 + 1


def test_a_body_that_fails_says_so() -> None:
    """With its id and reason."""
    with pytest.raises(SharedPPOError, match=r"body 4: .*ZeroDivisionError"):
        train_alone(make_body, SPEC, body(4, fault="raise"), config=small_config(), total_steps=500)
