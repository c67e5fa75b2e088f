"""Settings of the shared policy: one frozen dataclass per part, checked when it is built."""

from __future__ import annotations

from dataclasses import dataclass, field


def _require(condition: bool, message: str) -> None:
    """Raises ValueError with `message` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def _require_positive(owner: object, *names: str) -> None:
    """Raises ValueError naming the first of `names` that is not above zero."""
    for name in names:
        value = getattr(owner, name)
        _require(value > 0, f"{name} must be above 0, got {value}")


@dataclass(frozen=True)
class ObservationSpec:
    """Widths of what a body senses and of what is known of it (without the action space's own features)."""

    joint_dim: int
    joint_static_dim: int
    global_dim: int
    global_static_dim: int


@dataclass(frozen=True)
class PolicyConfig:
    """The network.

    Attributes:
        network: "fourier" (a joint's slots are Fourier features of its description; its action is read from them) or
            "urma" (a softmax over slots, one decoder for all joints).
        activation: "silu", "elu" or "relu".
        max_joints: largest body taken in; a constant of the run.
        slots: number K of slots of the body vector.
        value_dim: width of a joint's value before pooling.
        static_dim: hidden width of the static encoder.
        core_dim: width of the two core layers.
        decoder_dim: width of the per-joint decoder.
        initial_std: exploration noise at the start, in units of the action.
        min_std: lowest exploration noise.
        max_std: highest exploration noise.
    """

    network: str = "fourier"
    activation: str = "silu"
    max_joints: int = 32
    slots: int = 64
    value_dim: int = 8
    static_dim: int = 64
    core_dim: int = 128
    decoder_dim: int = 48
    initial_std: float = 0.95
    min_std: float = 0.1
    max_std: float = 1.0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: if a width is not positive or the standard deviations are out of order.
        """
        _require_positive(self, "max_joints", "slots", "value_dim", "static_dim", "core_dim", "decoder_dim", "min_std")
        _require(
            self.min_std < self.initial_std < self.max_std,
            f"min_std < initial_std < max_std must hold, got {self.min_std}, {self.initial_std}, {self.max_std}",
        )


@dataclass(frozen=True)
class ActionConfig:
    """What lies between policy output and joint targets.

    Attributes:
        space: "direct" (targets), "clock" (targets, with a clock in the observation) or "rhythm" (oscillators).
        noise_correlation: phi in [0, 1): correlation of the exploration noise from one control step to the next.
        control_step_s: duration of a control step.
        frequency_hz: of the clock and of the oscillators.
        amplitude: swing of an oscillator for a policy output of 0, as a share of the joint's range.
    """

    space: str = "direct"
    noise_correlation: float = 0.0
    control_step_s: float = 16 / 240
    frequency_hz: float = 1.5
    amplitude: float = 0.5

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: if a value is out of range.
        """
        _require(0 <= self.noise_correlation < 1, f"noise_correlation must be in [0, 1), got {self.noise_correlation}")
        _require_positive(self, "control_step_s", "frequency_hz")


@dataclass(frozen=True)
class PPOConfig:
    """The update.

    Attributes:
        learning_rate: of Adam, at the start.
        decay_updates: after u updates the rate is learning_rate / sqrt(1 + u / decay_updates); 0: it stays.
        epochs: passes over a batch.
        minibatch_size: control steps in a gradient step.
        clip: range of the probability ratio around 1.
        ratio: "body" (one ratio per control step) or "joint" (one per joint, clipped on its own).
        gamma: discount per control step.
        gae_lambda: of the advantage estimator.
        value_coefficient: weight of the value loss.
        entropy_coefficient: weight of the entropy bonus (mean per joint).
        max_grad_norm: gradients are scaled down to this norm.
        target_kl: mean KL per joint from the proximal policy; above 1.5 times of it an update ends. 0: never.
        advantage_norm: "body" (per body), "global" or "none".
        reward_scaling: divide rewards by the running standard deviation of the discounted return.
        max_policy_lag: segments older than this many versions are dropped.
        max_weight: truncation of the importance weights of stale data.
        joint_groups: on a CPU, bodies are padded to the most joints of their group; more groups, less padding.
        device: "cpu", "cuda", or "auto": a GPU where torch can use one.
        threads: of the learner on a CPU; from two on, actor and critic learn side by side with half of them each.
    """

    learning_rate: float = 3e-3
    decay_updates: int = 25
    epochs: int = 3
    minibatch_size: int = 512
    clip: float = 0.2
    ratio: str = "body"
    gamma: float = 0.98
    gae_lambda: float = 0.8
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.0
    max_grad_norm: float = 0.5
    target_kl: float = 0.05
    advantage_norm: str = "body"
    reward_scaling: bool = True
    max_policy_lag: int = 4
    max_weight: float = 2.0
    joint_groups: int = 2
    device: str = "auto"
    threads: int = 2

    def __post_init__(self) -> None:
        """Checks the choices and ranges.

        Raises:
            ValueError: if a choice is unknown or a value is out of range.
        """
        choices = {
            "ratio": ("body", "joint"),
            "advantage_norm": ("body", "global", "none"),
            "device": ("auto", "cpu", "cuda"),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            _require(value in allowed, f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        _require_positive(self, "learning_rate", "epochs", "minibatch_size", "clip", "max_grad_norm")
        _require_positive(self, "joint_groups", "threads", "max_weight")
        _require(0 <= self.gamma < 1, f"gamma must be in [0, 1), got {self.gamma}")
        _require(0 <= self.gae_lambda <= 1, f"gae_lambda must be in [0, 1], got {self.gae_lambda}")
        _require(self.max_policy_lag >= 0, f"max_policy_lag must be at least 0, got {self.max_policy_lag}")
        _require(self.decay_updates >= 0, f"decay_updates must be at least 0, got {self.decay_updates}")
        _require(self.target_kl >= 0, f"target_kl must be at least 0, got {self.target_kl}")

    @property
    def threads_of_each(self) -> int:
        """CPU threads of the actor, and of the critic beside it."""
        return max(1, self.threads // 2)


@dataclass(frozen=True)
class ExperienceConfig:
    """The way from workers to learner. All sizes in control steps.

    Attributes:
        buffer_size: room in shared memory over all workers; a full buffer makes workers wait.
        min_batch_size: fewest steps an update trains on.
        update_interval: new steps between two updates.
        segment_length: steps of one segment.
    """

    buffer_size: int = 16384
    min_batch_size: int = 4096
    update_interval: int = 4096
    segment_length: int = 64

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: if a size is not positive, or the buffer cannot hold one segment.
        """
        _require_positive(self, "buffer_size", "min_batch_size", "update_interval", "segment_length")
        _require(
            self.buffer_size >= self.segment_length,
            f"buffer_size ({self.buffer_size}) must hold a segment (segment_length {self.segment_length})",
        )

    @property
    def batch_steps(self) -> int:
        """Control steps that an update waits for."""
        return max(self.min_batch_size, self.update_interval)


@dataclass(frozen=True)
class WorkerConfig:
    """Worker processes and how they are watched.

    Attributes:
        evaluation_rows: episodes of an evaluation that run side by side in one worker.
        bodies_per_process: after so many bodies a fresh process takes a worker's place (async mode only), because
            simulators keep a little memory of each body that they have ever had.
        hang_timeout_s: a process without a heartbeat for this long is killed and replaced.
        restart_budget: crashes that no body explains and that are forgiven within `restart_window_s`, per worker.
        restart_window_s: see `restart_budget`.
        learner_restarts: deaths of the learner in a row, without an update between, that are forgiven.
    """

    evaluation_rows: int = 8
    bodies_per_process: int = 400
    hang_timeout_s: float = 60.0
    restart_budget: int = 5
    restart_window_s: float = 300.0
    learner_restarts: int = 3

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            ValueError: if a value is not positive.
        """
        _require_positive(
            self, "evaluation_rows", "bodies_per_process", "hang_timeout_s", "restart_budget", "restart_window_s"
        )


@dataclass(frozen=True)
class SharedPPOConfig:
    """Everything that the shared policy can be told."""

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    action: ActionConfig = field(default_factory=ActionConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    experience: ExperienceConfig = field(default_factory=ExperienceConfig)
    workers: WorkerConfig = field(default_factory=WorkerConfig)
