"""Devices out to a table and back in: over REST, every format, all or nothing."""

import csv
import io
import json
import zipfile
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from openpyxl import Workbook, load_workbook

from config_merge.exchange import files
from config_merge.exchange.columns import COLUMNS, PLACES
from config_merge.exchange.importing import import_devices
from config_merge.models import Config
from config_merge.services import recompute
from core.redaction import mark_of
from core.streaming import Streamed
from devices.models import Device
from tenancy.models import AuditEvent, Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db


@pytest.fixture
def org(db: None) -> Any:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def other(db: None) -> Any:
    return factories.organization("org-b", name="Beta")


@pytest.fixture
def operator(org: Any) -> Api:
    """An operator, who may not reveal secrets."""
    return api_as(factories.without_reveal(factories.user("operator", role=Role.OPERATOR, organization=org)))


@pytest.fixture
def manager(org: Any) -> Api:
    """A manager, who may."""
    return api_as(factories.user("manager", role=Role.MANAGER, organization=org))


def body_of(response: Any) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response.streaming_content)


def send(api: Api, content: bytes | str, *, name: str = "devices.csv", dry: bool = False) -> Any:
    data = content.encode() if isinstance(content, str) else content
    path = "device/import/" + ("?dry_run=true" if dry else "")
    return api.post(path, {"file": SimpleUploadedFile(name, data)}, format="multipart")


def sheet(*lines: list[Any]) -> bytes:
    book = Workbook()
    for line in lines:
        book.active.append(line)
    packed = io.BytesIO()
    book.save(packed)
    return packed.getvalue()


