"""What `manifest.json` says about an experiment; pure. The journal adds the settled rounds."""

from collections.abc import Sequence
from typing import Any

from tools.rounds.journal import now
from tools.rounds.merging import final_path
from tools.rounds.plan import seed_of
from tools.rounds.quota import Quota, Record
from tools.rounds.settings import Settings


def manifest(settings: Settings, quotas: Sequence[Quota]) -> dict[str, Any]:
    """Returns all of the manifest but the settled rounds; `rounds` are those in work."""
    return {
        "exp_name": settings.exp_name,
        "updated": now(),
        "settings": settings.to_dict(),
        "objects": {quota.object_code: _object(quota) for quota in quotas},
        "rounds": [record for quota in quotas for record in _open_rounds(quota)],
    }


def _open_rounds(quota: Quota) -> list[Record]:
    records = [*quota.running.values(), *quota.troubled.values(), *quota.waiting.values()]
    return [record for record in records if record["status"] != "skipped"]


def _object(quota: Quota) -> dict[str, Any]:
    seed_base = quota.settings.seed_base
    return {
        "object_index": quota.index,
        "target": quota.target,
        "count": min(quota.count, quota.target),
        "status": quota.status,
        "merged_rounds": quota.merged_rounds,
        "seeds": [seed_of(seed_base, quota.index, round_id) for round_id in quota.merged_rounds],
        "skipped_rounds": quota.skipped_rounds,
        "failures": quota.num_failures,
        "final": str(final_path(quota)) if quota.count else None,
        "ended": quota.ended,
    }
