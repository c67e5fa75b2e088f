"""Fills quotas with rounds of a command and loses nothing: python tools/scale_runner.py --help."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout that is not installed, too

from tools.rounds.cli import main

if __name__ == "__main__":
    sys.exit(main())
