"""What the engine needs to compute a configuration, read from the database in a fixed number of queries.

One configuration or a thousand cost the same queries. Templates, groups and organizations are decrypted once
per batch and shared by all its devices, so the engine must not change what it is given (and does not).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from config_merge.engine import Layer, Source, VariableLayer
from config_merge.made_of import Guest as Guest
from config_merge.made_of import Inputs as Inputs
from config_merge.models import Config, ConfigTemplate, Managed, Site, SiteDevice, Template
from config_merge.settings_inputs import Member, members_load, settings_inputs
from devices.models import Device, DeviceGroup, FleetSettings

SYSTEM = "system"
# What nothing that is made of a device's row needs, and takes long to read.
DEVICE_UNREAD = ("notes", "created", "modified", "last_seen", "unlinked_at", "last_ip", "management_ip")
CONFIG_UNREAD = (
    "created",
    "modified",
    "actual",
    "actual_at",
    "drift",
    "device_created",
    "organization_id",
    "error_reason",
)


def identity_variables(device: Device) -> dict[str, str]:
    """Return the variables every device has by itself."""
    values = {
        "id": str(device.pk),
        "key": device.key,
        "name": device.name,
        "mac_address": device.mac_address,
    }
    if device.hardware_id:
        values["hardware_id"] = device.hardware_id
    return values


def template_layer(template: Template) -> Layer:
    """Return a template's place in the fold."""
    return Layer(source=Source("template", str(template.pk), template.name), config=template.config)


def template_variables(template: Template) -> VariableLayer:
    """Return a template's default values."""
    return VariableLayer(
        source=Source("template", str(template.pk), template.name), values=template.default_values
    )


def variable_layers(
    *,
    device: Device,
    templates: Iterable[Template],
    organization: Mapping[str, Any],
    group: DeviceGroup | None,
    context: Mapping[str, Any],
    site: Site | None = None,
) -> tuple[VariableLayer, ...]:
    """Return the variables of a device, weakest first (spec 2.5)."""
    layers = [VariableLayer(Source("identity", str(device.pk), device.name), identity_variables(device))]
    layers += [template_variables(template) for template in templates if template.default_values]
    if organization:
        name = device.organization.name
        layers.append(VariableLayer(Source("organization", str(device.organization_id), name), organization))
    if site is not None and site.context:
        layers.append(VariableLayer(Source("site", str(site.pk), site.name), site.context))
    if group is not None and group.context:
        layers.append(VariableLayer(Source("group", str(group.pk), group.name), group.context))
    if context:
        layers.append(VariableLayer(Source("device", str(device.pk), device.name), context))
    return tuple(layers)


def _member(config: Config, device: Device, place: SiteDevice) -> Member:
    return Member(
        config_id=config.pk,
        generation=config.generation,
        backend=config.backend,
        issue=config.issue,
        device_id=device.pk,
        hostname=device.name,
        os=device.os,
        organization_id=device.organization_id,
        is_off=device.is_deactivated,
        site_id=place.site_id,
        settings=place.settings,
        inherits=place.inherits,
        is_suspended=place.is_suspended,
        is_retired=place.is_retired,
    )


def build(
    *,
    config: Config,
    device: Device,
    templates: Iterable[Template],
    organization: Mapping[str, Any],
    group: DeviceGroup | None,
    place: SiteDevice | None = None,
) -> Inputs:
    """Assemble the inputs of one configuration; a deactivated device gets nothing but its name."""
    if config.managed_by == Managed.SITE and place is not None:
        return settings_inputs(_member(config, device, place), place.site)
    templates = () if device.is_deactivated else tuple(templates)
    own = {} if device.is_deactivated else config.config
    layers = [template_layer(template) for template in templates]
    layers.append(Layer(source=Source("device", str(device.pk), device.name), config=own))
    owners = {device.organization_id} | ({group.organization_id} if group is not None else set())
    return Inputs(
        config_id=config.pk,
        generation=config.generation,
        backend=config.backend,
        os=device.os,
        hostname=device.name,
        layers=tuple(layers),
        variables=variable_layers(
            device=device,
            templates=templates,
            organization=organization,
            group=group,
            context=config.context,
            site=place.site if place is not None else None,
        ),
        organization_id=device.organization_id,
        owners=frozenset(owners),
        guests=tuple(
            Guest(template.organization_id, template.config, template.default_values)
            for template in templates
            if template.organization_id != device.organization_id
        ),
        issue=config.issue,
    )


