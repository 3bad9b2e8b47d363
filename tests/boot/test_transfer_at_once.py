"""Everything of one key goes to another while devices and their owners go on writing."""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from boot import services
from boot.models import BootConfig, BootVersion
from boot.transfer import Conflicts, transfer
from tenancy.models import ApiKey, Organization, Role
from tests import factories
from tracking.models import TrackedDevice

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]
DEVICES = [f"02:00:00:00:00:{number:02x}" for number in range(8)]


class Writer(threading.Thread):
    """Does something again and again until it is told to end, or it goes wrong."""

    def __init__(self, step: Callable[[int], Any]) -> None:
        super().__init__()
        self._step, self._over = step, threading.Event()
        self.count, self.went_well = 0, False

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._step(self.count)
                self.count += 1
            self.went_well = True
        finally:
            connections.close_all()

    def end(self) -> None:
        self._over.set()
        self.join(60)


def posting(text: str, last: dict[str, int]) -> Callable[[int], None]:
    """Return a step that posts a configuration, and remembers what was taken for which device."""

    def step(number: int) -> None:
        device = DEVICES[number % len(DEVICES)]
        answer = Client().post(
            f"/boot/{device}/config", f'{{"config": {{"n": {number}}}}}', content_type="application/json",
            headers={"X-Api-Key": text},
        )  # fmt: skip
        assert answer.status_code == 200, answer.content
        last[device] = number
        told = Client().post(
            f"/track/{device}", '{"info": "x"}', content_type="application/json", headers={"X-Api-Key": text}
        )
        assert told.status_code == 200, told.content

    return step


def kept(keys: list[ApiKey], device: str) -> set[int]:
    """Return what there is of a device under these keys, with what can be brought back."""
    rows = [
        *BootConfig.objects.filter(api_key__in=keys, device=device),
        *BootVersion.objects.filter(api_key__in=keys, device=device).exclude(body=""),
    ]
    return {row.document["config"]["n"] for row in rows if row.document is not None}


@pytest.mark.parametrize("move", [False, True])
def test_who_writes_meanwhile_is_not_refused_and_nothing_is_lost(move: bool) -> None:
    org: Organization = factories.organization()
    owner = factories.user(role=Role.MANAGER, organization=org)
    (old, old_text), (new, new_text) = (factories.api_key(owner, org, name=name) for name in ("old", "new"))
    root = factories.user(is_superuser=True)
    for operation in ("boot_post", "track_post"):
        services.quota_set(by=root, organization=org, operation=operation, amount=10**6)
    last_old: dict[str, int] = {}
    last_new: dict[str, int] = {}
    writers = [Writer(posting(old_text, last_old)), Writer(posting(new_text, last_new))]
    for writer in writers:
        writer.start()
    until = time.monotonic() + 20
    try:
        for source, target in itertools.cycle([(old, new), (new, old)]):
            transfer(source, target, move=move, conflicts=Conflicts.REPLACE)
            if time.monotonic() > until or all(writer.count > 24 for writer in writers):
                break
    finally:
        for writer in writers:
            writer.end()
    assert all(writer.went_well for writer in writers)
    for device in DEVICES:
        assert {last_old[device], last_new[device]} <= kept([old, new], device), device
    assert TrackedDevice.objects.filter(api_key__in=(old, new)).exists()
