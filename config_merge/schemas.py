"""The JSON schemas that editors of configurations work with."""

import copy
import functools
from typing import Any

from config_merge.engine import BACKENDS
from config_merge.engine.backends import backend_named


@functools.cache
def editor_schema(backend: str) -> dict[str, Any]:
    """Return a back end's schema without the host name, which is the device's own. Raises UnknownBackend.

    It is shared by all callers, who must not change it.
    """
    schema: dict[str, Any] = copy.deepcopy(dict(backend_named(backend).schema))
    general = schema.get("properties", {}).get("general", {})
    general.get("properties", {}).pop("hostname", None)
    if "hostname" in general.get("required", ()):
        general["required"] = [name for name in general["required"] if name != "hostname"]
        if not general["required"]:
            del general["required"]
    # An editor starts empty instead of with every section there is.
    schema["defaultProperties"] = []
    return schema


def editor_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of every back end, by its path."""
    return {name: editor_schema(name) for name in BACKENDS}
