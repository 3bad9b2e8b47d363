"""Whether devices really have what they applied (docs/link-protocol.md, *Drift*).

Invariant: `matches` and `differs` are said of what a device confirmed last, never of what it has yet to get; and of
a measure taken since then.
"""

from collections.abc import Mapping
from uuid import UUID

from django.db.models import Case, F, OuterRef, Subquery, Value, When
from django.db.models.expressions import Combinable

from config_merge.models import Config, ConfigRevision, Drift
from core.clock import now
from core.db import bulk_set, locked
from devices.events import DevicesMeasured
from devices.models import Device


def after_confirming(checksum: Combinable) -> Case:
    """Return the drift of a configuration whose device confirms `checksum`: of something new, nobody knows yet.

    It stands in the UPDATE that writes the new `applied_checksum` down.
    """
    return Case(When(applied_checksum=checksum, then=F("drift")), default=Value(Drift.UNKNOWN))


def on_measured(event: DevicesMeasured) -> None:
    """Write down what devices measured (subscriber)."""
    measured(event.digests)


def measured(digests: Mapping[UUID, str]) -> int:
    """Compare what devices measured with what they should have; returns how many configurations changed.

    Two statements whatever their number, one when nothing is new. Call it inside a transaction.
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
    for pk, device_id, actual, drift, wanted in found.values_list(*columns):
        digest = digests[device_id]
        verdict = _verdict(digest, wanted)
        if (digest, verdict) != (actual, drift):
            changed.append((pk, digest, verdict))
    bulk_set(Config, ["actual", "drift", "actual_at"], [(pk, [d, v, at]) for pk, d, v in changed])
    return len(changed)


def is_differing(device: Device) -> bool:
    """Tell whether a device has something else than it confirmed, as far as is known; reads its configuration."""
    config: Config | None = getattr(device, "config", None)
    return config is not None and config.drift == Drift.DIFFERS


def _verdict(digest: str, wanted: str | None) -> str:
    """Return the verdict; a revision from before digests, or none at all, cannot be compared with.

    >>> _verdict("ab", "ab"), _verdict("ab", "cd"), _verdict("ab", None)
    ('matches', 'differs', 'unknown')
    """
    if not wanted:
        return Drift.UNKNOWN.value
    return (Drift.MATCHES if digest == wanted else Drift.DIFFERS).value
