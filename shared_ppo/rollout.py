"""Rolling out bodies: several side by side with one forward pass per control step, into segments or for a score.

Nothing here knows of processes; the in-process supervisor and the worker processes run this same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shared_ppo.acting import ActingPolicy
from shared_ppo.body import BodySpec, MakeBody
from shared_ppo.config import ObservationSpec, SharedPPOConfig
from shared_ppo.lanes import BodyError, Lane, LaneKeeper, Watch
from shared_ppo.messages import BodyFailed, EpisodeReport, EvaluateOrder, EvaluationReport, Event, TrainOrder
from shared_ppo.recording import Recording, Rows, Trace
from shared_ppo.segment import Segment, segment_layout
from shared_ppo.weights import SharedWeights

_MAX_SEED = 2**31 - 1


class RolloutWorker:
    """The bodies of one worker, and what is done with them.

    Args:
        index: number of the worker.
        make_body: builds a body.
        spec: widths of the bodies' observations.
        config: all settings.
        seeds: integers that seed this worker's noise and resets.
        watch: is told what goes on.
    """

    def __init__(
        self,
        index: int,
        make_body: MakeBody,
        spec: ObservationSpec,
        config: SharedPPOConfig,
        *,
        seeds: Sequence[int],
        watch: Watch,
    ) -> None:
        self.index = index
        self.config = config
        self.policy = ActingPolicy(spec, config)
        self._layout = segment_layout(spec, config)
        self._rng = np.random.default_rng(list(seeds))
        self._lanes: list[Lane] = []
        self._events: list[Event] = []
        self._keeper = LaneKeeper(
            make_body,
            self.policy.space,
            max_joints=config.policy.max_joints,
            gamma=config.ppo.gamma,
            watch=watch,
        )

    @property
    def bodies_built(self) -> int:
        """Bodies that this process has built so far."""
        return self._keeper.opened

    @property
    def has_bodies(self) -> bool:
        """Whether there is anything to roll out."""
        return bool(self._lanes)

    def refresh(self, weights: SharedWeights) -> None:
        """Takes over the newest weights, if they are newer."""
        if weights.version != self.policy.version:
            self.policy.load(*weights.fetch())

    def take_events(self) -> list[Event]:
        """Hands over what happened since the last call."""
        events, self._events = self._events, []
        return events

    def train(self, order: TrainOrder) -> None:
        """Changes the training mix; lanes of bodies that stay go on where they are."""
        old, self._lanes = self._lanes, []
        for spec in order.bodies:
            kept = next((lane for lane in old if lane.spec.body_id == spec.body_id), None)
            if kept is None:
                self._add(spec)
            else:
                old.remove(kept)
                self._lanes.append(kept)
        self._close(old)

    def _add(self, spec: BodySpec) -> None:
        """Adds a body to the mix, or reports why it cannot be."""
        try:
            self._lanes.append(self._keeper.open(spec, self._draw_seed(), training=True))
        except BodyError as error:
            self._events.append(BodyFailed(spec.body_id, str(error), self.index))

    def _close(self, lanes: Sequence[Lane]) -> None:
        """Frees simulators; one that fails at that is reported."""
        for lane in lanes:
            try:
                self._keeper.close(lane)
            except BodyError as error:
                self._events.append(BodyFailed(lane.spec.body_id, str(error), self.index))

    def _draw_seed(self) -> int:
        """A seed for an episode."""
        return int(self._rng.integers(_MAX_SEED))

    # --- training -----------------------------------------------------------------------------------------------

    def rollout(self) -> list[Segment]:
        """Rolls out one segment per body of the mix; bodies that fail are reported and leave the mix."""
        if not self._lanes:
            return []
        steps = self.config.experience.segment_length
        rows = Rows(self._lanes, self.policy)
        recording = Recording(steps, rows)
        for step in range(steps):
            self._advance(step, rows, recording)
        for row, trace in enumerate(recording.traces):
            if trace.open:
                rows.hand_back(row)
                if not trace.has_ended:
                    trace.end(*rows.observe_one(row))
        alive = [(row, lane) for row, lane in enumerate(self._lanes) if not recording.traces[row].failed]
        self._close([lane for row, lane in enumerate(self._lanes) if recording.traces[row].failed])
        self._lanes = [lane for _, lane in alive]
        version = self.policy.version
        return [recording.segment(row, lane, worker=self.index, version=version) for row, lane in alive]

    def _advance(self, step: int, rows: Rows, recording: Recording) -> None:
        """One control step of all lanes."""
        joints, globals_ = rows.observe()
        recording.joints[step], recording.globals[step] = joints, globals_
        actions, bias, rows.noise, log_prob = rows.code.sample(joints, globals_, rows.noise, self._rng)
        recording.actions[step], recording.noise_bias[step], recording.log_prob[step] = actions, bias, log_prob
        targets = rows.targets(actions)
        for row, trace in enumerate(recording.traces):
            if not trace.open:
                continue
            try:
                self._advance_lane(row, targets[row], rows, trace)
            except BodyError as error:
                trace.open, trace.failed = False, True
                self._events.append(BodyFailed(rows.lanes[row].spec.body_id, str(error), self.index))

    def _advance_lane(self, row: int, targets: np.ndarray, rows: Rows, trace: Trace) -> None:
        """One control step of one lane; at the end of an episode the next one starts.

        Raises:
            BodyError: if the body fails.
        """
        lane = rows.lanes[row]
        step = self._keeper.step(lane, targets[: lane.num_joints])
        trace.add(step, lane.running_return)
        if not (step.terminated or step.truncated):
            return
        trace.end(*rows.observe_one(row))
        trace.open = len(trace.last_rows) < self._layout.max_ends
        body_id, version = lane.spec.body_id, self.policy.version
        self._events.append(EpisodeReport(body_id, self.index, version, lane.steps, dict(step.info)))
        self._keeper.reset(lane, self._draw_seed(), training=True)
        rows.start(row)

    # --- evaluation ---------------------------------------------------------------------------------------------

    def evaluate(self, order: EvaluateOrder) -> EvaluationReport:
        """Runs full episodes with the mean action, some bodies side by side; training lanes stay as they are."""
        report = EvaluationReport(order.order_id, self.policy.version, {}, {}, 0)
        steps, width = 0, self.config.workers.evaluation_rows
        for start in range(0, len(order.bodies), width):
            steps += self._evaluate_some(order.bodies[start : start + width], order.seeds, report)
        return replace(report, steps=steps)

    def _evaluate_some(self, specs: Sequence[BodySpec], seeds: Sequence[int], report: EvaluationReport) -> int:
        """Evaluates bodies side by side, seed after seed; fills the report and returns the control steps."""
        lanes: dict[int, Lane] = {}
        steps = 0
        for seed in seeds:
            for spec in specs:
                if spec.body_id not in report.failed:
                    self._start_evaluation(spec, seed, lanes, report)
            for lane, outcome in self._episodes(list(lanes.values())):
                steps += lane.steps
                self._note(lane, outcome, lanes, report)
        self._close(list(lanes.values()))
        return steps

    def _start_evaluation(self, spec: BodySpec, seed: int, lanes: dict[int, Lane], report: EvaluationReport) -> None:
        """Starts an episode of a body in `lanes`, which is built if it is not there yet."""
        try:
            if spec.body_id in lanes:
                self._keeper.reset(lanes[spec.body_id], seed, training=False)
            else:
                lanes[spec.body_id] = self._keeper.open(spec, seed, training=False)
        except BodyError as error:
            lanes.pop(spec.body_id, None)
            report.failed[spec.body_id] = str(error)
            report.results.pop(spec.body_id, None)

    def _note(
        self, lane: Lane, outcome: dict[str, float] | BodyError, lanes: dict[int, Lane], report: EvaluationReport
    ) -> None:
        """Enters an episode's outcome into the report."""
        body_id = lane.spec.body_id
        if isinstance(outcome, BodyError):
            report.failed[body_id] = str(outcome)
            report.results.pop(body_id, None)
            self._close([lanes.pop(body_id)])
        else:
            report.results.setdefault(body_id, []).append(outcome)

    def _episodes(self, lanes: Sequence[Lane]) -> list[tuple[Lane, dict[str, float] | BodyError]]:
        """Runs one episode of each lane to its end; returns what the body said of it, or how it failed."""
        outcomes: dict[int, dict[str, float] | BodyError] = {}
        rows = Rows(lanes, self.policy) if lanes else None
        while rows is not None and len(outcomes) < len(lanes):
            targets = rows.targets(rows.code.mean(*rows.observe()))
            for row, lane in enumerate(lanes):
                if row in outcomes:
                    continue
                try:
                    step = self._keeper.step(lane, targets[row, : lane.num_joints])
                except BodyError as error:
                    outcomes[row] = error
                    continue
                if step.terminated or step.truncated:
                    outcomes[row] = dict(step.info)
        return [(lane, outcomes[row]) for row, lane in enumerate(lanes)]