def table(*rows: dict[str, Any]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def row(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "name": f"ap-{number}",
        "mac_address": factories.mac(100 + number),
        "organization": "org-a",
        **fields,
    }


# --- export -------------------------------------------------------------------------------------------------


def test_an_export_has_the_columns_of_the_peer_and_empty_places(manager: Api, org: Any) -> None:
    template = factories.template(org)
    device = factories.device(
        org, config={"templates": [template], "context": {"a": "b"}, "config": factories.interface()}
    )
    (line,) = csv.DictReader(io.StringIO(body_of(manager.get("device/export/")).decode()))
    assert tuple(line) == COLUMNS
    assert all(line[name] == "" for name in PLACES)
    assert line["id"] == str(device.pk)
    assert line["organization"] == "Alpha"
    assert line["key"] == device.key
    assert line["config_status"] == "modified"
    assert line["config_templates"] == str(template.pk)
    assert json.loads(line["config_context"]) == {"a": "b"}
    assert json.loads(line["config_data"]) == factories.interface()


def test_an_export_is_filtered_like_the_list_and_shows_the_columns_asked_for(manager: Api, org: Any) -> None:
    factories.device(org, name="wanted")
    factories.device(org, name="other")
    answer = manager.get("device/export/", name="want", columns="mac_address,name", file_format="json")
    (found,) = json.loads(body_of(answer))
    assert list(found) == ["name", "mac_address"]
    assert found["name"] == "wanted"


def test_the_queries_of_an_export_do_not_grow_with_the_devices(manager: Api, org: Any) -> None:
    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            body_of(manager.get("device/export/"))
        return len(asked)

    factories.configured(org, group=factories.group(org))
    count()  # stamps the token
    few = count()
    for _ in range(5):
        factories.configured(org, group=factories.group(org))
    assert count() == few <= 8


def test_who_may_not_reveal_gets_marks_and_can_bring_them_back(operator: Api, org: Any) -> None:
    settings = {"config": factories.interface(wifi_key="s3cret-wifi"), "context": {"password": "hunter22"}}
    device = factories.device(org, config=settings, name="ap")
    content = body_of(operator.get("device/export/"))
    for secret in (device.key, "s3cret-wifi", "hunter22"):
        assert secret.encode() not in content
    assert mark_of(device.key).encode() in content
    edited = content.replace(b"ap,", b"renamed,", 1)
    answer = send(operator, edited)
    assert answer.json()["totals"] == {"new": 0, "update": 1, "same": 0, "error": 0}
    device.refresh_from_db()
    assert device.name == "renamed"
    assert factories.config_of(device).config == settings["config"]
    assert factories.config_of(device).context == settings["context"]


def test_a_mark_that_stands_for_nothing_stored_is_an_error(operator: Api, org: Any) -> None:
    mark = "redacted:000000000000"
    answer = send(operator, table(row(key=mark, config_context=json.dumps({"password": mark}))))
    assert answer.status_code == 400
    assert set(answer.json()["rows"][0]["errors"]) == {"key", "config_context"}


@pytest.mark.parametrize("text", ["=1+1", "+49", "-x", "@home", "'=quoted", "''-", "\tx", "plain", "'s"])
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_cells_are_no_formulas_and_come_back_as_they_were(
    manager: Api, org: Any, text: str, kind: str
) -> None:
    device = factories.device(org, notes=text)
    content = body_of(manager.get("device/export/", file_format=kind))
    if kind == "xlsx":
        (_, cells) = load_workbook(io.BytesIO(content)).active.iter_rows(values_only=True)
    else:
        (_, cells) = csv.reader(io.StringIO(content.decode(), newline=""))
    assert not any(str(cell or "").startswith(("=", "+", "-", "@", "\t")) for cell in cells)
    answer = send(manager, content, name=f"devices.{kind}")
    assert answer.json()["totals"] == {"new": 0, "update": 0, "same": 1, "error": 0}, answer.json()
    device.refresh_from_db()
    assert device.notes == text


@pytest.mark.parametrize("kind", ["csv", "xlsx", "json"])
@pytest.mark.parametrize(
    "text", ["a\r\nb", "\r", "\x07", "\ufffe", "_x000D_", "__x0041__", "_x_", "n" * 33_000]
)
def test_texts_that_a_spreadsheet_cannot_hold_survive_the_round(
    manager: Api, org: Any, text: str, kind: str
) -> None:
    device = factories.device(org, notes=text)
    content = body_of(manager.get("device/export/", file_format=kind))
    answer = send(manager, content, name=f"devices.{kind}")
    assert answer.status_code == 200, answer.json()
    assert answer.json()["totals"]["same"] == 1, answer.json()
    device.refresh_from_db()
    assert device.notes == text


@pytest.mark.parametrize("column", ["notes", "config_data"])
def test_what_was_too_long_for_a_spreadsheet_makes_no_new_device(manager: Api, org: Any, column: str) -> None:
    files_of = {"files": [{"path": "/etc/x", "mode": "0644", "contents": "n" * 33_000}]}
    config = {"config": files_of} if column == "config_data" else None
    device = factories.device(org, notes="n" * 33_000 if column == "notes" else "", config=config)
    content = body_of(
        manager.get("device/export/", file_format="xlsx", columns=f"name,mac_address,organization,{column}")
    )
    assert send(manager, content, name="d.xlsx", dry=True).json()["totals"]["same"] == 1
    device.delete()
    (line,) = send(manager, content, name="d.xlsx").json()["rows"]
    assert line["action"] == "error" and "CSV or JSON" in line["errors"][column][0]


def test_an_export_is_searched_like_the_list(manager: Api, org: Any) -> None:
    wanted, other = factories.device(org, name="hall-7"), factories.device(org, name="yard")
    for search, found in (("HALL", wanted), (other.mac_address.replace(":", "-"), other), (other.key, other)):
        content = body_of(manager.get("device/export/", columns="name", search=search))
        assert content.decode().split() == ["name", found.name], search
    assert manager.get("device/export/", search="\0").status_code == 400


@pytest.mark.parametrize("kind", ["csv", "xlsx", "json"])
def test_what_was_exported_is_the_same_when_it_is_imported(manager: Api, org: Any, kind: str) -> None:
    group = factories.group(org, templates=[factories.template(org)])
    factories.device(org, group=group, notes='ü, "quoted"; and\nnew lines')
    factories.configured(org)
    factories.device(org)
    content = body_of(manager.get("device/export/", file_format=kind))
    answer = send(manager, content, name=f"devices.{kind}", dry=True)
    assert answer.json()["totals"] == {"new": 0, "update": 0, "same": 3, "error": 0}, answer.json()


# --- import -------------------------------------------------------------------------------------------------


def test_the_minimum_is_organization_name_and_mac_address(operator: Api, org: Any) -> None:
    answer = send(operator, table(row(1), row(2, organization="Alpha")))
    assert answer.status_code == 200
    assert answer.json()["applied"] is True
    assert answer.json()["totals"]["new"] == 2
    assert set(org.devices.values_list("name", flat=True)) == {"ap-1", "ap-2"}
    assert not Config.objects.exists()
    lacking = send(operator, "name,organization\nx,org-a\n")
    assert lacking.status_code == 400
    assert "mac_address" in lacking.json()["file"][0]


def test_a_dry_run_tells_everything_and_writes_nothing(operator: Api, org: Any) -> None:
    device = factories.device(org, name="ap-1", mac_address=factories.mac(101), notes="old")
    factories.device(org, name="ap-2", mac_address=factories.mac(102))
    rows = [row(1, notes="new"), row(2, notes=""), row(3, notes=""), row(4, notes="", organization="nobody")]
    answer = send(operator, table(*rows), dry=True)
    assert answer.status_code == 200
    body = answer.json()
    assert body["applied"] is False
    assert [found["action"] for found in body["rows"]] == ["update", "same", "new", "error"]
    assert body["rows"][0]["diff"] == [{"field": "notes", "old": "old", "new": "new"}]
    assert [found["row"] for found in body["rows"]] == [2, 3, 4, 5]
    device.refresh_from_db()
    assert device.notes == "old"
    assert Device.objects.count() == 2


def test_one_error_and_nothing_is_written(operator: Api, org: Any) -> None:
    before = AuditEvent.objects.count()
    answer = send(operator, table(row(1), row(2, name="not a host name!")))
    assert answer.status_code == 400
    assert answer.json()["rows"][1]["errors"] == {"name": ["Must be either a valid hostname or mac address."]}
    assert answer.json()["rows"][0]["action"] == "new"
    assert not Device.objects.exists()
    assert AuditEvent.objects.count() == before


def test_configurations_come_with_their_devices_and_are_computed_in_the_background(
    operator: Api, org: Any
) -> None:
    templates = [factories.template(org), factories.template(org)]
    line = row(
        config_data=json.dumps(factories.interface("wan")),
        config_context='{"x": "y"}',
        config_templates=",".join(str(found.pk) for found in templates),
    )
    assert send(operator, table(line)).status_code == 200
    config = Config.objects.get()
    assert config.config == factories.interface("wan")
    assert config.context == {"x": "y"}
    assert list(config.config_templates.values_list("template_id", flat=True)) == [t.pk for t in templates]
    assert config.is_stale
    recompute.drain()
    config.refresh_from_db()
    assert config.revision_number == 1


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("config_data", "{nope", "Not valid JSON"),
        ("config_data", "[1]", "A JSON object is needed."),
        ("config_data", '{"interfaces": [{"name": 5}]}', "Invalid configuration"),
        ("config_context", "[[[", "Not valid JSON"),
        ("config_templates", "nobody", "There is no template"),
        ("config_templates", '["nobody"]', "There is no template"),
        ("config_backend", "netjsonconfig.Nothing", "Choose one of"),
        ("group", "nobody", "no group with this name"),
        ("group_id", "7", "no group with this id"),
        ("id", "7", "There is no device with this id"),
        ("management_ip", "300.1.1.1", "Enter a valid IPv4 or IPv6 address."),
        ("mac_address", "00:11", "Must be a valid mac address."),
    ],
)
def test_a_bad_cell_is_an_error_of_its_row_and_column(
    operator: Api, org: Any, column: str, value: str, said: str
) -> None:
    answer = send(operator, table(row(**{column: value})), dry=True)
    (found,) = answer.json()["rows"]
    assert found["action"] == "error"
    assert list(found["errors"]) == [column], found
    assert said in " ".join(found["errors"][column])


