"""A main process that trains until it is killed. Prints the ids of its children. Argument: fault of the first body."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Starts two workers and a learner and polls for ever."""
    import psutil

    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    from fake_bodies import SPEC, make_body
    from helpers import body, small_config

    from shared_ppo.messages import LearnerUpdate, TrainOrder
    from shared_ppo.supervisor import ProcessSupervisor

    supervisor = ProcessSupervisor(make_body, SPEC, small_config(), num_workers=2)
    supervisor.start()
    supervisor.train(1, TrainOrder((body(2),)))
    while not any(isinstance(event, LearnerUpdate) for event in supervisor.poll(1.0)):
        pass
    supervisor.train(0, TrainOrder((body(1, fault=sys.argv[1], at=10),)))
    supervisor.poll(0.0)
    print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
    while True:
        supervisor.poll(1.0)


if __name__ == "__main__":
    main()