def assigned_templates(config_ids: Iterable[UUID]) -> dict[UUID, list[Template]]:
    """Return the templates of each configuration, in merge order (two queries)."""
    rows = list(
        ConfigTemplate.objects.filter(config_id__in=list(config_ids))
        .order_by("config_id", "position", "pk")
        .values_list("config_id", "template_id")
    )
    templates = Template.objects.in_bulk({template_id for _, template_id in rows})
    assigned: dict[UUID, list[Template]] = defaultdict(list)
    for config_id, template_id in rows:
        if template_id in templates:
            assigned[config_id].append(templates[template_id])
    return assigned


@dataclass(frozen=True, slots=True)
class Standing:
    """The rows one configuration is made of; a proposal replaces some of them and is computed like the stored ones."""

    config: Config
    device: Device
    templates: tuple[Template, ...]
    organization: Mapping[str, Any] = field(repr=False)
    group: DeviceGroup | None
    place: SiteDevice | None = None

    def inputs(self) -> Inputs:
        """Return what the engine needs."""
        return build(
            config=self.config,
            device=self.device,
            templates=self.templates,
            organization=self.organization,
            group=self.group,
            place=self.place,
        )


def places_of(devices: Iterable[Device]) -> dict[UUID, SiteDevice]:
    """Return the places of devices loaded with theirs, each with its site, which all places of it share.

    One query; none when no device is in a site.
    """
    places = {device.pk: device.place for device in devices if hasattr(device, "place")}
    sites = Site.objects.in_bulk({place.site_id for place in places.values()}) if places else {}
    return {
        device_id: _at(place, sites[place.site_id])
        for device_id, place in places.items()
        if place.site_id in sites
    }


def _at(place: SiteDevice, site: Site) -> SiteDevice:
    place.site = site
    return place


def standings(configs: Iterable[Config]) -> list[Standing]:
    """Return the rows of `configs` (seven queries in all at most). Those deleted meanwhile are left out."""
    configs = list(configs)
    if not configs:
        return []
    known = Device.objects.select_related("place").defer(*DEVICE_UNREAD)
    devices = known.in_bulk({config.device_id for config in configs})
    groups = DeviceGroup.objects.in_bulk({device.group_id for device in devices.values() if device.group_id})
    # Every organization has its row here: once for all its devices, where a join would build it for each of them.
    fleets = FleetSettings.objects.select_related("organization").in_bulk(
        {device.organization_id for device in devices.values()}
    )
    for each in devices.values():
        if each.organization_id in fleets:
            each.organization = fleets[each.organization_id].organization
    assigned = assigned_templates([config.pk for config in configs])
    places = places_of(devices.values())
    return [
        Standing(
            config=config,
            device=device,
            templates=tuple(assigned[config.pk]),
            organization=fleet.context if (fleet := fleets.get(device.organization_id)) else {},
            group=groups.get(device.group_id) if device.group_id else None,
            place=places.get(config.device_id),
        )
        for config in configs
        if (device := devices.get(config.device_id)) is not None
    ]


def load(configs: Iterable[Config]) -> list[Inputs]:
    """Return the inputs of `configs` (seven queries in all at most). Those deleted meanwhile are left out."""
    return [standing.inputs() for standing in standings(configs)]


def load_stored(config_ids: Collection[UUID]) -> list[Inputs]:
    """Return the inputs of configurations as they are stored (ten queries in all at most), in no particular order."""
    stored = Config.objects.filter(pk__in=config_ids).defer(*CONFIG_UNREAD).order_by()
    found = load(stored.exclude(managed_by=Managed.SITE))
    if rest := set(config_ids) - {item.config_id for item in found}:
        found += members_load(rest)
    if rest := rest - {item.config_id for item in found}:
        # Managed by a site, and in none.
        found += load(stored.filter(pk__in=rest))
    return found
