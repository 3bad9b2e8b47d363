"""What the engine needs to compute a configuration, read from the database in a fixed number of queries.

One configuration or a thousand cost the same seven queries. Templates, groups and organizations are decrypted once
per batch and shared by all its devices, so the engine must not change what it is given (and does not).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from config_merge.engine import (
    Artefact,
    Effective,
    Layer,
    Level,
    Merged,
    Source,
    VariableLayer,
    merge,
    render,
    resolve,
    settings_artefact,
    settings_effective,
    validate,
)
from config_merge.engine.origins import EMPTY
from config_merge.models import Config, ConfigTemplate, Managed, Site, SiteDevice, Template
from devices.models import Device, DeviceGroup, FleetSettings

SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Guest:
    """What a template of another organization than the device's brings along."""

    organization_id: UUID | None
    config: Mapping[str, Any] = field(repr=False)
    default_values: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything one configuration is made of; the engine's arguments, and the model of the operating system.

    `owners` are the organizations of the device and its group, `guests` the templates that belong to others (None:
    shared ones), `merged` the settings where they come from a site. `is_held` says that the device keeps what it has.
    """

    config_id: UUID
    generation: int
    backend: str
    os: str
    hostname: str
    layers: tuple[Layer, ...]
    variables: tuple[VariableLayer, ...]
    organization_id: UUID | None = None
    owners: frozenset[UUID] = frozenset()
    guests: tuple["Guest", ...] = ()
    merged: Merged | None = field(default=None, repr=False)
    is_held: bool = False

    def effective(self) -> Effective:
        """Merge and substitute; raises EngineError."""
        if self.merged is not None:
            sources = {layer.source.layer: layer.source for layer in self.layers}
            return settings_effective(self.merged, backend=self.backend, sources=sources)
        return resolve(
            backend=self.backend, layers=self.layers, variables=self.variables, hostname=self.hostname
        )

    def artefact(self, effective: Effective | None = None) -> Artefact:
        """Return what the device downloads; `effective` saves merging again. Raises EngineError."""
        if self.merged is not None:
            return settings_artefact(self.merged)
        tree = (effective or self.effective()).tree
        return render(backend=self.backend, tree=tree, os=self.os)

    def check(self) -> None:
        """Refuse what the device could not be given. Raises EngineError."""
        effective = self.effective()
        if self.merged is None:
            validate(backend=self.backend, tree=effective.tree)
        # The schema does not know everything the renderer refuses (an IPv4 mask of 99, for one).
        self.artefact(effective)

    def own(self) -> dict[str, Any]:
        """Return the device's own part of it, as a revision keeps it: what its configuration and templates were."""
        if self.merged is not None:
            settings = {
                key: {
                    "value": list(entry.value) if isinstance(entry.value, tuple) else entry.value,
                    "origin": entry.origin,
                }
                for key, entry in self.merged.device.entries.items()
            }
            return {
                "backend": self.backend,
                "settings": settings,
                "config": {},
                "context": {},
                "templates": [],
            }
        last = self.variables[-1]
        return {
            "backend": self.backend,
            "config": self.layers[-1].config,
            "context": last.values if last.source.layer == "device" else {},
            "templates": [
                [layer.source.object_id, layer.source.name]
                for layer in self.layers
                if layer.source.layer == "template"
            ],
        }


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


def site_level(site: Site) -> Level:
    """Return a site's settings as the merge wants them, read once for all devices that share the object."""
    kept = vars(site).get("_muster_level")
    if kept is None or kept[0] is not site.settings:
        kept = site.__dict__["_muster_level"] = (site.settings, Level.of(site.settings))
    level: Level = kept[1]
    return level


def _settings_build(config: Config, device: Device, place: SiteDevice) -> Inputs:
    """Assemble the inputs of a configuration that comes from a site; a deactivated device gets nothing."""
    site = place.site
    off = device.is_deactivated
    theirs = EMPTY if off or not place.inherits else site_level(site)
    ours = EMPTY if off else Level.of(place.settings)
    merged = merge(theirs, ours, defaults={} if off else site.defaults)
    levels: tuple[tuple[Source, Mapping[str, Any]], ...] = (
        (Source("default", str(site.pk), f"Defaults of {site.name}"), merged.defaults),
        (Source("site", str(site.pk), site.name), _values(theirs)),
        (Source("device", str(device.pk), device.name), _values(ours)),
    )
    return Inputs(
        config_id=config.pk,
        generation=config.generation,
        backend=config.backend,
        os=device.os,
        hostname=device.name,
        layers=tuple(Layer(source=source, config=values) for source, values in levels),
        variables=(),
        organization_id=device.organization_id,
        owners=frozenset({device.organization_id}),
        merged=merged,
        is_held=place.is_suspended or place.is_retired,
    )


def _values(level: Level) -> dict[str, Any]:
    return {key: entry.value for key, entry in level.entries.items() if entry.value is not None}


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
        return _settings_build(config, device, place)
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
    known = Device.objects.select_related("organization", "place")
    devices = known.in_bulk({config.device_id for config in configs})
    groups = DeviceGroup.objects.in_bulk({device.group_id for device in devices.values() if device.group_id})
    fleets = FleetSettings.objects.in_bulk({device.organization_id for device in devices.values()})
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
