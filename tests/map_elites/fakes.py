"""Stand-ins for the other rooms: designs as small values, a supervisor without processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from map_elites.archive import Elite, Score
from map_elites.contests import EvaluationOrder
from map_elites.crew import CrewEvent, CrewStatus, EpisodeDone, Learned, OrderDone
from map_elites.descriptors import Descriptor
from map_elites.evolution import Evolution
from map_elites.variation import DesignSpace

AXES = (Descriptor("contact", "contact", "", 0.0, 1.0, 5), Descriptor("height", "height", "m", 0.0, 2.0, 4))


@dataclass(frozen=True)
class ToyDesign:
    """A design that is nothing but its rules."""

    rules: tuple[int, ...]

    def __str__(self) -> str:
        return "toy-" + "-".join(map(str, self.rules))


def toy_score(fitness: float, contact: float = 0.5, height: float = 0.5, version: int = 1) -> Score:
    return Score(fitness, {"contact": contact, "height": height, "joints": 3.0}, version, 2, fitness + 4.0)


def toy_elite(number: int, score: Score, parents: tuple[int, ...] = ()) -> Elite:
    return Elite(number, ToyDesign((0, number)), score, 3, "flat", "toy", parents)


def toy_space(max_rules: int = 40) -> DesignSpace:
    """A design space over toy parts: links are (joint, long) values, a design is finished if it is small enough."""

    def check(design: PartedToy) -> None:
        if not 1 <= design.num_joints <= 24 or len(design.rules) > max_rules:
            raise ValueError("not allowed")

    def sample(rng: np.random.Generator) -> PartedToy:
        count = int(rng.integers(1, 4))
        legs = [tuple(ToyLink("abc"[int(rng.integers(3))], bool(rng.integers(2))) for _ in range(2))]
        legs += [() for _ in range(count - 1)]
        return PartedToy(tuple(legs), tuple("fixed" for _ in range(count - 1)))

    return DesignSpace(("a", "b", "c"), ("fixed", "roll"), ToyLink, PartedToy, check, sample)


class ToyLink(NamedTuple):
    joint: str
    long: bool


@dataclass(frozen=True)
class PartedToy:
    """A toy design with segments and spine, as the real ones have."""

    segments: tuple[tuple[ToyLink, ...], ...]
    spine: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.spine) != len(self.segments) - 1:
            raise ValueError("wrong spine")

    @property
    def rules(self) -> tuple[int, ...]:
        """One number per part."""
        numbers = [0]
        for leg in self.segments:
            numbers += [1, *(2 + 2 * "abc".index(link.joint) + link.long for link in leg)]
        return (*numbers, *(10 + ("fixed", "roll").index(kind) for kind in self.spine))

    @property
    def num_joints(self) -> int:
        """Two for each limb link, one for each moving spine joint."""
        return 2 * sum(map(len, self.segments)) + sum(kind != "fixed" for kind in self.spine)

    def __str__(self) -> str:
        return "-".join(map(str, self.rules))


def read_parted(rules) -> PartedToy:
    """The design of a rule sequence of `PartedToy.rules`."""
    legs: list[tuple[ToyLink, ...]] = []
    spine = []
    for number in list(rules)[1:]:
        if number == 1:
            legs.append(())
        elif number < 10:
            legs[-1] = (*legs[-1], ToyLink("abc"[(number - 2) // 2], bool(number % 2)))
        else:
            spine.append(("fixed", "roll")[number - 10])
    return PartedToy(tuple(legs), tuple(spine))


class ToyWorkers:
    """Carries commands out in simulated rounds: every body in a mix plays one episode, orders take one round.

    A body's speed grows with its joints and with the policy version, and its behaviour drifts with the version.
    """

    def __init__(self, evolution: Evolution, *, episode_steps: int = 128, fail: frozenset[int] = frozenset()) -> None:
        self.evolution, self.episode_steps, self.fail = evolution, episode_steps, fail
        self.env_steps, self.version = 0, 1
        self.unscorable: frozenset[int] = frozenset()
        self.mixes: dict[int, tuple[int, ...]] = {}
        self.orders: list[EvaluationOrder] = []
        self.seen: list[EvaluationOrder] = []

    def play(self, number: int, seed: int) -> dict[str, float]:
        joints = self.evolution.design_of(number).num_joints
        wiggle = ((number * 7919 + seed * 104729 + self.version * 31) % 97) / 97
        return {
            "speed_m_s": joints / 100 + self.version / 1000 + wiggle / 50,
            "robogrammar_objective": 4.0 + wiggle,
            "contact": ((number * 37 + self.version // 3) % 50) / 50,
            "height": wiggle,
            "steps": float(self.episode_steps),
        }

    def round(self) -> bool:
        """One round; False once the search has finished and is closed."""
        for command in self.evolution.commands(self.env_steps):
            for number in command.bodies:
                self.evolution.design_of(number)
            if isinstance(command, EvaluationOrder):
                self.orders.append(command)
                self.seen.append(command)
            else:
                self.mixes[command.worker] = command.bodies
        for worker, bodies in sorted(self.mixes.items()):
            for number in bodies:
                self.env_steps += self.episode_steps
                try:
                    info = self.play(number, worker)
                except KeyError:
                    continue
                if number in self.fail:
                    self.evolution.body_failed(number, "fell apart", worker)
                else:
                    self.evolution.episode_finished(number, self.episode_steps, info)
        self.play_orders()
        self.version += 1
        if not self.evolution.finished(self.env_steps):
            return True
        self.mixes = {}
        while orders := self.evolution.closing_orders(self.env_steps):
            self.orders = orders
            self.seen += orders
            self.play_orders()
        return False

    def play_orders(self) -> None:
        """Plays the episodes of all orders."""
        orders, self.orders = self.orders, []
        for order in orders:
            self.env_steps += len(order.bodies) * len(order.seeds) * self.episode_steps
            bad = self.fail | self.unscorable
            good = [number for number in order.bodies if number not in bad]
            results = {number: [self.play(number, seed) for seed in order.seeds] for number in good}
            failed = {number: "fell apart" for number in order.bodies if number in bad}
            self.evolution.evaluation_finished(order.order_id, self.version, results, failed)


class ToyCrew(ToyWorkers):
    """`ToyWorkers` as a crew: a round per poll."""

    def __init__(self, evolution: Evolution, *, before: int = 0) -> None:
        super().__init__(evolution)
        self.env_steps = before
        self.events: list[CrewEvent] = []
        self.stopped = self.frozen = False

    def start(self) -> None:
        """Nothing to start."""

    def carry_out(self, command) -> None:
        """Remembers the command for the next poll."""
        if isinstance(command, EvaluationOrder):
            self.orders.append(command)
        else:
            self.mixes[command.worker] = command.bodies

    def poll(self, timeout_s: float) -> list[CrewEvent]:
        """Plays a round."""
        events, self.events = self.events, []
        for worker, bodies in sorted(self.mixes.items()):
            for number in bodies:
                try:
                    info = self.play(number, worker)
                except KeyError:
                    continue
                self.env_steps += 128
                events.append(EpisodeDone(number, 128, info))
        orders, self.orders = self.orders, []
        for order in orders:
            steps = len(order.bodies) * len(order.seeds) * 128
            self.env_steps += steps
            results = {n: [self.play(n, seed) for seed in order.seeds] for n in order.bodies}
            events.append(OrderDone(order.order_id, self.version, results, {}, steps))
        if not self.frozen:
            self.version += 1
            events.append(Learned({"kl": 0.01, "policy_lag_mean": 1.0, "batch_steps": 100.0, "policy_loss": -0.1}))
        return events

    def status(self) -> CrewStatus:
        """Everything was used."""
        experience = {"received": self.env_steps, "used": self.env_steps, "dropped": 0}
        return CrewStatus(self.version, self.version - 1, experience)

    def state(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def write_checkpoint(self, folder: Path) -> None:
        """Writes what it has learned."""
        (folder / "learner.json").write_text(str(self.version))

    def finish(self) -> list[CrewEvent]:
        """Rests."""
        self.mixes, self.frozen = {}, True
        return []

    def stop(self) -> None:
        """Ends."""
        self.stopped = True
