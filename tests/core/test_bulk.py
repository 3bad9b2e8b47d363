"""Rows that are written together are those that would have been written one by one."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from config_merge.delivery.queue import Wanted, queue
from config_merge.models import Cause, Config, ConfigRevision, ConfigTask, ConfigTemplate
from core.clock import now
from core.db import bulk_insert, bulk_insert_objects, bulk_set, is_postgresql
from devices.models import Device
from tests import factories

pytestmark = pytest.mark.django_db


FIELDS = ("id", "config_id", "number", "artefact", "checksum", "sha256", "size", "cause", "inputs")


def revision(config: Config, number: int, *, artefact: bytes = b"archive", **inputs: Any) -> tuple[Any, ...]:
    return (uuid4(), config.pk, number, artefact, "c" * 32, "d" * 64, len(artefact), Cause.DEVICE, inputs)


def test_what_is_inserted_is_what_is_read() -> None:
    config = Config.objects.get(device=factories.configured())
    rows = [
        revision(config, 7, secrets=["é"]),
        revision(config, 8, artefact=b"\x00other"),
        revision(config, 9),
    ]
    with CaptureQueriesContext(connection) as captured:
        bulk_insert(ConfigRevision, FIELDS, rows)
    assert len(captured) == 1
    for row in rows:
        read = ConfigRevision.objects.get(pk=row[0])
        assert tuple(getattr(read, name) for name in FIELDS) == row
        assert (read.digest, read.actor_id) == ("", None)
        assert abs(now() - read.created) < timedelta(minutes=1)
    bulk_insert(ConfigRevision, FIELDS, [])


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="has no colour"):
        bulk_insert(ConfigRevision, ["id", "colour"], [(uuid4(), "red")])


def test_the_database_gives_the_keys_that_are_its_own() -> None:
    config = Config.objects.get(device=factories.configured())
    templates = [factories.template(config.device.organization) for _ in range(2)]
    bulk_insert_objects(
        [ConfigTemplate(config=config, template=each, position=n) for n, each in enumerate(templates)]
    )
    rows = ConfigTemplate.objects.order_by("position")
    assert [row.template for row in rows] == templates
    assert len({row.pk for row in rows} - {None}) == 2


def test_all_or_nothing() -> None:
    config = Config.objects.get(device=factories.configured())
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk_insert(ConfigRevision, FIELDS, [revision(config, 7), revision(config, 7)])
    assert not ConfigRevision.objects.filter(number=7).exists()


def test_rows_that_get_equal_values_are_one_statement() -> None:
    configs = [Config.objects.get(device=factories.configured()) for _ in range(4)]
    at = now()
    rows: list[tuple[Any, list[Any]]] = [(config.pk, ["matches", at]) for config in configs[:3]]
    with CaptureQueriesContext(connection) as captured:
        bulk_set(Config, ["drift", "actual_at"], [*rows, (configs[3].pk, ["differs", at])])
    assert len(captured) == (1 if is_postgresql() else 2)
    found = dict(Config.objects.values_list("pk", "drift"))
    assert [found[config.pk] for config in configs] == ["matches"] * 3 + ["differs"]
    assert set(Config.objects.values_list("actual_at", flat=True)) == {at}


def test_equal_values_that_cannot_be_compared_are_written_too() -> None:
    """JSON is no text to PostgreSQL's driver."""
    wanted = []
    for config in [Config.objects.get(device=factories.configured()) for _ in range(3)]:
        assert config.revision_id is not None
        wanted.append(Wanted(config.device_id, config.revision_id, 1, config.checksum))
    ids, log = queue(wanted), [["now", "accepted", ""]]
    bulk_set(ConfigTask, ["log"], [(ids[0], [log]), (ids[1], [log]), (ids[2], [[*log]])])
    found = ConfigTask.objects.filter(pk__in=ids).values_list("log", flat=True)
    assert list(found) == [log] * 3


def test_what_is_too_long_is_refused_and_not_cut() -> None:
    config = Config.objects.get(device=factories.configured())
    wanted = ["checksum", "problem"]
    if not is_postgresql():
        # SQLite keeps any text in any column.
        bulk_set(Config, wanted, [(config.pk, ["c" * 33, ""])])
        assert Config.objects.get(pk=config.pk).checksum == "c" * 33
        return
    with pytest.raises(DataError), transaction.atomic():
        bulk_set(Config, wanted, [(config.pk, ["c" * 33, ""])])
    with pytest.raises(DataError), transaction.atomic():
        bulk_insert(ConfigRevision, FIELDS, [(*revision(config, 7)[:4], "c" * 33, *revision(config, 7)[5:])])


def test_every_kind_of_column_can_be_written() -> None:
    """A name that is also a column's, an address, nothing, a time, a number, JSON."""
    devices = [factories.configured() for _ in range(3)]
    at = now()
    fields = ["key", "management_ip", "last_seen", "group_id", "is_deactivated"]
    values: list[list[Any]] = [
        ["k" * 32, "10.0.0.1", at, None, False],
        ["l" * 32, None, None, None, True],
        ["m" * 32, "fd00::1", at, None, False],
    ]
    bulk_set(
        Device,
        [name.removesuffix("_id") for name in fields],
        list(zip([d.pk for d in devices], values, strict=True)),
    )
    for device, wanted in zip(devices, values, strict=True):
        row = Device.objects.get(pk=device.pk)
        assert [getattr(row, name) for name in fields] == wanted


def test_tasks_have_identifiers_of_their_own() -> None:
    wanted = []
    for config in [Config.objects.get(device=factories.configured()) for _ in range(3)]:
        assert config.revision_id is not None
        wanted.append(Wanted(config.device_id, config.revision_id, 1, config.checksum))
    ids = queue(wanted)
    assert len(set(ids)) == 3
    for task in ConfigTask.objects.filter(pk__in=ids):
        assert (task.state, task.log, task.attempt, task.pk.version) == ("pending", [], 0, 4)
