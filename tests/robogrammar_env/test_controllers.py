"""Simple controllers: what they do over time."""

import numpy as np
import pytest

from robogrammar_env.controllers import CONTROLLERS, make_controller
from robogrammar_env.errors import UnknownNameError


@pytest.mark.parametrize("name", CONTROLLERS)
def test_actions_have_one_value_a_joint_within_the_range(name):
    controller = make_controller(name, 5, np.random.default_rng(0))
    actions = np.array([controller(time_s) for time_s in np.linspace(0, 8, 128)])
    assert actions.shape == (128, 5)
    assert np.abs(actions).max() <= 1.0


def test_zero_holds_still():
    assert not make_controller("zero", 3, np.random.default_rng(0))(1.0).any()


def test_sinusoid_has_its_period_and_amplitude():
    controller = make_controller("sinusoid", 4, np.random.default_rng(1), frequency_hz=2.0, amplitude=0.3)
    np.testing.assert_allclose(controller(0.1), controller(0.6), atol=1e-12)
    actions = np.array([controller(time_s) for time_s in np.linspace(0, 0.5, 500)])
    np.testing.assert_allclose(actions.max(axis=0), 0.3, atol=1e-3)


def test_same_seed_gives_the_same_controller():
    one, other = (make_controller("random", 3, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(one(0.0), other(0.0))


def test_unknown_controller_is_an_error():
    with pytest.raises(UnknownNameError, match=r"'sinus', did you mean 'sinusoid'"):
        make_controller("sinus", 3, np.random.default_rng(0))
