"""Action spaces, and exploration noise with its true log-probability."""

from __future__ import annotations

import numpy as np
import pytest

from shared_ppo.action import ACTION_SPACES, NoisyActions, augmented_spec, make_action_space
from shared_ppo.config import ActionConfig, ObservationSpec


@pytest.mark.parametrize("name", sorted(ACTION_SPACES))
def test_every_space_keeps_its_word(name: str) -> None:
    """Shapes as declared, targets in [-1, 1] whatever the policy says."""
    space = make_action_space(ActionConfig(space=name))
    state = np.stack([space.initial_state(3), space.initial_state(3)])
    for _ in range(5):
        joint_features, global_features = space.features(state)
        assert joint_features.shape == (2, 3, space.joint_features)
        assert global_features.shape == (2, space.global_features)
        actions = np.random.default_rng(0).normal(0, 5, (2, 3, space.outputs_per_joint)).astype(np.float32)
        targets, state = space.advance(state, actions)
        assert targets.shape == (2, 3) and np.abs(targets).max() <= 1
        assert state.shape == (2, 3, space.state_dim) and state.dtype == np.float32
    spec = augmented_spec(ObservationSpec(14, 24, 13, 8), space)
    assert (spec.joint_dim, spec.global_dim) == (14 + space.joint_features, 13 + space.global_features)


def test_direct_targets_are_the_clipped_outputs() -> None:
    """-2, 0.5 and 3 become -1, 0.5 and 1."""
    space = make_action_space(ActionConfig(space="direct"))
    actions = np.array([[[-2.0], [0.5], [3.0]]], np.float32)
    targets, _ = space.advance(space.initial_state(3)[None], actions)
    assert targets.tolist() == [[-1.0, 0.5, 1.0]]


def test_clock_turns_at_its_frequency() -> None:
    """At 1.5 Hz and 15 control steps a second, ten steps are one turn."""
    space = make_action_space(ActionConfig(space="clock", frequency_hz=1.5, control_step_s=1 / 15))
    state = space.initial_state(2)[None]
    assert space.features(state)[1].tolist() == [[0.0, 1.0]]
    for _ in range(10):
        _, state = space.advance(state, np.zeros((1, 2, 1), np.float32))
    assert space.features(state)[1][0] == pytest.approx([0.0, 1.0], abs=1e-4)


def test_rhythm_moves_a_newborn_body() -> None:
    """With outputs of 0 every joint swings by the configured amplitude; the bias shifts it."""
    space = make_action_space(ActionConfig(space="rhythm", amplitude=0.4))
    state, seen = space.initial_state(1)[None], []
    for _ in range(20):
        targets, state = space.advance(state, np.array([[[0.0, 0.0, 0.3]]], np.float32))
        seen.append(float(targets[0, 0]))
    assert max(seen) == pytest.approx(0.7, abs=0.03)
    assert min(seen) == pytest.approx(-0.1, abs=0.03)


def test_unknown_space() -> None:
    """The known names are listed."""
    with pytest.raises(ValueError, match="direct, clock, rhythm"):
        make_action_space(ActionConfig(space="torque"))


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_noise_has_the_spread_and_correlation_it_should(correlation: float) -> None:
    """Stationary deviation sigma, lag-1 correlation phi."""
    noisy, rng = NoisyActions(correlation), np.random.default_rng(1)
    mean, std = np.zeros((500, 1), np.float32), np.full((500, 1), 0.5, np.float32)
    noise, seen = np.zeros_like(mean), []
    for _ in range(60):
        actions, bias, noise = noisy.draw(mean, std, noise, rng)
        assert np.allclose(actions, mean + noise)
        assert np.allclose(bias, correlation * (seen[-1] if seen else 0 * noise), atol=1e-6)
        seen.append(noise)
    late = np.array(seen[20:])
    assert late.std() == pytest.approx(0.5, abs=0.01)
    assert np.mean(late[1:] * late[:-1]) / 0.25 == pytest.approx(correlation, abs=0.03)
