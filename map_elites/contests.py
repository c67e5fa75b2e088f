"""Who waits to be scored, which orders are under way, and who failed too often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from map_elites.archive import Archive, Cell, Elite
from map_elites.config import EvaluationConfig
from map_elites.evaluation import contest_seeds, screening_seeds
from map_elites.schedule import Plan

SCREENING_ORDERS = 8  # for each worker
BODIES_TO_SHARE = 4  # in an order of those that nobody waits for one by one

Purpose = Literal["contest", "litter", "screening"]


@dataclass(frozen=True)
class EvaluationOrder:
    """Bodies to score under one policy version, each on every seed, with the mean action.

    In a screening they move by random gaits instead, one for each seed. Only a contest decides who has a cell.
    """

    order_id: int
    bodies: tuple[int, ...]
    seeds: tuple[int, ...]
    purpose: Purpose = "contest"


@dataclass
class Wait:
    """A body in the queue.

    Attributes:
        rounds: Orders that could not decide about it.
        opponents: Incumbents it has to be scored together with.
    """

    rounds: int = 0
    opponents: set[int] = field(default_factory=set)


@dataclass
class Contests:
    """The queue of bodies to be scored.

    Attributes:
        plan: Sizes of the run.
        config: Episodes, shares and limits.
        run_seed: Seed of the run.
        waiting: Bodies in the queue, first come first served.
        flights: Orders under way.
        orders: Orders given so far; the next order's id.
    """

    plan: Plan
    config: EvaluationConfig
    run_seed: int
    waiting: dict[int, Wait] = field(default_factory=dict)
    flights: dict[int, EvaluationOrder] = field(default_factory=dict)
    orders: int = 0

    @property
    def busy(self) -> set[int]:
        """Bodies being scored right now."""
        return {number for order in self.flights.values() for number in order.bodies}

    @property
    def reserved_steps(self) -> int:
        """Control steps of the orders under way, done or not."""
        episodes = sum(len(order.bodies) * len(order.seeds) for order in self.flights.values())
        return episodes * self.plan.episode_steps

    def under_way(self, purpose: Purpose) -> int:
        """How many orders of that kind are not back yet."""
        return sum(order.purpose == purpose for order in self.flights.values())

    def enter(self, number: int) -> None:
        """Queues a body."""
        self.waiting.setdefault(number, Wait())

    def again(self, number: int, opponent: int, wait: Wait) -> bool:
        """Queues a body for another round together with `opponent`; False if it had enough rounds and gives up."""
        if wait.rounds + 1 >= self.config.max_rounds:
            return False
        self.waiting[number] = Wait(wait.rounds + 1, {*wait.opponents, opponent})
        return True

    def next_order(
        self, archive: Archive, guess: Callable[[int], Cell | None], steps_left: int
    ) -> tuple[EvaluationOrder, dict[int, Wait]] | None:
        """Puts the next order together, if it is time for one and the steps suffice.

        Args:
            archive: Gives incumbents and the elites that have not been scored for longest.
            guess: Cell that a waiting body will probably want, from its training episodes.
            steps_left: Control steps not spent or reserved.

        Returns:
            The order, and the waits of those taken out of the queue.
        """
        affordable = steps_left // self.plan.score_steps
        if self.under_way("contest") >= self.plan.orders_in_flight or affordable < 1:
            return None
        busy = self.busy
        ready = [n for n, wait in self.waiting.items() if n not in busy and not wait.opponents & busy]
        if len(ready) < self.plan.contest_size and not any(self.waiting[n].rounds for n in ready):
            return None
        chosen, bodies = self._choose(ready, archive, guess, busy, affordable)
        if not chosen:
            return None
        return self._give(bodies, self.config.episodes), {number: self.waiting.pop(number) for number in chosen}

    def closing_seeds(self) -> tuple[int, ...]:
        """Seeds of the last scores.

        These scores stay, so there are as many episodes behind them as behind those of the verification.
        """
        return contest_seeds(self.run_seed, self.orders, self.config.verification_episodes, self.plan.terrains)

    def closing_orders(self, bodies: Sequence[int], seeds: tuple[int, ...]) -> list[EvaluationOrder]:
        """Has bodies scored for the last time, in orders that all workers can share."""
        size = max(1, min(BODIES_TO_SHARE, len(bodies) // self.plan.workers))
        return [self._send(part, seeds) for part in shared_out(bodies, size)]

    def screening_orders(self, bodies: Sequence[int]) -> list[EvaluationOrder]:
        """Has bodies move by random gaits, a few bodies an order, so that all workers have their share."""
        seeds = screening_seeds(self.run_seed, self.plan.screening_episodes, self.plan.terrains)
        size = max(1, len(bodies) // (SCREENING_ORDERS * self.plan.workers))
        return [self._send(part, seeds, purpose="screening") for part in shared_out(bodies, size)]

    def litter_orders(self, bodies: Sequence[int]) -> list[EvaluationOrder]:
        """Has children try the policy for an episode on each terrain, an order for each worker."""
        seeds = contest_seeds(self.run_seed, self.orders, 1, self.plan.terrains)
        size = -(-len(bodies) // self.plan.workers)
        return [self._send(part, seeds, purpose="litter") for part in shared_out(bodies, size)]

    def _give(self, bodies: Iterable[int], episodes: int) -> EvaluationOrder:
        """Sends bodies to be scored on seeds of their own."""
        return self._send(bodies, contest_seeds(self.run_seed, self.orders, episodes, self.plan.terrains))

    def _send(self, bodies: Iterable[int], seeds: tuple[int, ...], *, purpose: Purpose = "contest") -> EvaluationOrder:
        order = EvaluationOrder(self.orders, tuple(bodies), seeds, purpose)
        self.orders += 1
        self.flights[order.order_id] = order
        return order

    def _choose(
        self,
        ready: Iterable[int],
        archive: Archive,
        guess: Callable[[int], Cell | None],
        busy: set[int],
        affordable: int,
    ) -> tuple[list[int], list[int]]:
        """Bodies from the queue with opponents, as many as the steps allow, then elites with the oldest scores."""
        chosen: list[int] = []
        bodies: list[int] = []
        for number in ready:
            wanted = [number, *sorted(n for n in self.waiting[number].opponents if n in archive)]
            incumbent = archive.at(cell) if (cell := guess(number)) is not None else None
            if incumbent is not None and incumbent.id not in busy:
                wanted.append(incumbent.id)
            new = [n for n in dict.fromkeys(wanted) if n not in bodies]
            if len(bodies) + len(new) <= affordable and len(chosen) < self.plan.most_bodies:
                chosen.append(number)
                bodies += new
        fresh = sum(not self.waiting[n].rounds for n in chosen)
        extra = [elite.id for elite in oldest_scores_first(archive) if elite.id not in busy and elite.id not in bodies]
        room = max(0, min(round(fresh * self.config.rescore_share), affordable - len(bodies)))
        chosen = [n for n in chosen if n in self.waiting]
        return chosen, bodies + extra[:room]

    def finish(self, order_id: int) -> EvaluationOrder | None:
        """Takes an order out of flight; None if it is not known (any more)."""
        return self.flights.pop(order_id, None)

    def forget(self, number: int) -> None:
        """Takes a body out of the queue."""
        self.waiting.pop(number, None)


def shared_out(bodies: Sequence[int], size: int = BODIES_TO_SHARE) -> list[Sequence[int]]:
    """Bodies in parts of `size`, so small that all workers are done with them at about the same time."""
    return [bodies[start : start + size] for start in range(0, len(bodies), size)]


def oldest_scores_first(archive: Archive) -> list[Elite]:
    """Elites in the order in which they are to be scored again."""
    return sorted(archive, key=lambda elite: (elite.score.policy_version, elite.id))
