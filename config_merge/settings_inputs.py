"""What a configuration that comes from a site is made of, from as few columns as that takes.

A change of a site reaches all its devices at once, and most of them have no settings of their own: what is the same
for them is made once and shared, so that a device costs one row of one query.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from config_merge.engine import Layer, Level, Source, merge
from config_merge.engine.origins import EMPTY
from config_merge.made_of import Inputs
from config_merge.models import Config, Managed, Site
from config_merge.site_reading import NOTHING, reading_of, values_of


class Member(NamedTuple):
    """A device of a site, as far as its configuration is made of it."""

    config_id: UUID
    generation: int
    backend: str
    issue: int
    device_id: UUID
    hostname: str
    os: str
    organization_id: UUID
    is_off: bool
    site_id: UUID
    settings: Mapping[str, Any]
    inherits: bool
    is_suspended: bool
    is_retired: bool


COLUMNS = (
    "pk",
    "generation",
    "backend",
    "issue",
    "device_id",
    "device__name",
    "device__os",
    "device__organization_id",
    "device__is_deactivated",
    "device__place__site_id",
    "device__place__settings",
    "device__place__inherits",
    "device__place__is_suspended",
    "device__place__is_retired",
)


def members_load(config_ids: Collection[UUID]) -> list[Inputs]:
    """Return the inputs of those configurations that come from a site (two queries); the others are left out."""
    rows = Config.objects.filter(pk__in=config_ids, managed_by=Managed.SITE, device__place__isnull=False)
    members = [Member(*row) for row in rows.order_by().values_list(*COLUMNS)]
    sites = Site.objects.in_bulk({member.site_id for member in members}) if members else {}
    return [settings_inputs(each, sites[each.site_id]) for each in members if each.site_id in sites]


def settings_inputs(member: Member, site: Site) -> Inputs:
    """Return the inputs of a configuration that comes from a site; a deactivated device gets nothing."""
    read, off = reading_of(site), member.is_off
    bare = None if off or member.settings else read.bare(inherits=member.inherits)
    if bare is not None:
        merged, above, ours = bare.merged, bare.layers, NOTHING
    else:
        device = EMPTY if off else Level.of(member.settings)
        theirs = read.level if member.inherits and not off else EMPTY
        merged = merge(theirs, device, defaults={} if off else site.defaults)
        above, ours = read.layers(merged, theirs), values_of(device)
    return Inputs(
        config_id=member.config_id,
        generation=member.generation,
        backend=member.backend,
        os=member.os,
        hostname=member.hostname,
        layers=(*above, Layer(Source("device", str(member.device_id), member.hostname), ours)),
        variables=(),
        organization_id=member.organization_id,
        owners=frozenset((member.organization_id,)),
        merged=merged,
        bare=bare,
        is_held=member.is_suspended or member.is_retired,
        issue=member.issue,
    )
