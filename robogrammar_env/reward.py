"""The training reward: one pure function, the same for every body and every engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RewardWeights:
    """Weights of the training reward; every cost is zero or below.

    Attributes:
        forward: per m/s along +x.
        slowest_m_s: forward speeds below this one earn no less.
        fastest_m_s: forward speeds above this one earn no more.
        sideways: per m/s along y, either way.
        power: per unit of mechanical power of the mean joint, see `training_reward`.
        jerk: per unit of mean squared change of the action.
        tilt: per squared radian between the base's up axis and the vertical.
        heading: per unit of 1 - cos of the angle between the nose and +x, RoboGrammar's first posture term.
    """

    forward: float = 1.0
    slowest_m_s: float = -1.0
    fastest_m_s: float = 3.0
    sideways: float = 0.1
    power: float = 0.0
    jerk: float = 0.02
    tilt: float = 0.05
    heading: float = 0.3


@dataclass(frozen=True, slots=True)
class Motion:
    """What the reward looks at in one control step.

    Attributes:
        forward_m_s: net displacement along +x over the step's time.
        sideways_m_s: the same along y.
        relative_power: mean over joints of |torque * speed|, over the power per joint that lifts the whole body at
            the speed sqrt(g L): m g sqrt(g L) / n.
        action_change: mean over joints of the squared change of the action.
        tilt_rad: angle between the base's up axis and the vertical.
        off_course: 1 - cos of the angle between the nose and +x, in 0 to 2.
    """

    forward_m_s: float
    sideways_m_s: float
    relative_power: float
    action_change: float
    tilt_rad: float
    off_course: float


def training_reward(weights: RewardWeights, motion: Motion) -> float:
    """Forward speed less small costs; costs are means over joints, so that no body pays for having more of them."""
    speed = min(max(motion.forward_m_s, weights.slowest_m_s), weights.fastest_m_s)
    return (
        weights.forward * speed
        - weights.sideways * abs(motion.sideways_m_s)
        - weights.power * motion.relative_power
        - weights.jerk * motion.action_change
        - weights.tilt * motion.tilt_rad**2
        - weights.heading * motion.off_course
    )
