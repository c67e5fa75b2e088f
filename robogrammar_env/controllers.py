"""Simple open-loop controllers, to see a body move: nothing, noise, one sine wave, or a random gait."""

from collections.abc import Callable

import numpy as np

from robogrammar_env.errors import unknown_name

Controller = Callable[[float], np.ndarray]
"""From the time since the start, in seconds, to the (n,) action in [-1, 1]; 1 is a target of 90 degrees."""


def zero(num_joints: int, rng: np.random.Generator) -> Controller:
    """Holds all joints at their rest angle."""
    return lambda time_s: np.zeros(num_joints)


def random(num_joints: int, rng: np.random.Generator) -> Controller:
    """Draws every action uniformly from the whole range."""
    return lambda time_s: rng.uniform(-1.0, 1.0, num_joints)


def sinusoid(
    num_joints: int, rng: np.random.Generator, *, frequency_hz: float = 1.0, amplitude: float = 0.5
) -> Controller:
    """Moves all joints in sine waves of one frequency and amplitude, with random phases.

    Args:
        num_joints: number of joints.
        rng: draws the phases.
        frequency_hz: of the waves.
        amplitude: of the action, 0 to 1.
    """
    phases = rng.uniform(0.0, 2 * np.pi, num_joints)
    return lambda time_s: amplitude * np.sin(2 * np.pi * frequency_hz * time_s + phases)


def gait(num_joints: int, rng: np.random.Generator) -> Controller:
    """Moves all joints in sine waves of one frequency (0.3 to 2 Hz), each with its own amplitude (up to the whole
    range), phase, and middle (up to half of the range aside); all drawn uniformly.
    """
    frequency_hz = rng.uniform(0.3, 2.0)
    amplitudes = rng.uniform(0.0, 1.0, num_joints)
    phases = rng.uniform(0.0, 2 * np.pi, num_joints)
    middles = rng.uniform(-0.5, 0.5, num_joints)
    return lambda time_s: np.clip(middles + amplitudes * np.sin(2 * np.pi * frequency_hz * time_s + phases), -1, 1)


CONTROLLERS: dict[str, Callable[..., Controller]] = {
    "zero": zero,
    "random": random,
    "sinusoid": sinusoid,
    "gait": gait,
}
"""Makers of controllers by name; each takes the number of joints and a source of randomness."""


def make_controller(name: str, num_joints: int, rng: np.random.Generator, **settings: float) -> Controller:
    """Makes a controller by name; `settings` are those of `sinusoid`.

    Raises:
        UnknownNameError: there is no such controller.
    """
    if name not in CONTROLLERS:
        raise unknown_name("controller", name, CONTROLLERS)
    return CONTROLLERS[name](num_joints, rng, **settings)
