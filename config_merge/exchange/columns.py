"""Which columns a table of devices has, and which of them an import writes.

Columns of places are there for the peer's tables: they are exported empty and ignored on import, since nothing here
knows places.
"""

import re

COLUMNS = (
    "name", "mac_address", "organization", "group", "model", "os", "system", "notes", "venue", "address", "coords",
    "is_mobile", "venue_type", "floor", "floor_position", "last_ip", "management_ip", "config_status",
    "config_backend", "config_data", "config_context", "config_templates", "created", "modified", "id", "key",
    "organization_id", "group_id", "location_id", "floorplan_id",
)  # fmt: skip
PLACES = frozenset(
    {
        "venue", "address", "coords", "is_mobile", "venue_type", "floor", "floor_position", "location_id",
        "floorplan_id",
    }
)  # fmt: skip
IGNORED = PLACES | {"config_status", "created", "modified"}
TEXTS = ("name", "mac_address", "model", "os", "system", "notes", "last_ip", "management_ip", "key")
# Column of a configuration's part, and the keyword of its service.
CONFIG_PARTS = {
    "config_backend": "backend",
    "config_data": "config",
    "config_context": "context",
    "config_templates": "templates",
}
FORMATS = {"csv": "CSV", "xlsx": "Excel (XLSX)", "json": "JSON"}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def escaped(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula.

    >>> escaped("=1+1"), escaped("plain"), escaped("'=1")
    ("'=1+1", 'plain', "''=1")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescaped(text: str) -> str:
    """Return what `escaped` was given.

    >>> unescaped("'=1+1"), unescaped("'s"), unescaped(escaped("''-"))
    ('=1+1', "'s", "''-")
    """
    return text[1:] if _ESCAPED.match(text) else text
