"""One object's way to its target: which round runs next, which one is merged next. No files, no processes.

Rounds are merged in the order of their numbers, whatever the order in which they end; so the merged samples depend on
nothing but the rounds themselves.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tools.rounds.layout import Layout, dtype_from_json
from tools.rounds.plan import Round
from tools.rounds.settings import Settings

Record = dict[str, Any]
DONE, GIVEN_UP, OUT_OF_ROUNDS = "done", "given up", "out of rounds"


class Quota:
    """The state of one object.

    Attributes:
        layout: fields and number of merged samples.
        next_merge: number of the round that is merged, or passed over, next.
        next_new: number of the first round that never ran.
        running: records of rounds that run now.
        troubled: records of rounds that failed or were cut, and are to run again.
        waiting: records of rounds that wait for their turn to be merged (or, skipped ones, to be passed over).
        barren: settled rounds in a row that gave no sample.
        ended: the journal's line about the object's end.
        merged_rounds: numbers of merged rounds.
        skipped_rounds: numbers of rounds that failed too often.
        num_failures: failed attempts.
        num_finished: rounds that ended well.
        round_seconds: sum of the wall time of finished rounds.
        round_bytes: sum of the disk space of finished rounds.
    """

    def __init__(self, settings: Settings, index: int):
        """Starts with nothing done."""
        self.settings, self.index = settings, index
        self.layout = Layout()
        self.next_merge = self.next_new = self.barren = 0
        self.running: dict[int, Record] = {}
        self.troubled: dict[int, Record] = {}
        self.waiting: dict[int, Record] = {}
        self.ended: Record | None = None
        self.merged_rounds: list[int] = []
        self.skipped_rounds: list[int] = []
        self.num_failures = 0
        self.num_finished, self.round_seconds, self.round_bytes = 0, 0.0, 0

    @property
    def object_code(self) -> str:
        """Name of the object."""
        return self.settings.object_code_list[self.index]

    @property
    def count(self) -> int:
        """Merged samples, those beyond the target included."""
        return self.layout.count

    @property
    def target(self) -> int:
        """Samples to be reached."""
        return self.settings.target_count_per_object

    @property
    def status(self) -> str:
        """What a reader wants to know first: open, done, given up or out of rounds."""
        return self.ended["status"] if self.ended else "open"

    def round(self, round_id: int) -> Round:
        """Returns one of its rounds."""
        return Round(self.settings, self.index, round_id)

    # Which round runs next.
    def next_round(self) -> int | None:
        """Returns the number of the round to start now, None if there is none.

        No more rounds run at a time than the target is expected to need, at the yield of the rounds so far.
        """
        if self.ended:
            return None
        if self.troubled:
            return min(self.troubled)
        on_the_way = len(self.running) + sum(record["status"] == "finished" for record in self.waiting.values())
        enough = self.count + on_the_way * self.expected_yield() >= self.target
        return None if enough or self.next_new >= self.settings.max_rounds else self.next_new

    def expected_yield(self) -> float:
        """Returns how many samples a round is expected to give."""
        mean = self.count / len(self.merged_rounds) if self.merged_rounds else 0.0
        return mean or float(self.settings.round_batch_size)

    def begin(self, round_id: int) -> Record:
        """Marks a round as running and returns its record."""
        record = self.troubled.pop(round_id, None) or self._new_record(round_id)
        self.running[round_id] = record
        self.next_new = max(self.next_new, round_id + 1)
        return record

    def _new_record(self, round_id: int) -> Record:
        planned = self.round(round_id)
        return {
            "kind": "round",
            "status": "running",
            "object_code": self.object_code,
            "object_index": self.index,
            "round_id": round_id,
            "seed": planned.seed,
            "name": planned.name,
            "path": str(planned.results),
            "merged": False,
            "failures": [],
        }

    def take_up_cut_rounds(self) -> None:
        """Lets rounds run again of which nothing is known but that later ones ran: a killed runner cut them."""
        for round_id in range(self.next_merge, self.next_new):
            if round_id not in self.waiting and round_id not in self.troubled:
                self.troubled[round_id] = self._new_record(round_id)

    # What a round comes to.
    def finish(self, record: Record, facts: Mapping[str, Any]) -> None:
        """Notes that a round ended well."""
        self.running.pop(record["round_id"], None)
        record |= {"status": "finished", **facts}
        self._sum_up(record)
        self.waiting[record["round_id"]] = record

    def _sum_up(self, record: Record, sign: int = 1) -> None:
        self.num_finished += sign
        self.round_seconds += sign * record["wall_s"]
        self.round_bytes += sign * record["bytes"]

    def _count(self, record: Record) -> None:
        """Counts a record of an earlier run in."""
        self.num_failures += len(record["failures"])
        if record["status"] == "skipped":
            self.skipped_rounds.append(record["round_id"])
        if record["status"] in ("finished", "merged"):
            self._sum_up(record)

    def fail(self, record: Record, failure: Mapping[str, Any]) -> None:
        """Notes a failed attempt: the round runs again, or is skipped after too many."""
        round_id = record["round_id"]
        self.running.pop(round_id, None)
        self.waiting.pop(round_id, None)
        if record["status"] == "finished":  # well ended, but it could not be merged
            self._sum_up(record, -1)
        record["failures"] = [*record["failures"], dict(failure)]
        self.num_failures += 1
        again = len(record["failures"]) <= self.settings.retries
        record["status"] = "failed" if again else "skipped"
        (self.troubled if again else self.waiting)[round_id] = record
        if not again:
            self.skipped_rounds.append(round_id)

    # What is merged next.
    def ready(self) -> list[Record]:
        """Returns the waiting records whose turn it is, in order."""
        found: list[Record] = []
        while (record := self.waiting.get(self.next_merge + len(found))) is not None:
            found.append(record)
        return found

    def due(self) -> list[Record]:
        """Returns what is ready if it is a stride or nothing else is on its way; else nothing."""
        ready = [] if self.ended else self.ready()
        idle = not self.running and self.next_round() is None
        return ready if idle or len(ready) >= self.settings.merge_stride else []

    def settle(self, record: Record) -> None:
        """Takes the next record off the waiting ones: merged, with `kept`, `fields` and `missing` in it, or skipped."""
        kept = 0
        if record["status"] == "merged":
            kept = record["kept"]
            new = {name: dtype_from_json(value) for name, value in record["fields"].items()}
            self.layout.add(new, record["missing"], kept)
            self.merged_rounds.append(record["round_id"])
        self.waiting.pop(record["round_id"], None)
        self.next_merge = record["round_id"] + 1
        self.barren = 0 if kept else self.barren + 1

    def verdict(self) -> tuple[str, str] | None:
        """Returns status and reason if the object has come to its end, else None."""
        if self.ended:
            return None
        if self.count >= self.target:
            return DONE, ""
        if self.barren >= self.settings.give_up_after:
            return GIVEN_UP, f"{self.barren} rounds in a row gave no sample"
        if not (self.running or self.troubled or self.ready()) and self.next_new >= self.settings.max_rounds:
            return OUT_OF_ROUNDS, f"max_rounds of {self.settings.max_rounds} reached"
        return None


def replay(settings: Settings, lines: Iterable[Mapping[str, Any]]) -> list[Quota]:
    """Returns the state that the journal's lines lead to, for every object of the experiment."""
    quotas = [Quota(settings, index) for index in range(len(settings.object_code_list))]
    by_code = {quota.object_code: quota for quota in quotas}
    for line in lines:
        if line["kind"] == "round":
            _replay_round(by_code[line["object_code"]], dict(line))
        elif line["kind"] == "object":
            by_code[line["object_code"]].ended = dict(line)
    for quota in quotas:
        for record in _open_records(quota):
            quota._count(record)
        _pass_skipped(quota)
        quota.take_up_cut_rounds()
    return quotas


def _open_records(quota: Quota) -> list[Record]:
    return [*quota.troubled.values(), *(record for record in quota.waiting.values() if record["status"] == "finished")]


def _pass_skipped(quota: Quota) -> None:
    while (ready := quota.ready()) and ready[0]["status"] == "skipped":
        quota.settle(ready[0])


def _replay_round(quota: Quota, record: Record) -> None:
    round_id, status = record["round_id"], record["status"]
    quota.next_new = max(quota.next_new, round_id + 1)
    quota.troubled.pop(round_id, None)
    quota.waiting.pop(round_id, None)
    if status == "failed":
        quota.troubled[round_id] = record
    elif status in ("finished", "skipped"):
        quota.waiting[round_id] = record
    if status in ("merged", "skipped", "surplus"):
        quota._count(record)
    if status == "merged":
        _pass_skipped(quota)
        quota.settle(record)
