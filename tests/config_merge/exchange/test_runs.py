"""Imports while others write, workers that die or fail, and what is asked of a table before it is looked at."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection, connections, transaction
from django.test import Client

from config_merge.exchange import files, imports, work
from config_merge.exchange.importing import MOVED, attempted, import_devices
from config_merge.exchange.models import DeviceImport
from config_merge.services import many
from core.clock import now
from core.db import locked
from devices.models import Device
from tenancy.models import Role
from tests import factories
from tests.admin.conftest import page
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db
HEADER = "name,mac_address,organization,notes\n"


@pytest.fixture
def org(db: None) -> Any:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def operator(org: Any) -> Api:
    return api_as(factories.operator(org))


def lines(count: int, notes: str = "") -> str:
    return HEADER + "".join(f"ap-{n},{factories.mac(500 + n)},org-a,{notes}\n" for n in range(count))


def send(api: Api, text: str, *, query: str = "", **fields: str) -> Any:
    upload = SimpleUploadedFile("devices.csv", text.encode())
    return api.post(f"device/import/{query}", {"file": upload, **fields}, format="multipart")


# --- what is asked of a table -------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["true", "1", "YES", "On"])
def test_a_dry_run_is_said_in_the_query_or_in_the_form(operator: Api, said: str) -> None:
    for answer in (
        send(operator, lines(1), query=f"?dry_run={said}"),
        send(operator, lines(1), dry_run=said),
    ):
        assert (answer.status_code, answer.json()["applied"]) == (200, False)
    assert not Device.objects.exists()


@pytest.mark.parametrize("said", ["false", "0", "No", "OFF", ""])
def test_what_is_no_dry_run_imports(operator: Api, said: str) -> None:
    assert send(operator, lines(1), query=f"?dry_run={said}").json()["applied"] is True
    assert send(operator, lines(2), dry_run=said).json()["applied"] is True


def test_a_dry_run_in_other_words_or_two_ways_is_refused(operator: Api) -> None:
    answers = [send(operator, lines(1), query=f"?dry_run={said}") for said in ("maybe", "tru", "2")]
    answers += [send(operator, lines(1), dry_run="maybe")]
    answers += [send(operator, lines(1), query="?dry_run=false", dry_run="true")]
    answers += [send(operator, lines(1), query="?dry_run=true&dry_run=0")]
    answers += [operator.post("device/import/?dry_run=x", [{"name": "x"}])]
    for answer in answers:
        assert (answer.status_code, list(answer.json())) == (400, ["dry_run"])
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER, "no rows"),
        (f"\n{HEADER}\n,,,\n", "no rows"),
        ("colour,size\nred,7\n", "None of the columns"),
        ("name,colour\nx,red\n", "are needed"),
    ],
)
def test_a_table_without_rows_or_known_columns_is_refused(
    operator: Api, org: Any, text: str, said: str
) -> None:
    client = Client()
    client.force_login(factories.user(role=Role.OPERATOR, organization=org, is_staff=True))
    for query in ("", "?dry_run=true"):
        answer = send(operator, text, query=query)
        assert (answer.status_code, list(answer.json())) == (400, ["file"])
        assert said in answer.json()["file"][0]
    upload = {"file": SimpleUploadedFile("devices.csv", text.encode())}
    shown = client.post(page("devices_device_import"), upload).content.decode()
    assert "mu-note--danger" in shown and said in shown
    assert not DeviceImport.objects.exists()


def test_rows_in_a_json_body_are_asked_the_same(operator: Api) -> None:
    for rows in ([], [{}], [{"colour": "red"}]):
        answer = operator.post("device/import/", rows)
        assert (answer.status_code, list(answer.json())) == (400, ["file"]), rows


def test_a_table_has_at_most_2_500_rows_on_every_database(operator: Api) -> None:
    assert len(files.read(lines(2500).encode())) == 2500
    answer = send(operator, lines(2501), query="?dry_run=true")
    assert answer.status_code == 400
    assert "more than 2,500 rows" in answer.json()["file"][0] and "in parts" in answer.json()["file"][0]
    rows = [{"name": "x"}] * 2501
    assert "more than 2,500 rows" in operator.post("device/import/", rows).json()["file"][0]


# --- workers ------------------------------------------------------------------------------------------------


@pytest.fixture
def uploaded(org: Any, monkeypatch: pytest.MonkeyPatch) -> DeviceImport:
    """A table that waits for a worker to look at it."""
    monkeypatch.setattr(imports, "AT_ONCE", 0)
    return imports.import_begin(user=factories.operator(org), name="x.csv", content=lines(2).encode())


def lease_ends() -> None:
    DeviceImport.objects.exclude(lease_until=None).update(lease_until=now() - timedelta(seconds=1))


def test_a_table_whose_workers_die_again_and_again_is_given_up(
    uploaded: DeviceImport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(many, "managed_devices_write", die)
    for _ in range(work.MOST_WORKERS):
        with pytest.raises(SystemExit):
            work.import_work(uploaded.pk)
        uploaded.refresh_from_db()
        assert uploaded.state == "checking" and work.imports_sweep() == 0
        lease_ends()
    assert work.imports_sweep() == 1
    uploaded.refresh_from_db()
    assert (uploaded.state, uploaded.lease_until) == ("checked", None)
    assert uploaded.report == {"refused": work.BROKEN_OFF}
    assert not imports.is_importable(uploaded)
    assert work.imports_sweep() == 0


@pytest.mark.parametrize("state", ["checking", "applying"])
def test_work_that_fails_unexpectedly_is_settled_at_once(
    uploaded: DeviceImport, state: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    if state == "applying":
        work.import_work(uploaded.pk)
        uploaded.refresh_from_db()
        imports.import_confirm(uploaded)
    monkeypatch.setattr(many, "managed_devices_write", fail)
    work.import_work(uploaded.pk)
    uploaded.refresh_from_db()
    assert (uploaded.state, uploaded.lease_until) == ("checked", None)
    assert uploaded.report == {"refused": work.UNEXPECTED}
    assert "an import failed" in caplog.text
    assert not Device.objects.exists()
    assert work.imports_sweep() == 0
    client = Client()
    client.force_login(uploaded.user)
    type(uploaded.user).objects.filter(pk=uploaded.user.pk).update(is_staff=True)
    assert "log says why" in client.get(page("devices_device_import_report", uploaded.pk)).content.decode()


def test_a_worker_that_was_overtaken_does_not_settle_what_another_works_on(uploaded: DeviceImport) -> None:
    DeviceImport.objects.update(lease_until=now() + work.LEASE)
    work._give_up(uploaded, "x")
    uploaded.refresh_from_db()
    assert uploaded.state == "checking"


# --- several at once ----------------------------------------------------------------------------------------


class _Deadlock(Exception):
    sqlstate = "40P01"


def _lost(sqlstate: str = "40P01") -> OperationalError:
    cause = _Deadlock()
    cause.sqlstate = sqlstate
    error = OperationalError("lost")
    error.__cause__ = cause
    return error


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("sqlstate", "times", "calls"), [("40P01", 2, 3), ("40001", 9, 3), ("57014", 9, 1)])
def test_a_lost_race_is_run_again_at_most_three_times(sqlstate: str, times: int, calls: int) -> None:
    begun: list[int] = []

    def once() -> str:
        begun.append(1)
        if len(begun) <= times:
            raise _lost(sqlstate)
        return "done"

    if times < calls:
        assert attempted(once) == "done"
    else:
        with pytest.raises(OperationalError):
            attempted(once)
    assert len(begun) == calls


def test_inside_a_transaction_a_lost_race_is_its_callers_business() -> None:
    def once() -> None:
        raise _lost()

    with transaction.atomic(), pytest.raises(OperationalError):
        attempted(once)


def rows_of(devices: Any, notes: str) -> list[files.TableRow]:
    cells = [{"id": str(device.pk), "notes": notes} for device in devices]
    return [files.TableRow(number, cell) for number, cell in enumerate(cells, start=1)]


@pytest.mark.django_db(transaction=True)
def test_two_imports_in_opposite_order_are_both_done(org: Any) -> None:
    user = factories.operator(org)
    devices = [factories.configured(org) for _ in range(40)]
    orders = (devices, devices[::-1])
    ready = threading.Barrier(2)

    def run(number: int) -> bool:
        try:
            ready.wait(10)
            return import_devices(rows_of(orders[number], f"by {number}"), user=user, rehearse=False).applied
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, range(2))) == [True, True]
    assert len(set(Device.objects.values_list("notes", flat=True))) == 1


@pytest.mark.services  # SQLite has one writer at a time: there is nothing to lose or to share
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["rest", "background"])
def test_an_import_that_loses_a_deadlock_is_run_again(org: Any, door: str) -> None:
    user = factories.operator(org)
    first, second = sorted((factories.configured(org) for _ in range(2)), key=lambda device: device.pk)
    held = threading.Event()
    table = "id,notes\n" + "".join(f"{device.pk},imported\n" for device in (first, second))
    row = imports.import_begin(user=user, name="x.csv", content=table.encode())

    def rival() -> None:
        try:
            with transaction.atomic():
                locked(Device.objects.filter(pk=second.pk)).get()
                held.set()
                time.sleep(0.5)
                with connection.cursor() as cursor:
                    # The import has waited longer, so it is the one whose patience ends first.
                    cursor.execute("SET LOCAL deadlock_timeout = '20s'")
                locked(Device.objects.filter(pk=first.pk)).get()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(rival)
        held.wait(10)
        if door == "rest":
            assert import_devices(rows_of((first, second), "imported"), user=user, rehearse=False).applied
        else:
            assert imports.import_confirm(row).state == "applied"
        running.result(10)
    assert set(Device.objects.values_list("notes", flat=True)) == {"imported"}


@pytest.mark.services  # SQLite has one writer at a time: there is nothing to lose or to share
@pytest.mark.django_db(transaction=True)
def test_a_device_that_moves_away_while_its_import_waits_is_refused(org: Any) -> None:
    user, device = factories.operator(org), factories.device(org)
    away = factories.organization("org-z")
    held = threading.Event()

    def rival() -> None:
        try:
            with transaction.atomic():
                Device.objects.filter(pk=device.pk).update(organization=away)
                held.set()
                time.sleep(0.5)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(rival)
        held.wait(10)
        report = import_devices(rows_of((device,), "imported"), user=user, rehearse=False)
        running.result(10)
    assert report.plans[0].errors == {"__all__": [MOVED]}
    device.refresh_from_db()
    assert (device.organization, device.notes) == (away, "")
