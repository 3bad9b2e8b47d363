"""What the engine needs to compute a configuration, read from the database in a fixed number of queries.

One configuration or a thousand cost the same six queries. Templates, groups and organizations are decrypted once
per batch and shared by all its devices, so the engine must not change what it is given (and does not).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from config_merge.engine import Effective, Layer, Source, VariableLayer, resolve
from config_merge.models import Config, ConfigTemplate, Template
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
    shared ones).
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

    def effective(self) -> Effective:
        """Merge and substitute; raises EngineError."""
        return resolve(
            backend=self.backend, layers=self.layers, variables=self.variables, hostname=self.hostname
        )

    def own(self) -> dict[str, Any]:
        """Return the device's own part of it, as a revision keeps it: what its configuration and templates were."""
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
) -> tuple[VariableLayer, ...]:
    """Return the variables of a device, weakest first (spec 2.5)."""
    layers = [VariableLayer(Source("identity", str(device.pk), device.name), identity_variables(device))]
    layers += [template_variables(template) for template in templates if template.default_values]
    if organization:
        name = device.organization.name
        layers.append(VariableLayer(Source("organization", str(device.organization_id), name), organization))
    if group is not None and group.context:
        layers.append(VariableLayer(Source("group", str(group.pk), group.name), group.context))
    if context:
        layers.append(VariableLayer(Source("device", str(device.pk), device.name), context))
    return tuple(layers)


def build(
    *,
    config: Config,
    device: Device,
    templates: Iterable[Template],
    organization: Mapping[str, Any],
    group: DeviceGroup | None,
) -> Inputs:
    """Assemble the inputs of one configuration; a deactivated device gets nothing but its name."""
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
            device=device, templates=templates, organization=organization, group=group, context=config.context
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

    def inputs(self) -> Inputs:
        """Return what the engine needs."""
        return build(
            config=self.config,
            device=self.device,
            templates=self.templates,
            organization=self.organization,
            group=self.group,
        )


def standings(configs: Iterable[Config]) -> list[Standing]:
    """Return the rows of `configs` (six queries in all). Configurations deleted meanwhile are left out."""
    configs = list(configs)
    devices = Device.objects.select_related("organization").in_bulk({config.device_id for config in configs})
    groups = DeviceGroup.objects.in_bulk({device.group_id for device in devices.values() if device.group_id})
    fleets = FleetSettings.objects.in_bulk({device.organization_id for device in devices.values()})
    assigned = assigned_templates([config.pk for config in configs])
    return [
        Standing(
            config=config,
            device=device,
            templates=tuple(assigned[config.pk]),
            organization=fleet.context if (fleet := fleets.get(device.organization_id)) else {},
            group=groups.get(device.group_id) if device.group_id else None,
        )
        for config in configs
        if (device := devices.get(config.device_id)) is not None
    ]


def load(configs: Iterable[Config]) -> list[Inputs]:
    """Return the inputs of `configs` (six queries in all). Configurations deleted meanwhile are left out."""
    return [standing.inputs() for standing in standings(configs)]
