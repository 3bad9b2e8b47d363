"""What the inventory tells the floors above it. Every event is published inside the writer's transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class DevicesChanged:
    """Devices were updated; `fields` names, by device, the model fields whose value really changed."""

    fields: Mapping[UUID, frozenset[str]]


@dataclass(frozen=True, slots=True)
class GroupVariablesChanged:
    """The variables of a device group changed."""

    group_id: UUID


@dataclass(frozen=True, slots=True)
class OrganizationVariablesChanged:
    """The variables of an organization changed."""

    organization_id: UUID


@dataclass(frozen=True, slots=True)
class Opening:
    """One device's `hello`: who it is, and what it says of its configuration (docs/link-protocol.md).

    `applied` is a checksum or empty, `busy` the task it works on, `actual` the digest of what is on it or empty.
    """

    device_id: UUID
    epoch: UUID
    key_digest: str
    address: str | None = None
    agent: str = ""
    boot_id: str = ""
    capabilities: tuple[str, ...] = ()
    applied: str = ""
    busy: UUID | None = None
    actual: str = ""


@dataclass(frozen=True, slots=True)
class LinksOpened:
    """Devices opened their links. Subscribers add to `answers`, by device, what `hello` is answered with."""

    openings: tuple[Opening, ...]
    answers: dict[UUID, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class LinksClosed:
    """The links of these devices are gone."""

    device_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class DevicesMeasured:
    """Linked devices told the digest of what is really on them."""

    digests: dict[UUID, str]
