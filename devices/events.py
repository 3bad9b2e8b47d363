"""What the inventory tells the floors above it. Every event is published inside the writer's transaction."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """A device was updated; `fields` names the model fields whose value really changed."""

    device_id: UUID
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class GroupVariablesChanged:
    """The variables of a device group changed."""

    group_id: UUID


@dataclass(frozen=True, slots=True)
class OrganizationVariablesChanged:
    """The variables of an organization changed."""

    organization_id: UUID
