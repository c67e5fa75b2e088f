"""For fork servers: importing this opens a few PyBullet clients, whose memory all forked workers then share.

`multiprocessing.set_forkserver_preload(["robogrammar_env.engine.preload"])`. A body in a forked worker then costs about
less than 1 MiB of its own instead of 29 MiB. The environment variable ROBOGRAMMAR_PRELOAD_CLIENTS says how many
(default 8); a worker that needs more than that pays the full price for each.
"""

import os

from robogrammar_env import simulation  # noqa: F401  everything that a worker needs
from robogrammar_env.engine import clients
from robogrammar_env.engine.base import CLIENTS_AHEAD

clients.open_ahead(int(os.environ.get(CLIENTS_AHEAD, "8")))
