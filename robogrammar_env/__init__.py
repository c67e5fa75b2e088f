"""From a grammar rule to a Gymnasium step: bodies and physics."""
