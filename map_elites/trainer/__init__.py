"""The one place that joins the rooms: designs and physics, the shared policy, and the search."""

from map_elites.trainer.runs import MAPElitesEvolutionTrainer, evaluate_run, plot_run, stored_config
from map_elites.trainer.settings import TrainConfig, load_config

__all__ = ["MAPElitesEvolutionTrainer", "TrainConfig", "evaluate_run", "load_config", "plot_run", "stored_config"]
