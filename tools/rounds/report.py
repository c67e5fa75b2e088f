"""What a person sees: progress, closing table, status, dry run."""

import logging
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import timedelta

from tqdm import tqdm

from tools.rounds.plan import Round
from tools.rounds.quota import DONE, Quota
from tools.rounds.settings import Settings

LINE_S = 10.0
logger = logging.getLogger(__name__)


class Progress:
    """Samples of all objects against their targets: a bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, quotas: Sequence[Quota]):
        """Starts with what is merged already."""
        self._quotas = quotas
        self._begun, self._first = time.monotonic(), _num_merged(quotas)
        self._next_line = self._begun + LINE_S
        total = sum(quota.target for quota in quotas)
        size = shutil.get_terminal_size()  # some terminals say 0, in which tqdm would show nothing
        shape = {"ncols": size.columns, "nrows": size.lines, "disable": not sys.stderr.isatty()}
        self._bar = tqdm(total=total, initial=self._first, unit="sample", **shape)

    def show(self) -> None:
        """Shows the state of now."""
        self._bar.n = _num_merged(self._quotas)
        failed = sum(quota.num_failures for quota in self._quotas)
        running = sum(len(quota.running) for quota in self._quotas)
        self._bar.set_postfix(running=running, failed=failed, refresh=False)
        self._bar.update(0)
        if self._bar.disable and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + LINE_S
            total = sum(quota.target for quota in self._quotas)
            done = _num_merged(self._quotas)
            logger.info(
                "%d of %d samples, %d rounds running, %d failed, ETA %s", done, total, running, failed, self._eta()
            )

    def _eta(self) -> str:
        done = _num_merged(self._quotas)
        rate = (done - self._first) / (time.monotonic() - self._begun)
        return _clock((sum(quota.target for quota in self._quotas) - done) / rate) if rate else "unknown"

    def close(self) -> None:
        """Leaves the bar as it is."""
        self.show()
        self._bar.refresh()
        self._bar.close()


def _num_merged(quotas: Sequence[Quota]) -> int:
    return sum(min(quota.count, quota.target) for quota in quotas)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def table(quotas: Sequence[Quota]) -> str:
    """Returns one line per object and a total."""
    heads = ("object", "status", "samples", "merged", "skipped", "failures", "s/round")
    rows = [heads, *(_row(quota) for quota in quotas)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [_line(row, widths) for row in rows]
    reasons = [
        f"{quota.object_code}: {quota.ended['reason']}" for quota in quotas if quota.ended and quota.ended["reason"]
    ]
    done = sum(quota.status == DONE for quota in quotas)
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *reasons, f"{done} of {len(quotas)} objects are done"])


def _row(quota: Quota) -> tuple[str, ...]:
    samples = f"{min(quota.count, quota.target)}/{quota.target}"
    mean = f"{quota.round_seconds / quota.num_finished:.2f}" if quota.num_finished else "-"
    numbers = (len(quota.merged_rounds), len(quota.skipped_rounds), quota.num_failures)
    return (quota.object_code, quota.status, samples, *map(str, numbers), mean)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    left = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
    return "  ".join([*left, *(text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True))])


def status(settings: Settings, quotas: Sequence[Quota], holder: int | None) -> str:
    """Returns how an experiment stands, and when it will be done."""
    head = f"{settings.folder}: " + (f"run by process {holder}" if holder else "nobody runs it")
    left = sum(num_rounds(quota) for quota in quotas)
    seconds = sum(quota.round_seconds for quota in quotas)
    finished = sum(quota.num_finished for quota in quotas)
    foot = f"about {left} rounds left"
    if finished and left:
        foot += f", {_clock(left * seconds / finished / len(settings.slots))} on {len(settings.slots)} slots"
    return f"{head}\n{table(quotas)}\n{foot}"


def num_rounds(quota: Quota) -> int:
    """Returns how many more rounds an object is expected to need."""
    if quota.status == DONE:
        return 0
    return -(-max(0, quota.target - quota.count) // max(1, round(quota.expected_yield())))


def plan(settings: Settings, quotas: Sequence[Quota]) -> str:
    """Returns what a run would do, and the disk that it needs."""
    rounds = [num_rounds(quota) for quota in quotas]
    lines = [f"{settings.folder}: {len(quotas)} objects, {settings.target_count_per_object} samples each"]
    for quota, num in zip(quotas, rounds, strict=True):
        first = quota.round(quota.next_new)
        last = quota.round(quota.next_new + max(0, num - 1))
        seeds = f", {first.name} (seed {first.seed}) to r{last.round_id} (seed {last.seed})" if num else ""
        lines.append(f"  {quota.object_code}: {quota.count} samples there, {num} rounds{seeds}")
    lines.append(f"slots: {', '.join(settings.slots)}, one program at a time on each; {sum(rounds)} rounds in all")
    if to_run := [quota for quota, num in zip(quotas, rounds, strict=True) if num]:
        example: Round = to_run[0].round(to_run[0].next_new)
        lines.append(f"first command: {example.command(settings.slots[0])}")
    lines.append(_disk(settings, quotas, rounds))
    return "\n".join(lines)


def _disk(settings: Settings, quotas: Sequence[Quota], rounds: Sequence[int]) -> str:
    """Says how much disk the rounds take until their object is done; `final.npz` takes up to as much as the results."""
    free = shutil.disk_usage(
        next(path for path in [settings.folder, *settings.folder.absolute().parents] if path.exists())
    )
    finished = sum(quota.num_finished for quota in quotas)
    mb_free = f"{free.free / 1e6:.0f} MB are free"
    if settings.round_mb is None and not finished:
        return f"disk: no round has been measured yet (run one with --max_rounds 1, or give --round_mb); {mb_free}"
    measured = sum(quota.round_bytes for quota in quotas) / finished / 1e6 if finished else 0.0
    each = measured if settings.round_mb is None else settings.round_mb
    source = "measured" if settings.round_mb is None else "as given"
    return f"disk: {sum(rounds)} rounds of {each:.3g} MB ({source}) = {sum(rounds) * each:.3g} MB; {mb_free}"
