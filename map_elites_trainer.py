"""Entry point: robots evolve while one policy learns to drive them all. `--help` lists the commands."""

import sys

from map_elites.cli import main

if __name__ == "__main__":
    sys.exit(main())
