"""The hot path: how many statements a boot costs, and that a batch answers as one request after the other would."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.statements import counted
from boot import boots, quotas, services
from boot.messages import BootResponse
from boot.models import Operation
from core import quotas as counting
from core.clock import now
from tenancy import key_rows
from tenancy.models import ApiKey, Organization
from tests import factories
from tests.boot.conftest import D, ThinDoor
from tracking.models import TrackedDevice


@pytest.fixture
def key(transactional_db: None) -> tuple[ApiKey, str]:
    org = factories.organization()
    row, text = factories.api_key(factories.operator(org), org)
    services.boot_config_set(api_key_id=row.pk, device="default", document={})
    return row, text


def _boot(text: str, device: str = D) -> BootResponse:
    return boots.answer_all([boots.Boot(text, device)])[0]


@pytest.mark.parametrize("device", [D, "no-mac"])
def test_a_warm_boot_is_two_statements_that_write(key: tuple[ApiKey, str], device: str) -> None:
    _boot(key[1], device)
    with counted() as counts:
        assert _boot(key[1], device).status == 200
    assert counts.total == 2
    assert counts.writing == (2 if counting.in_database() else 1)


def test_a_device_never_seen_and_one_of_the_inventory_cost_the_same(key: tuple[ApiKey, str]) -> None:
    _boot(key[1], "warm")
    factories.device(key[0].organization, mac_address=D.upper())
    with counted() as counts:
        assert _boot(key[1]).status == 200
    assert counts.total == 2


def test_only_a_refusal_costs_a_third(key: tuple[ApiKey, str]) -> None:
    root = factories.superuser()
    services.quota_set(by=root, organization=key[0].organization, operation=Operation.BOOT_GET, amount=1)
    _boot(key[1])
    for text, status in ((key[1], 429), ("unknown", 403)):
        with counted() as counts:
            assert _boot(text).status == status
        assert counts.total <= 3


# Of SQLite alone: PostgreSQL's planner scans a small table whatever its indexes.
@pytest.mark.standalone
def test_both_statements_go_by_indexes(key: tuple[ApiKey, str]) -> None:
    _boot(key[1])
    with CaptureQueriesContext(connection) as captured:
        _boot(key[1])
    asked = [query["sql"] for query in captured.captured_queries if "INSERT" in query["sql"]]
    assert len(asked) == 2
    for sql in asked:
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + sql)
            plan = [row[3] for row in cursor.fetchall()]
        assert any(step.startswith("SEARCH k USING") for step in plan) or "boot_bootconfig" in sql
        # What is asked for is a table of parameters and may be read from end to end.
        assert not [step for step in plan if re.match(r"SCAN (?!w$|CONSTANT|\d+ CONSTANT)", step)]


def test_a_batch_answers_in_order_and_counts_exactly(key: tuple[ApiKey, str]) -> None:
    row, text = key
    org: Organization = row.organization
    root = factories.superuser()
    services.quota_set(by=root, organization=org, operation=Operation.BOOT_GET, amount=5)
    other, other_text = factories.api_key(factories.operator(org), org)
    batch = [boots.Boot(text, f"d{n % 3}") for n in range(8)]
    batch.insert(3, boots.Boot("unknown", "x"))
    batch.insert(0, boots.Boot(other_text, "x"))
    statuses = [answer.status for answer in boots.answer_all(batch)]
    assert statuses == [404, 200, 200, 200, 403, 200, 200, 429, 429, 429]
    assert {one.device: one.seq for one in TrackedDevice.objects.filter(api_key=row)} == {
        "d0": 2, "d1": 2, "d2": 1,
    }  # fmt: skip
    found = quotas.gauges(key_id=row.key_id, organization_id=org.pk, at=now())
    assert [(*gauge[1:3], gauge.left) for gauge in found if gauge.operation == "boot_get"] == [(5, 5, 0)]
    assert other.key_id != row.key_id


def test_requests_at_once_share_a_transaction(
    key: tuple[ApiKey, str], thin: ThinDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    work = thin.application._boots._work

    def noted(batch: list[boots.Boot]) -> Any:
        sizes.append(len(batch))
        return work(batch)

    monkeypatch.setattr(thin.application._boots, "_work", noted)
    asked = [("GET", f"/boot/{n}/config", {"X-Api-Key": key[1]}) for n in range(30)]
    answers = thin.all(*asked)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert sum(sizes) == 30 and len(sizes) < 10


def test_a_used_key_is_noted_once_a_minute(key: tuple[ApiKey, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boots, "last_used", key_rows.LastUsed())
    _boot(key[1])
    first = ApiKey.objects.get(pk=key[0].pk).last_used
    assert first is not None
    with counted() as counts:
        _boot(key[1])
    assert counts.total == 2 and ApiKey.objects.get(pk=key[0].pk).last_used == first
