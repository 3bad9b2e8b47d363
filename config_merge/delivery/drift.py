"""Whether devices really have what they applied (docs/link-protocol.md, *Drift*).

Invariant: `matches` and `differs` are said of what a device confirmed last, never of what it has yet to get.
"""

from collections.abc import Mapping
from uuid import UUID

from django.db.models import OuterRef, Subquery

from config_merge.models import Config, ConfigRevision, Drift, SiteDevice
from core.clock import now
from core.db import bulk_set, locked
from devices.events import DevicesMeasured


def on_measured(event: DevicesMeasured) -> None:
    """Write down what devices measured (subscriber)."""
    measured(event.digests)


def measured(digests: Mapping[UUID, str]) -> int:
    """Compare what devices measured with what they should have; returns how many configurations changed.

    Three statements whatever their number, two when nothing is new. Call it inside a transaction.
    """
    if not digests:
        return 0
    held = ConfigRevision.objects.filter(
        config_id=OuterRef("pk"), checksum=OuterRef("applied_checksum")
    ).order_by("-number")
    rows = locked(Config.objects.filter(device_id__in=list(digests)).order_by("pk"))
    found = rows.annotate(wanted=Subquery(held.values("digest")[:1]))
    columns = ("pk", "device_id", "actual", "drift", "wanted")
    at = now()
    changed: list[tuple[UUID, str, str]] = []
    differing: dict[bool, list[UUID]] = {True: [], False: []}
    for pk, device_id, actual, drift, wanted in found.values_list(*columns):
        digest = digests[device_id]
        verdict = _verdict(digest, wanted)
        if (digest, verdict) != (actual, drift):
            changed.append((pk, digest, verdict))
            differing[verdict == Drift.DIFFERS].append(device_id)
    bulk_set(Config, ["actual", "drift", "actual_at"], [(pk, [d, v, at]) for pk, d, v in changed])
    for is_differing, device_ids in differing.items():
        places = SiteDevice.objects.filter(device_id__in=device_ids, needs_resync=not is_differing)
        if device_ids:
            places.update(needs_resync=is_differing)
    return len(changed)


def _verdict(digest: str, wanted: str | None) -> str:
    """Return the verdict; a revision from before digests, or none at all, cannot be compared with.

    >>> _verdict("ab", "ab"), _verdict("ab", "cd"), _verdict("ab", None)
    ('matches', 'differs', 'unknown')
    """
    if not wanted:
        return Drift.UNKNOWN.value
    return (Drift.MATCHES if digest == wanted else Drift.DIFFERS).value
