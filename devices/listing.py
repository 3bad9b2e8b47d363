"""What lists of devices are read from, whatever their number: the text they are found by, and counts of each kind.

Invariant: both follow every write to devices by triggers, in its transaction. Migrations may rebuild a table and lose
its triggers, so those are taken down before a migration runs and put back, with all they keep, after it.
"""

from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from core import search, triggers
from devices.models import DeviceCount, DeviceText
from devices.queries import TEXT_COLUMNS

DEVICE, TEXT = "devices_device", "devices_devicetext"
COUNTS = triggers.Tally("devices_devicecount", ("organization_id", "group_id", "is_deactivated"))


def _text(row: str) -> str:
    """Return the SQL expressions of a device's text: organization, name, mac, rest."""
    colons = f"lower(replace({row}.mac_address, '-', ':'))"
    mac = f"{colons} || ' ' || replace({colons}, ':', '')"
    # PostgreSQL writes the length of the network behind an address.
    addresses = (
        f"replace(replace(coalesce(CAST({row}.{name} AS text), ''), '/32', ''), '/128', '')"
        for name in ("last_ip", "management_ip")
    )
    rest = " || ' ' || ".join((f"lower({row}.model || ' ' || {row}.os || ' ' || {row}.system)", *addresses))
    return f"{row}.organization_id, lower({row}.name), {mac}, {rest}"


def _kind(row: str) -> tuple[str, ...]:
    return (
        f"{row}.organization_id",
        f"coalesce({row}.group_id, {row}.organization_id)",
        f"{row}.is_deactivated",
    )


def all_triggers(vendor: str) -> list[triggers.Trigger]:
    """Return the triggers on devices."""
    names = f"organization_id, {', '.join(TEXT_COLUMNS)}"
    learn = f"INSERT INTO {TEXT} (device_id, {names}) SELECT NEW.id, {_text('NEW')}"
    forget = f"DELETE FROM {TEXT} WHERE device_id = OLD.id"  # noqa: S608
    relearn = f"UPDATE {TEXT} SET ({names}) = ({_text('NEW')}) WHERE device_id = NEW.id"  # noqa: S608
    worded = "name, mac_address, model, os, system, last_ip, management_ip, organization_id"
    add, take = (
        COUNTS.change(vendor, _kind("NEW"), by=1),
        COUNTS.change(vendor, _kind("OLD"), by=-1),
    )
    return [
        triggers.Trigger(name="device_listed", table=DEVICE, event="INSERT", statements=(learn, *add)),
        triggers.Trigger(name="device_unlisted", table=DEVICE, event="DELETE", statements=(forget, *take)),
        triggers.Trigger(
            name="device_reworded", table=DEVICE, event=f"UPDATE OF {worded}", statements=(relearn,)
        ),
        triggers.Trigger(
            name="device_moved",
            table=DEVICE,
            event="UPDATE OF organization_id, group_id, is_deactivated",
            statements=(*take, *add),
        ),
    ]


def install(connection: BaseDatabaseWrapper) -> None:
    """Make triggers and index where they are missing, and write anew what they keep."""
    with transaction.atomic(using=connection.alias):
        if triggers.install(connection, all_triggers(connection.vendor)):
            names = f"organization_id, {', '.join(TEXT_COLUMNS)}"
            triggers.run(
                connection,
                f"DELETE FROM {TEXT}",  # noqa: S608
                f"INSERT INTO {TEXT} (device_id, {names}) SELECT d.id, {_text('d')} FROM {DEVICE} d",  # noqa: S608
            )
            kind = ", ".join(_kind("d"))
            COUNTS.recount(
                connection,
                f"SELECT {kind}, count(*) FROM {DEVICE} d GROUP BY {kind}",  # noqa: S608
            )
        search.install(connection, table=TEXT, columns=TEXT_COLUMNS)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Take the triggers and the index down."""
    triggers.remove(connection, all_triggers(connection.vendor))
    search.remove(connection, table=TEXT, columns=TEXT_COLUMNS)


def before_migrations(*, using: str, plan: Any = (), **_signal: Any) -> None:
    """Take them down if a migration is going to change tables (receiver of `pre_migrate`)."""
    if triggers.in_the_way(connections[using], plan):
        remove(connections[using])


def after_migrations(*, using: str, **_signal: Any) -> None:
    """Put them back (receiver of `post_migrate`)."""
    tables = connections[using].introspection.table_names()
    if {DeviceText._meta.db_table, DeviceCount._meta.db_table} <= set(tables):
        install(connections[using])
