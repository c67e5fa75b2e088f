"""The learner before its first update, made in a process of its own, so that the main process needs no torch."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.device import describe_device
from shared_ppo.errors import SharedPPOError
from shared_ppo.run_state import LearnerImage


class Newborn(NamedTuple):
    """A learner made elsewhere, and a description of the device it will work on."""

    image: LearnerImage
    device: str


def new_learner(spec: ObservationSpec, config: SharedPPOConfig, seed: int, state: bytes | None) -> LearnerImage:
    """Makes a learner, new or from a `state`.

    Raises:
        ValueError: if the config names a network or an action space that does not exist.
        CheckpointError: if the state is damaged or does not fit the config.
        SharedPPOError: if there is too little memory.
    """
    from shared_ppo.learner import SharedPPOTrainer

    try:
        trainer = SharedPPOTrainer(spec, replace(config, ppo=replace(config.ppo, device="cpu")), seed=seed)
    except (RuntimeError, MemoryError) as error:  # the network does not fit into memory
        raise SharedPPOError(f"the learner cannot be made: {error}") from None
    if state is not None:
        trainer.load_bytes(state, "the checkpoint")
    return trainer.image()


def new_learner_elsewhere(
    context: Any, spec: ObservationSpec, config: SharedPPOConfig, seed: int, state: bytes | None
) -> Newborn:
    """Does `new_learner` in another process.

    Raises:
        ValueError, CheckpointError, SharedPPOError: as `new_learner`.
        SharedPPOError: if that process ends without an answer.
    """
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, spec, config, seed, state), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError as error:
        process.join()
        raise SharedPPOError(f"the process that makes the learner ended with {process.exitcode}") from error
    process.join()
    ours.close()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _answer(pipe: Connection, spec: ObservationSpec, config: SharedPPOConfig, seed: int, state: bytes | None) -> None:
    """Sends a new learner, or why there is none."""
    try:
        image = new_learner(spec, config, seed, state)
        pipe.send(Newborn(image, describe_device(config.ppo.device)))
    except (ValueError, SharedPPOError) as error:
        pipe.send(error)
