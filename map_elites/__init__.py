"""MAP-Elites over robot designs."""
