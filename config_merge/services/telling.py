"""Telling webhooks of registrations, status changes and new revisions.

When nobody wants an event it costs no query; nothing secret is told. Who changes a status by several statements wraps
them in `status_changes`, which tells once, from the first status to the last.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from config_merge.models import Config
from core.db import locked
from devices.models import Device
from tenancy import webhooks
from tenancy.webhook_models import DEVICE_REGISTERED, DEVICE_STATUS_CHANGED, REVISION_CREATED

_watched: ContextVar[frozenset[UUID]] = ContextVar("muster_watched_configs", default=frozenset())


class Written(Protocol):
    """A new revision, as far as it is told of."""

    @property
    def config_id(self) -> UUID:
        """Whose it is."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def checksum(self) -> str:
        """The md5 of its archive."""

    @property
    def cause(self) -> str:
        """Why it was computed."""


class _Subject(NamedTuple):
    """A configuration's device, as far as it is told of, and the status it has."""

    organization_id: UUID
    device: Mapping[str, Any]
    status: str


def _subjects(config_ids: Collection[UUID], *, wanted_by: Collection[UUID]) -> dict[UUID, _Subject]:
    rows = Config.objects.filter(pk__in=config_ids, device__organization_id__in=wanted_by)
    columns = ("pk", "status", "device_id", "device__name", "device__mac_address", "device__organization_id")
    return {
        pk: _Subject(organization_id, {"id": str(device_id), "name": name, "mac_address": mac}, status)
        for pk, status, device_id, name, mac, organization_id in rows.values_list(*columns)
    }


def device_registered(device: Device, *, is_new: bool) -> None:
    """Tell that a device let itself in, or came back."""
    shown = {"id": str(device.pk), "name": device.name, "mac_address": device.mac_address}
    webhooks.emit(
        organization_id=device.organization_id,
        event=DEVICE_REGISTERED,
        data={"device": shown, "is_new": is_new},
    )


def _status_changed(subject: _Subject, previous: str, status: str) -> webhooks.Event:
    data = {"device": subject.device, "status": status, "previous_status": previous}
    return webhooks.Event(subject.organization_id, DEVICE_STATUS_CHANGED, data)


@contextlib.contextmanager
def status_changes(config_ids: Sequence[UUID]) -> Iterator[None]:
    """Tell of the statuses of these configurations that the block changes. Use it inside the transaction."""
    wanted_by = webhooks.organizations_wanting(DEVICE_STATUS_CHANGED)
    if not wanted_by or not config_ids:
        yield
        return
    # Device first, configuration second: the order every writer of both keeps.
    devices = Device.objects.filter(config__in=config_ids, organization_id__in=wanted_by)
    list(locked(devices.order_by("pk")).values_list("pk", flat=True))
    before = _subjects(config_ids, wanted_by=wanted_by)
    token = _watched.set(_watched.get() | frozenset(before))
    try:
        yield
    finally:
        _watched.reset(token)
    if not before:
        return
    after = dict(Config.objects.filter(pk__in=list(before)).values_list("pk", "status"))
    webhooks.emit_many(
        _status_changed(subject, subject.status, after[pk])
        for pk, subject in before.items()
        if pk in after and after[pk] != subject.status
    )


def computed(statuses: Mapping[UUID, tuple[str, str]], revisions: Sequence[Written]) -> None:
    """Tell what computing changed: `statuses` are (before, after) by configuration, `revisions` the new ones."""
    moved = {pk: pair for pk, pair in statuses.items() if pair[0] != pair[1] and pk not in _watched.get()}
    wanted_by = webhooks.organizations_wanting(DEVICE_STATUS_CHANGED, REVISION_CREATED)
    if not wanted_by or not (moved or revisions):
        return
    subjects = _subjects([*moved, *(row.config_id for row in revisions)], wanted_by=wanted_by)
    events = [
        webhooks.Event(
            subjects[row.config_id].organization_id,
            REVISION_CREATED,
            {
                "device": subjects[row.config_id].device,
                "revision": row.number,
                "checksum": row.checksum,
                "cause": row.cause,
            },
        )
        for row in revisions
        if row.config_id in subjects
    ]
    events += [_status_changed(subjects[pk], *pair) for pk, pair in moved.items() if pk in subjects]
    webhooks.emit_many(events)
