"""Rows written many at once are what the services of one device would have written; what is out of order is left."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config_merge.exchange import importing
from config_merge.exchange.files import FileRefused, TableRow
from config_merge.exchange.importing import import_devices
from config_merge.models import Config, ConfigTemplate
from config_merge.services import configs, many, recompute
from devices.models import Device
from tenancy.models import AuditEvent
from tests import factories

pytestmark = pytest.mark.django_db
OPENWISP = "netjsonconfig.OpenWisp"
UTC, ROME = ({"general": {"timezone": zone}} for zone in ("UTC", "Europe/Rome"))
BAD = {"general": 5}
ADDRESS = factories.mac
Rows = Sequence[dict[str, Any]]


@pytest.fixture
def world(db: None) -> dict[str, Any]:
    """An organization with templates of every kind, two groups, and devices in all conditions."""
    org = factories.organization("org-a", name="Alpha")
    factories.organization("org-b", name="Beta")
    named = {
        name: factories.template(org, name=name, **fields)
        for name, fields in {
            "required": {"default": True, "required": True},
            "default": {"default": True},
            "first": {"config": UTC},
            "second": {},
            "wisp": {"backend": OPENWISP, "default": True},
            "wisp-group": {"backend": OPENWISP},
        }.items()
    }
    one = factories.group(org, name="one", templates=[named["first"], named["wisp-group"]])
    two = factories.group(org, name="two", templates=[named["second"]])
    for number, (group, config) in enumerate(
        [(None, None), (None, {"config": UTC}), (one, {"context": {"a": "1"}}), (two, None)], start=1
    ):
        configs.managed_device_create(
            organization=org,
            group=group,
            name=f"old-{number}",
            mac_address=ADDRESS(900 + number),
            config=config,
        )
    factories.device(org, name="taken")
    out = factories.configured(org, name="out", mac_address=ADDRESS(999))
    configs.device_deactivate(out)
    recompute.drain()
    return {"org": org, "user": factories.superuser(), **{name: str(row.pk) for name, row in named.items()}}


def table(rows: Rows) -> list[TableRow]:
    return [TableRow(number, row) for number, row in enumerate(rows, start=2)]


def state() -> dict[str, Any]:
    """Everything an import writes, without ids and times that are made on the way."""
    devices = Device.objects.order_by("name").values_list(
        "name", "mac_address", "organization__slug", "group__name", "key_digest", "notes", "model", "last_ip"
    )
    rows = Config.objects.select_related("device").order_by("device__name")
    assigned = ConfigTemplate.objects.order_by("config__device__name", "position")
    events = AuditEvent.objects.values_list(
        "action", "target_type", "target_name", "organization__slug", "actor_name"
    )
    return {
        "devices": list(devices),
        "configs": [
            (row.device.name, row.backend, row.config, row.context, row.status, row.generation, row.is_stale,
             row.stale_cause, row.stale_actor_id, row.hold, row.managed_by)
            for row in rows
        ],
        "templates": list(assigned.values_list("config__device__name", "position", "template__name")),
        "events": sorted(
            (*told, json.dumps(changes, sort_keys=True))
            for told, changes in zip(events, AuditEvent.objects.values_list("changes", flat=True), strict=True)
        ),
    }  # fmt: skip


class Undo(Exception):
    pass


def outcome(rows: Rows, *, user: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Import and return the report and what is stored then; nothing stays."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    try:
        with transaction.atomic():
            report = import_devices(table(rows), user=user, rehearse=False).body()
            found.append((report, state()))
            raise Undo
    except Undo:
        return found[0]


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Import with the services of one device alone."""

    def imported(rows: Rows, *, user: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(many, "managed_devices_write", lambda wanted, **_: list(wanted))
            return outcome(rows, user=user)

    return imported


NAMES = st.sampled_from(["old-1", "old-2", "old-3", "old-4", "out", "new-1", "new-2", "new-3"])
NUMBERS = {name: 900 + number for number, name in enumerate(["old-1", "old-2", "old-3", "old-4"], start=1)}
NUMBERS |= {"out": 999, "new-1": 1001, "new-2": 1002, "new-3": 1003}


@st.composite
def rows_of_devices(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=6, unique=True)):
        row: dict[str, Any] = {"name": name, "mac_address": ADDRESS(NUMBERS[name]), "organization": "org-a"}
        row |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "group": st.sampled_from(["", "one", "two"]),
                    "notes": st.sampled_from(["", "x"]),
                    "model": st.sampled_from(["m", "y" * 65]),
                    "last_ip": st.sampled_from(["", "192.0.2.7", "no address"]),
                    "key": st.sampled_from([f"{name}-key-0123456789", "short"]),
                    "config_backend": st.sampled_from([OPENWISP, "netjsonconfig.OpenWrt"]),
                    "config_data": st.sampled_from([UTC, ROME, BAD, {}]),
                    "config_context": st.sampled_from([{"a": "1"}, {"a": "2", "b": "3"}, {}]),
                    "config_templates": st.lists(
                        st.sampled_from(["required", "default", "first", "second", "wisp", "wisp-group"]),
                        max_size=3,
                        unique=True,
                    ),
                },
            )
        )
        if draw(st.integers(0, 9)) == 0:
            # A name that a row takes while another gives it up may be taken by either way, or by one of them.
            row["name"] = draw(st.sampled_from(["taken", "fresh-" + name, "not a name!"]))
        rows.append(row)
    return rows


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_of_devices())
def test_many_at_once_are_what_one_after_the_other_would_be(
    world: dict[str, Any], one_by_one: Callable[..., Any], rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        if "config_templates" in row:
            row["config_templates"] = [world[name] for name in row["config_templates"]]
    assert outcome(rows, user=world["user"]) == one_by_one(rows, user=world["user"])


def everything(world: dict[str, Any], count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"name": f"ap-{n}", "mac_address": ADDRESS(2000 + n), "organization": "org-a", "group": "one",
         "config_data": UTC, "config_templates": [world["second"]], **more}
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"notes": "x"}, {"config_data": ROME}, {"group": "two"}])
def test_statements_do_not_grow_with_the_rows(world: dict[str, Any], changes: dict[str, Any]) -> None:
    counts = []
    for count in (3, 30):
        if changes:
            import_devices(table(everything(world, count)), user=world["user"], rehearse=False)
        with CaptureQueriesContext(connection) as queries:
            report = import_devices(
                table(everything(world, count, **changes)), user=world["user"], rehearse=False
            )
        assert report.applied and (report.totals["new"] or report.totals["update"]) == count
        counts.append(len(queries))
        Device.objects.filter(name__startswith="ap-").delete()
    assert counts[0] == counts[1]


