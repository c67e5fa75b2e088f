"""One PPO policy over many bodies."""