def test_status_times_and_places_are_ignored_and_strange_columns_named(operator: Api, org: Any) -> None:
    device = factories.configured(org, name="ap-1", mac_address=factories.mac(101))
    line = row(1, config_status="applied", created="2001-01-01", venue="Hall", colour="red")
    answer = send(operator, table(line))
    assert answer.json()["totals"]["same"] == 1
    assert answer.json()["ignored_columns"] == ["colour"]
    assert factories.config_of(device).status == "modified"


def test_devices_are_found_by_id_first_and_what_is_not_said_stays(operator: Api, org: Any) -> None:
    group = factories.group(org, name="lobby")
    device = factories.configured(org, name="old", model="keep", group=group)
    answer = send(operator, table({"id": str(device.pk), "name": "new", "mac_address": "02:aa:00:00:00:01"}))
    assert answer.status_code == 200, answer.json()
    device.refresh_from_db()
    assert (device.name, device.mac_address, device.model) == ("new", "02:AA:00:00:00:01", "keep")
    assert device.group == group
    answer = send(operator, table({"id": str(device.pk), "group": ""}))
    device.refresh_from_db()
    assert device.group is None


def test_rows_that_say_the_same_are_errors(operator: Api, org: Any) -> None:
    answer = send(operator, table(row(1), row(2, name="AP-1"), row(3, mac_address=factories.mac(101))))
    assert [list(found["errors"]) for found in answer.json()["rows"]] == [[], ["name"], ["mac_address"]]