def test_devices_written_at_once_get_what_they_should_be(world: dict[str, Any]) -> None:
    import_devices(table(everything(world, 4)), user=world["user"], rehearse=False)
    recompute.drain()
    rows = Config.objects.filter(device__name__startswith="ap-")
    assert [row.revision_number for row in rows] == [1] * 4
    assert len({row.checksum for row in rows}) == 4
    assert AuditEvent.objects.filter(action="device.created", target_name__startswith="ap-").count() == 4


def test_names_that_move_on_from_device_to_device_are_written_one_by_one(
    world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [
        {"name": "old-5", "mac_address": ADDRESS(904), "organization": "org-a"},
        {"name": "old-4", "mac_address": ADDRESS(903), "organization": "org-a"},
        {"name": "old-3", "mac_address": ADDRESS(902), "organization": "org-a"},
    ]
    monkeypatch.setattr(importing, "MOST_SINGLE", 1)
    for rehearse in (True, False):
        with pytest.raises(FileRefused, match="another organization"):
            import_devices(table(taken), user=world["user"], rehearse=rehearse)
    assert Device.objects.filter(name="old-5").count() == 0
    monkeypatch.setattr(importing, "MOST_SINGLE", 2)
    assert import_devices(table(taken), user=world["user"], rehearse=False).applied
    names = (
        Device.objects.filter(name__startswith="old-").order_by("mac_address").values_list("name", flat=True)
    )
    assert list(names) == ["old-1", "old-3", "old-4", "old-5"]


def test_checking_ends_after_too_many_errors(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "REHEARSED", 2)
    monkeypatch.setattr(importing, "MOST_ERRORS", 3)
    rows = everything(world, 9, config_data=BAD)
    report = import_devices(table(rows), user=world["user"], rehearse=True)
    assert (report.totals["error"], report.totals["new"], report.unchecked) == (4, 5, 5)
    assert report.body()["unchecked"] == 5
    report = import_devices(table(rows[:3]), user=world["user"], rehearse=True)
    assert (report.totals["error"], report.unchecked) == (3, 0)
