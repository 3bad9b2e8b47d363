"""Unknown keys are refused a little more briefly when there are many of them; known ones never notice (A2)."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.statements import counted
from boot import boots, services, strangers
from boot.models import Operation
from core import rates
from core.net import trusted_networks
from tenancy.models import Organization
from tests import factories
from tests.boot.conftest import Caller, D, Door, made

SECOND = "198.51.100.7"
STANDARD = strangers.LIMIT


@pytest.fixture(autouse=True)
def _three_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "LIMIT", rates.per_seconds(3, 60))


def guesses(door: Door, count: int, path: str = "/track", **more: Any) -> list[int]:
    return [door("GET", path, headers={"X-Api-Key": f"guess-{n}"}, **more).status for n in range(count)]


def test_sixty_a_minute() -> None:
    assert (STANDARD.amount, STANDARD.get_expiry()) == (60, 60)


@pytest.mark.parametrize("path", ["/track", f"/boot/{D}/config", "/images/global/x", "/track/x"])
def test_many_unknown_keys_of_an_address_are_too_many_and_a_known_one_is_served(
    door: Door, caller: Caller, path: str
) -> None:
    assert guesses(door, 5, path) == [403, 403, 403, 429, 429]
    answered = door("GET", path, headers={"X-Api-Key": "guess"})
    assert answered.json == {"message": "Too Many Requests"}
    assert 0 < int(answered.headers["retry-after"]) <= 60
    assert caller.get().status == 404 and caller.post({}).status == 200
    assert caller("GET", "/track").status == 200
    assert guesses(door, 1, path, ip=SECOND) == [403]
    assert guesses(door, 1) == [429]


def test_what_is_not_a_guess_counts_for_nothing(door: Door, caller: Caller, org: Organization) -> None:
    reader = made(door, org, read_only=True)
    for _ in range(5):
        assert reader.post({}).status == 403
        assert caller("GET", f"/images/{reader.text}/x").status == 403
        assert door("GET", "/track").status == 400
    services.quota_set(by=factories.superuser(), organization=org, operation=Operation.BOOT_GET, amount=0)
    for _ in range(5):
        assert caller.get().json == {"message": "Limit Exceeded"}
    assert guesses(door, 4) == [403, 403, 403, 429]


def test_an_address_of_ipv6_is_its_network(door: Door) -> None:
    for number in range(3):
        assert guesses(door, 1, ip=f"2001:db8:1:2::{number}") == [403]
    assert guesses(door, 1, ip="2001:db8:1:2:ffff::1") == [429]
    assert guesses(door, 1, ip="2001:db8:1:3::1") == [403]


# The other door is told the client's address by controller.asgi (tests/controller/test_asgi.py).
@pytest.mark.parametrize("door", ["django"], indirect=True)
def test_behind_a_proxy_of_ours_it_is_the_clients_address(door: Door, settings: Any) -> None:
    settings.MUSTER = dataclasses.replace(settings.MUSTER, trusted_proxies=trusted_networks(["192.0.2.1"]))
    for number in range(5):
        headers = {"X-Api-Key": "guess", "X-Forwarded-For": f"203.0.113.{number}"}
        assert door("GET", "/track", headers=headers).status == 403


def test_a_batch_asks_once_which_of_the_refused_are_known(org: Organization) -> None:
    row, text = factories.api_key(factories.operator(org), org)
    services.boot_config_set(api_key_id=row.pk, device="default", document={})
    services.quota_set(by=factories.superuser(), organization=org, operation=Operation.BOOT_GET, amount=2)

    def together(keys: Sequence[str]) -> list[int]:
        return [answer.status for answer in boots.answer_all([boots.Boot(key, D, SECOND) for key in keys])]

    assert together([text]) == [200]
    with counted() as counts:
        assert together([text, "a", text, "b", "a", text, "c"]) == [200, 403, 429, 403, 403, 429, 429]
    assert counts.total <= 3