def test_limits_count_all_rows_together_in_a_dry_run_too(operator: Api, org: Any) -> None:
    factories.device(org)
    factories.fleet_of(org, device_limit=2)
    for dry in (True, False):
        answer = send(operator, table(row(1), row(2)), dry=dry)
        assert [found["action"] for found in answer.json()["rows"]] == ["new", "error"]
        assert "maximum number of devices" in str(answer.json()["rows"][1]["errors"])
    assert Device.objects.count() == 1


def test_foreign_things_read_like_unknown_ones(operator: Api, org: Any, other: Any) -> None:
    foreign = factories.device(other, name="hidden-thing")
    group, template = factories.group(other), factories.template(other)
    unknown = "7a5ae8c0-8ca2-4a0c-9d62-000000000000"
    for column, pk in (
        ("id", foreign.pk),
        ("organization_id", other.pk),
        ("group_id", group.pk),
        ("config_templates", template.pk),
    ):
        answers = [
            send(operator, table(row(**{column: str(value)})), dry=True).json()["rows"]
            for value in (pk, unknown)
        ]
        assert answers[0][0]["action"] == "error"
        assert json.dumps(answers[0]).replace(str(pk), "ID") == json.dumps(answers[1]).replace(unknown, "ID")
    assert send(operator, table(row(organization="Beta"))).status_code == 400


def test_a_viewers_organization_is_not_one_to_write_to(org: Any, other: Any) -> None:
    user = factories.user(role=Role.VIEWER, organization=org)
    assert send(api_as(user), table(row())).status_code == 403
    from tenancy.services import membership_set

    membership_set(user=user, organization=other, role=Role.OPERATOR)
    answer = send(api_as(user), table(row(1), row(2, organization="org-b")))
    assert [found["action"] for found in answer.json()["rows"]] == ["error", "new"]


def test_deactivated_devices_stay_as_they_are(operator: Api, org: Any) -> None:
    device = factories.device(org, name="ap-1", mac_address=factories.mac(101))
    operator.post(f"device/{device.pk}/deactivate/")
    answer = send(operator, table(row(1, notes="changed")))
    assert answer.json()["rows"][0]["errors"] == {"__all__": ["The device is deactivated."]}
    assert send(operator, table(row(1))).json()["totals"]["same"] == 1


def test_rows_may_come_as_json_and_name_templates_in_a_list(operator: Api, org: Any) -> None:
    template = factories.template(org)
    answer = operator.post("device/import/", [row(1, config_templates=[str(template.pk)], config_data={})])
    assert answer.status_code == 200, answer.json()
    assert Config.objects.get().config_templates.get().template == template
    for wrong in ([1], {"file": "x"}, [{"name": {"a": 1}}], "x", None, [{"name": "x\x00"}]):
        assert operator.post("device/import/", wrong).status_code == 400, wrong


def test_an_import_is_in_the_audit_trail(operator: Api, org: Any) -> None:
    send(operator, table(row(1), row(2)), name="spring.csv")
    event = AuditEvent.objects.get(action="devices.imported")
    assert event.organization_id == org.pk
    assert event.target_name == "spring.csv"
    assert event.changes == {"new": [None, 2]}


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfname;mac_address;organization\r\nx;02:00:00:00:00:01;org-a\r\n",
        "name\tmac_address\torganization\nx\t02:00:00:00:00:01\torg-a\n".encode("utf-16"),
        b"\n,,\nNAME, mac_address ,Organization,\n\nx,02:00:00:00:00:01,org-a,\n",
        b'[{"name": "x", "mac_address": "02:00:00:00:00:01", "organization": "org-a"}]',
    ],
    ids=["bom-semicolon", "utf16-tab", "blank-lines", "json"],
)
def test_dialects_are_understood(content: bytes) -> None:
    (found,) = files.read(content)
    assert dict(found.cells) == {"name": "x", "mac_address": "02:00:00:00:00:01", "organization": "org-a"}


def test_spreadsheet_numbers_and_dates_become_text() -> None:
    import datetime

    content = sheet(["name", "model", "os", "notes"], [5, 1.5, datetime.date(2026, 1, 2), True])
    (found,) = files.read(content, name="x.xlsx")
    assert dict(found.cells) == {"name": "5", "model": "1.5", "os": "2026-01-02T00:00:00", "notes": "true"}


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b" " * 120_000_000)
    return packed.getvalue()


