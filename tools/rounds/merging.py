"""Merges the rounds of one object, in the main process only."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tools.rounds.errors import DamagedError
from tools.rounds.final import Source, write_final
from tools.rounds.journal import Journal
from tools.rounds.layout import dtype_to_json, row_dtype
from tools.rounds.parts import Parts
from tools.rounds.quota import Quota, Record
from tools.rounds.results import read_results
from tools.rounds.selection import Distinct, Filter

GROWTH = 1.5  # final.npz of an unfinished object is rewritten when it grows by half: the cost stays linear


def final_path(quota: Quota) -> Path:
    """Returns the file of an object's merged samples."""
    return quota.settings.folder / "final" / quota.object_code / "final.npz"


def parts_of(quota: Quota) -> Parts:
    """Returns the growing arrays of an object."""
    return Parts(final_path(quota).parent / "parts")


class Merger:
    """The merged samples of one object."""

    def __init__(self, quota: Quota, journal: Journal):
        """Takes up what earlier runs merged; the journal has said how much that is."""
        settings = quota.settings
        self._quota, self._journal = quota, journal
        self._final, self._parts = final_path(quota), parts_of(quota)
        self._filters = [Filter.parse(text) for text in settings.filter]
        self._distinct = Distinct(settings.min_distance) if settings.min_distance else None
        self._written = 0
        if quota.ended and quota.status == "done":
            self._parts.delete()
            return
        self._parts.cut(quota.layout)
        if self._distinct and quota.count:
            self._distinct.add(self._parts.read("samples", quota.layout))

    def merge(self, record: Record, fields: Mapping[str, np.ndarray] | None = None) -> None:
        """Merges the next round; on return the journal knows.

        Args:
            record: its record, which becomes the journal's line.
            fields: its results; read from disk by default.

        Raises:
            ResultError: they cannot be used, or do not fit to the rounds before; nothing has changed.
        """
        quota = self._quota
        if fields is None:
            fields = read_results(quota.round(record["round_id"]).results, quota.object_code)
        kept, counts = self._select(fields)
        kept["meta.round_id"] = np.full(len(kept["samples"]), record["round_id"], dtype="<i4")
        new = {name: row_dtype(array) for name, array in kept.items() if name not in quota.layout.dtypes}
        missing = sorted(set(quota.layout.dtypes) - set(kept))
        self._parts.append(quota.layout, kept, new)
        fields_json = {name: dtype_to_json(dtype) for name, dtype in new.items()}
        merged = {"status": "merged", "merged": True, "total": quota.count + len(kept["samples"]), **counts}
        record |= {**merged, "missing": missing, "fields": fields_json}
        self._journal.append(record)
        quota.settle(record)
        if self._distinct:
            self._distinct.add(kept["samples"])

    def _select(self, fields: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Checks a round's samples and returns those to keep, and how many fell to what."""
        self._quota.layout.check(fields)
        good = np.ones(len(fields["samples"]), dtype=bool)
        for condition in self._filters:
            good &= condition.keep(fields)
        chosen = np.flatnonzero(good)
        if self._distinct and len(chosen):
            chosen = chosen[self._distinct.keep(fields["samples"][chosen])]
        counts = {"kept": len(chosen), "filtered": int((~good).sum()), "duplicates": int(good.sum()) - len(chosen)}
        return {name: array[chosen] for name, array in fields.items()}, counts

    def write(self, *, always: bool = True) -> None:
        """Writes `final.npz`: the first samples up to the target."""
        quota = self._quota
        num_rows = min(quota.count, quota.target)
        if not num_rows or num_rows == self._written or not (always or num_rows >= GROWTH * self._written):
            return
        first = quota.round(0)
        source = Source(first.name.removesuffix("0"), first.seed, quota.merged_rounds[-1])
        write_final(self._final, self._parts, quota.layout, num_rows, source)
        self._written = num_rows

    def drop_parts(self) -> None:
        """Deletes the growing arrays; `final.npz` holds all that counts."""
        self._parts.delete()


def check_final(path: Path, num_rows: int) -> None:
    """Checks that a finished object's file is there and has its samples.

    Raises:
        DamagedError: it is missing, damaged or has another number of samples.
    """
    try:
        with np.load(path) as archive:
            found = len(archive["meta"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedError(f"{path} is missing or damaged: {error}") from error
    if found != num_rows:
        raise DamagedError(f"{path} has {found} samples instead of {num_rows}")
