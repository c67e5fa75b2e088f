"""From a grammar rule to a Gymnasium step: bodies and physics."""

import gymnasium


def register_envs() -> None:
    """Makes `gymnasium.make("RoboGrammar-v0")` known; a second call does nothing."""
    if "RoboGrammar-v0" not in gymnasium.registry:
        gymnasium.register(id="RoboGrammar-v0", entry_point="robogrammar_env.env:RoboGrammarEnv")


register_envs()