def wide() -> bytes:
    content = sheet(["name", "mac_address"], ["x", "y"])
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for part in old.infolist():
            data = old.read(part).replace(b'r="2"', b'r="1048576"').replace(b'"B2"', b'"XFD1048576"')
            new.writestr(part, data)
    return packed.getvalue()


def entities() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(sheet(["name"]))) as old, zipfile.ZipFile(packed, "w") as new:
        for part in old.infolist():
            new.writestr(
                part, old.read(part).replace(b"<workbook", b"<!DOCTYPE x [<!ENTITY a 'b'>]><workbook")
            )
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("x.csv", b"", id="empty"),
        pytest.param("x.csv", b"\xff\x00\x80", id="no-utf8"),
        pytest.param("x.csv", b"name,x\n\x00,1", id="nul"),
        pytest.param("x.csv", b'name,mac_address\n"open', id="open-quote"),
        pytest.param("x.csv", b"name,name\na,b\n", id="same-name-twice"),
        pytest.param("x.csv", b"name\na,b,c\n", id="more-cells-than-names"),
        pytest.param("x.csv", b"name\n" + b"x" * 200_000, id="long-cell"),
        pytest.param("x.csv", b"," * 500 + b"\n", id="only-commas"),
        pytest.param("x.csv", (",".join(f"c{n}" for n in range(200)) + "\n").encode(), id="many-columns"),
        pytest.param("x.csv", b"name\n" + b"x\n" * 10_001, id="many-rows"),
        pytest.param("x.csv", b"name\n" + b"x" * (9 * 1024 * 1024), id="too-large"),
        pytest.param("x.json", b"[" * 100_000, id="deep"),
        pytest.param("x.json", b'{"a": 1}', id="object"),
        pytest.param("x.json", b'["a"]', id="list-of-text"),
        pytest.param("x.json", b'[{"a": NaN}]', id="nan"),
        pytest.param("x.json", b'[{"a": "\\ud800"}]', id="lone-surrogate"),
        pytest.param("x.json", b'[{"a": "\\u0000"}]', id="nul-escape"),
        pytest.param("x.xlsx", b"no spreadsheet", id="no-spreadsheet"),
        pytest.param("x.xlsx", b"PK\x03\x04" + bytes(range(256)) * 20, id="broken-zip"),
        pytest.param("x.xlsx", bomb(), id="bomb"),
        pytest.param("x.xlsx", entities(), id="entities"),
        pytest.param("x.xlsx", sheet()[:-40], id="cut-off"),
    ],
)
def test_what_is_no_table_is_refused_in_words(name: str, content: bytes) -> None:
    try:
        assert files.read(content, name=name) == []
    except files.FileRefused as refusal:
        assert str(refusal)


def test_a_decompression_bomb_is_refused_by_what_it_would_unpack_to() -> None:
    with pytest.raises(files.FileRefused, match="unpacks to too much"):
        files.read(bomb(), name="x.xlsx")
    with pytest.raises(files.FileRefused, match="document type"):
        files.read(entities(), name="x.xlsx")


def test_a_cell_at_the_end_of_the_sheet_costs_nothing() -> None:
    assert files.read(wide(), name="x.xlsx") == []


def test_random_bytes_end_in_words(operator: Api) -> None:
    import random

    generator = random.Random(5)
    real = sheet(["name", "mac_address"], ["a", "b"])
    for number in range(60):
        content = bytearray(real)
        for _ in range(1 + number % 9):
            content[generator.randrange(len(content))] = generator.randrange(256)
        for name in ("x.xlsx", "x.csv", "x.json"):
            answer = send(operator, bytes(content), name=name, dry=True)
            assert answer.status_code in (200, 400)


def test_without_a_file_there_is_nothing_to_import(operator: Api) -> None:
    assert operator.post("device/import/", {}, format="multipart").status_code == 400
    assert operator.get("device/export/", file_format="pdf").status_code == 400
    assert operator.get("device/export/", columns="secret").status_code == 400


def test_planning_does_not_ask_the_database_for_every_row(org: Any) -> None:
    user = factories.superuser()
    rows = [files.TableRow(n, row(n)) for n in range(40)]
    import_devices(rows, user=user, rehearse=False)
    with CaptureQueriesContext(connection) as asked:
        report = import_devices(rows, user=user, rehearse=True)
    assert report.totals["same"] == 40
    assert len(asked) <= 10


async def test_an_asgi_server_sends_a_table_while_it_is_made() -> None:
    made: list[int] = []

    def parts() -> Any:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    received = []
    async for part in Streamed(parts()):
        received.append((part, len(made)))
    assert received == [(b"0", 1), (b"1", 2), (b"2", 3)]
