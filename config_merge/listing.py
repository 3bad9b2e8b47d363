"""What lists of devices by the status of their configuration are read from: see `devices.listing`.

A configuration carries a copy of its device's organization and age, so that one index gives a list by status in order;
a count is kept of every kind. Triggers do both.
"""

from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from config_merge.models import ConfigCount
from core import triggers

CONFIG, DEVICE = "config_merge_config", "devices_device"
COUNTS = triggers.Tally("config_merge_configcount", ("organization_id", "status", "backend"))
# A configuration is counted from the moment it knows its organization.
_COPY = (
    f"UPDATE {CONFIG} SET (organization_id, device_created) = "  # noqa: S608
    f"(SELECT d.organization_id, d.created FROM {DEVICE} d WHERE d.id = {CONFIG}.device_id)"
)


def _kind(row: str) -> tuple[str, ...]:
    return (f"{row}.organization_id", f"{row}.status", f"{row}.backend")


def all_triggers(vendor: str) -> list[triggers.Trigger]:
    """Return the triggers on configurations, and the one on devices that move to another organization."""
    add = COUNTS.change(vendor, _kind("NEW"), by=1, when="NEW.organization_id IS NOT NULL")
    take = COUNTS.change(vendor, _kind("OLD"), by=-1, when="OLD.organization_id IS NOT NULL")
    follow = f"UPDATE {CONFIG} SET organization_id = NEW.organization_id WHERE device_id = NEW.id"  # noqa: S608
    return [
        triggers.Trigger(
            name="config_listed", table=CONFIG, event="INSERT", statements=(f"{_COPY} WHERE id = NEW.id",)
        ),
        triggers.Trigger(
            name="config_counted",
            table=CONFIG,
            event="UPDATE OF organization_id, status, backend",
            statements=(*take, *add),
        ),
        triggers.Trigger(name="config_unlisted", table=CONFIG, event="DELETE", statements=take),
        triggers.Trigger(
            name="config_moved", table=DEVICE, event="UPDATE OF organization_id", statements=(follow,)
        ),
    ]


def install(connection: BaseDatabaseWrapper) -> None:
    """Make the triggers where they are missing, and write anew what they keep."""
    with transaction.atomic(using=connection.alias):
        if triggers.install(connection, all_triggers(connection.vendor)):
            triggers.run(connection, _COPY)
            kind = ", ".join(_kind("c"))
            COUNTS.recount(
                connection,
                f"SELECT {kind}, count(*) FROM {CONFIG} c WHERE c.organization_id IS NOT NULL GROUP BY {kind}",  # noqa: S608
            )


def before_migrations(*, using: str, plan: Any = (), **_signal: Any) -> None:
    """Take the triggers down if a migration is going to change tables (receiver of `pre_migrate`)."""
    if triggers.in_the_way(connections[using], plan):
        triggers.remove(connections[using], all_triggers(connections[using].vendor))


def after_migrations(*, using: str, **_signal: Any) -> None:
    """Put them back (receiver of `post_migrate`)."""
    if ConfigCount._meta.db_table in connections[using].introspection.table_names():
        install(connections[using])
