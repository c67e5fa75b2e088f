"""How a run of a given length is divided: sizes that shrink with `total_steps`, and who trains in which worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from map_elites.config import EvaluationConfig, EvolutionConfig

STEPS_PER_PLACE = 1250  # a shorter run has fewer places than configured, so that no single body eats it up
STEPS_PER_INITIAL = 1250  # likewise for the first population
SCREENING_SHARE = 0.15  # the screening before it takes at most this share of the run
FIRST_ROUND_SHARE = 0.5  # of its bodies, random ones; then come children of theirs, ...
LATER_ROUND_SHARE = 0.125  # ... so many at a time, ...
SCREENED_BY_A_WORKER = 4  # ... but at least so many for each worker, for a round ends when all are back
NEWBORN_SHARE_OF_RUN = 0.01  # a newborn's guaranteed steps are at most this share of the run
FEWEST_NEWBORN_STEPS = 256  # two episodes
ALONE_SHARE_OF_RUN = 0.125  # likewise for the whole budget of an individual that learns alone
UPDATES_PER_RUN = 16  # an update waits for at most this fraction of the run's steps
ROUND_SHARE = 0.015  # the segments that are rolled out at a time are at most this share of the run
SHORTEST_SEGMENT = 8
CLOSING_SHARE = 0.05  # at the end, elites and reserve are scored for at most this share of the run
SLACK = 0.01  # a run may end this share of its steps early rather than start something that overshoots


@dataclass(frozen=True)
class Plan:
    """Sizes of one run, in control steps where not said otherwise.

    Attributes:
        total_steps: Training and evaluation together.
        workers: Worker processes that the run can keep busy.
        places: Bodies that a worker rolls out at a time.
        newborn_places: Places of a worker for newborns; elites rehearse in the others.
        num_screened: Bodies that are screened before the warm-up; 0: none.
        screening_episodes: Gaits that each of them tries.
        num_initial: Bodies of the warm-up.
        warmup_steps: Length of the warm-up.
        newborn_steps: Training before a newborn is scored.
        litter_size: Children that try the policy for each newborn, in no more steps than it trains; 1: none.
        litter_newborns: Newborns that are chosen together from their litter.
        litter_contenders: Most others of a litter that compete untrained.
        harvest_share: Share of the steps that is kept for litters under the last policy.
        episode_steps: Steps of an evaluation episode.
        terrains: How many terrains every body trains and is scored on.
        score_steps: Steps behind one score of one body.
        closing_score_steps: Likewise at the end.
        contest_size: Grown-up newborns scored together.
        orders_in_flight: Evaluation orders at a time.
        most_bodies: Most newborns taken into one order.
    """

    total_steps: int
    workers: int
    places: int
    newborn_places: int
    num_screened: int
    screening_episodes: int
    num_initial: int
    warmup_steps: int
    newborn_steps: int
    litter_size: int
    litter_newborns: int
    litter_contenders: int
    harvest_share: float
    episode_steps: int
    terrains: int
    score_steps: int
    closing_score_steps: int
    contest_size: int
    orders_in_flight: int
    most_bodies: int

    @property
    def screening_steps(self) -> int:
        """Length of the screening."""
        return self.num_screened * self.screening_episodes * self.episode_steps

    def screening_round(self, done: int) -> int:
        """How many bodies the next round of the screening tries, when so many have been tried before."""
        size = int(self.num_screened * (LATER_ROUND_SHARE if done else FIRST_ROUND_SHARE))
        return min(max(size, SCREENED_BY_A_WORKER * self.workers), self.num_screened - done)

    @property
    def litter_steps(self) -> int:
        """Steps of the children that are tried together."""
        return self.litter_size * self.litter_newborns * self.terrains * self.episode_steps

    @property
    def harvest_steps(self) -> int:
        """Steps for litters under the last policy; none if that is too few for one of them and a contest."""
        steps = int(self.total_steps * self.harvest_share) if self.litter_size > 1 else 0
        return steps if steps >= self.litter_steps + self.closing_score_steps else 0

    @property
    def slack_steps(self) -> int:
        """Steps that may be left when a run ends."""
        return int(self.total_steps * SLACK)

    @property
    def most_closing_scores(self) -> int:
        """Most elites and bodies of the reserve that are scored at the end."""
        return int(self.total_steps * CLOSING_SHARE) // self.closing_score_steps


def make_plan(
    total_steps: int,
    workers: int,
    evolution: EvolutionConfig,
    evaluation: EvaluationConfig,
    *,
    episode_steps: int,
    terrains: int = 1,
    shared: bool = True,
) -> Plan:
    """The sizes asked for, or smaller ones where the run is too short for them.

    Args:
        total_steps: Of the run.
        workers: Most worker processes.
        evolution: Sizes asked for.
        evaluation: Sizes asked for.
        episode_steps: Steps of an evaluation episode.
        terrains: Terrains of the run.
        shared: One policy for all, where a newborn continues from what the others have learned.
    """
    workers = max(1, min(workers, total_steps // STEPS_PER_PLACE))
    places = max(1, min(evolution.bodies_per_worker, total_steps // (workers * STEPS_PER_PLACE)))
    newborn_steps = max(
        FEWEST_NEWBORN_STEPS, int(total_steps * (NEWBORN_SHARE_OF_RUN if shared else ALONE_SHARE_OF_RUN))
    )
    newborn_steps = min(evolution.training_steps_per_individual, newborn_steps)
    newborn_places = max(1, round(places * evolution.newborn_share))
    litter_newborns = max(1, workers * newborn_places // 2)
    num_initial = max(1, min(evolution.num_initial_random, total_steps // STEPS_PER_INITIAL))
    gait_steps = evolution.screening_episodes * episode_steps
    num_screened = min(evolution.num_screened, int(total_steps * SCREENING_SHARE) // gait_steps) if shared else 0
    longest_warmup = num_initial * evolution.warmup_steps_per_individual
    return Plan(
        total_steps=total_steps,
        workers=workers,
        places=places,
        newborn_places=newborn_places,
        num_screened=num_screened,
        screening_episodes=evolution.screening_episodes,
        num_initial=num_initial,
        warmup_steps=min(int(total_steps * evolution.warmup_share), longest_warmup),
        newborn_steps=newborn_steps,
        litter_size=max(1, min(evolution.litter_size, newborn_steps // (terrains * episode_steps))),
        litter_newborns=litter_newborns,
        litter_contenders=evolution.litter_contenders * litter_newborns,
        harvest_share=evolution.harvest_share,
        episode_steps=episode_steps,
        terrains=terrains,
        score_steps=evaluation.episodes * terrains * episode_steps,
        closing_score_steps=evaluation.verification_episodes * terrains * episode_steps,
        contest_size=max(1, min(evaluation.contest_size, workers * places // 2)),
        orders_in_flight=max(1, workers // 2),
        most_bodies=max(4 * evaluation.contest_size, num_initial),
    )


def update_size(wanted: int, total_steps: int) -> int:
    """Steps between two updates: what the config asks for, or less in a short run."""
    return max(1, min(wanted, total_steps // UPDATES_PER_RUN))


def segment_size(wanted: int, plan: Plan) -> int:
    """Steps of a segment: what the config asks for, or less, so that a short run can end near its budget."""
    most = int(plan.total_steps * ROUND_SHARE) // (plan.workers * plan.places)
    return min(wanted, max(SHORTEST_SEGMENT, most))


@dataclass
class TrainingMix:
    """The bodies of one worker: newborns until they have grown up, elites that rehearse beside them.

    Attributes:
        newborns: Ids, in the order in which they got their places.
        rehearsing: Ids of elites (or warm-up bodies).
    """

    newborns: list[int] = field(default_factory=list)
    rehearsing: list[int] = field(default_factory=list)

    @property
    def bodies(self) -> tuple[int, ...]:
        """Every body of the mix."""
        return (*self.newborns, *self.rehearsing)

    def refresh(
        self,
        plan: Plan,
        *,
        training: Iterable[int],
        next_newborn: Callable[[], int],
        elites: Iterable[int],
        gone: Callable[[int], bool],
    ) -> None:
        """Lets grown-up newborns go, fills free places; where that changes anything, other elites get their turn.

        Args:
            plan: Number of places.
            training: Newborns that still train.
            next_newborn: Gives the id of a newborn without a place.
            elites: Ids that may rehearse, in random order; read only when the mix changes.
            gone: Whether a rehearsing body no longer exists.
        """
        before, still = list(self.newborns), set(training)
        self.newborns = [number for number in self.newborns if number in still]
        while len(self.newborns) < plan.newborn_places:
            self.newborns.append(next_newborn())
        if self.newborns == before and self.rehearsing and not any(map(gone, self.rehearsing)):
            return
        room = plan.places - len(self.newborns)
        self.rehearsing = [number for number in elites if number not in self.newborns][:room]
