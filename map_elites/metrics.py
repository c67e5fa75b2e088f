"""Names of all curves: column of `metrics.csv`, tag in TensorBoard, unit. `docs/metrics.md` explains each of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One curve.

    Attributes:
        name: Column of `metrics.csv`.
        group: First part of the TensorBoard tag.
        unit: SI unit, "1" for shares and counts.
    """

    name: str
    group: str
    unit: str = "1"

    @property
    def tag(self) -> str:
        """Tag in TensorBoard."""
        return f"{self.group}/{self.name}"


METRICS = (
    Metric("wall_seconds", "system", "s"),
    Metric("num_elites", "archive"),
    Metric("coverage", "archive"),
    Metric("qd_score", "archive", "m/s"),
    Metric("max_fitness", "archive", "m/s"),
    Metric("mean_fitness", "archive", "m/s"),
    Metric("evaluated_speed", "evaluation", "m/s"),
    Metric("evaluations", "evaluation"),
    Metric("failed_evaluations", "evaluation"),
    Metric("episode_speed", "episode", "m/s"),
    Metric("episode_steps", "episode"),
    Metric("loss", "learner"),
    Metric("policy_loss", "learner"),
    Metric("value_loss", "learner"),
    Metric("entropy", "learner", "nat"),
    Metric("kl", "learner", "nat"),
    Metric("clip_fraction", "learner"),
    Metric("explained_variance", "learner"),
    Metric("grad_norm", "learner"),
    Metric("learning_rate", "learner"),
    Metric("reward_mean", "learner"),
    Metric("return_std", "learner"),
    Metric("effective_sample_size", "learner"),
    Metric("policy_lag_mean", "learner"),
    Metric("policy_lag_max", "learner"),
    Metric("policy_version", "learner"),
    Metric("updates_per_minute", "learner", "1/min"),
    Metric("experience_received", "experience"),
    Metric("experience_used", "experience"),
    Metric("experience_dropped", "experience"),
    Metric("experience_per_second", "experience", "1/s"),
    Metric("queue_fill", "experience"),
    Metric("buffer_bytes", "experience", "B"),
    Metric("env_steps_per_second", "system", "1/s"),
    Metric("memory_bytes", "system", "B"),
    Metric("memory_main_bytes", "system", "B"),
    Metric("memory_learner_bytes", "system", "B"),
    Metric("memory_workers_bytes", "system", "B"),
    Metric("worker_restarts", "system"),
)
COLUMNS = ("env_steps", *(metric.name for metric in METRICS))
EVALUATION_COLUMNS = (
    "env_steps",
    "policy_version",
    "order",
    "body",
    "fitness",
    "robogrammar_objective",
    "outcome",
    "cell",
)

SUMMARY = (  # keys of summary.json, in their order
    "status",
    "env_steps",
    "wall_seconds",
    "env_steps_per_second",
    "policy_updates",
    "policy_version",
    "policy_lag_mean",
    "experience_received",
    "experience_used",
    "experience_dropped",
    "distinct_bodies_trained",
    "evaluations",
    "failed_evaluations",
    "worker_restarts",
    "num_elites",
    "coverage",
    "qd_score",
    "verified_qd_score",
    "max_fitness",
    "mean_fitness",
    "verified_max_fitness",
    "verified_mean_fitness",
    "best_robogrammar_objective",
    "best_verified_robogrammar_objective",
    "verification_steps",
    "verification_seconds",
    "peak_memory_bytes",
)
