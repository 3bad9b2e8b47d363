"""Every place of the API document where a caller can name another object is one the walk puts a foreign id into."""

import re
from collections.abc import Iterator
from typing import Any

from django.urls import resolve

from tests.config_merge.api.documented import document
from tests.isolation.rest_cases import CASES

SAMPLE = "00000000-0000-4000-8000-000000000000"
PLACE = re.compile(r"\{(\w+)\}")
NUMBERS = {"n", "m", "number"}
BODIES = {"post": "POST", "put": "PUT", "patch": "PATCH"}
# A UUID that names no row of a tenant: there are no VPN servers yet, so every id is refused.
NOT_A_RELATION = {
    (route, "vpn")
    for route in ("template_list", "template_detail", "template_preview", "template_new_preview")
}


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref") or next((part.get("$ref") for part in schema.get("allOf", [])), None)
    if reference is None:
        return schema
    found: dict[str, Any] = document()["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found


def _relations(schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield the top-level names below which a UUID may be written."""
    for name, entry in _resolved(schema).get("properties", {}).items():
        entry = _resolved(entry)
        if entry.get("readOnly"):
            continue
        inner = _resolved(entry.get("items", {}))
        if "uuid" in (entry.get("format"), inner.get("format")):
            yield place or name
        elif entry.get("type") == "object" or inner.get("type") == "object":
            yield from _relations(inner if inner else entry, place or name)


def _is_relation(parameter: dict[str, Any]) -> bool:
    return bool(parameter["in"] == "query" and parameter["schema"].get("format") == "uuid")


def _known(route: str, name: str, declared: set[tuple[str, str]]) -> bool:
    return ("GET", name) in declared or (route, name) in NOT_A_RELATION


def _sample(place: re.Match[str]) -> str:
    return "1" if place[1] in NUMBERS else SAMPLE


def _missing() -> list[str]:
    missing = []
    for path, item in document()["paths"].items():
        route = resolve(PLACE.sub(_sample, path)).url_name or ""
        declared = {
            (reference.method, reference.name)
            for reference in (CASES[route].references if route in CASES else ())
        }
        for verb, method in BODIES.items():
            content = item.get(verb, {}).get("requestBody", {}).get("content", {})
            for name in set(_relations(content.get("application/json", {}).get("schema", {}))):
                # A PUT takes what a PATCH takes, through the same serializer.
                methods = {method, "PATCH"} if method == "PUT" else {method}
                if (
                    not any((way, name) in declared for way in methods)
                    and (route, name) not in NOT_A_RELATION
                ):
                    missing.append(f"{route} {method} {name}")
        asked = [p["name"] for p in item.get("get", {}).get("parameters", []) if _is_relation(p)]
        missing += [f"{route} GET {name}" for name in asked if not _known(route, name, declared)]
    return sorted(missing)


def test_every_relation_of_the_document_is_walked_with_a_foreign_id() -> None:
    assert _missing() == []
