"""Whether an answer's body is what the OpenAPI document says of it."""

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

PATH = Path(__file__).parents[3] / "docs" / "openapi.yaml"


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Return the committed document."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(PATH.read_text(), Loader=loader)
    return found


def _plain(node: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema: `nullable` becomes one more type."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {name: _plain(value) for name, value in node.items() if name != "nullable"}
    return {"anyOf": [changed, {"type": "null"}]} if node.get("nullable") is True else changed


@lru_cache(maxsize=1)
def _components() -> Any:
    return _plain(document()["components"])


@cache
def _validator(method: str, path: str, status: str) -> Any:
    responses = document()["paths"][path][method]["responses"]
    content = responses.get(status, {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    if schema is None:
        return None
    return jsonschema_rs.Draft202012Validator(
        {**_plain(schema), "components": _components()}, validate_formats=True
    )


def fault(method: str, path: str, status: int, content: bytes) -> str:
    """Return what an answer's JSON body has that the document does not allow, or an empty text."""
    validator = _validator(method.lower(), path, str(status))
    if validator is None:
        return ""
    found = next(iter(validator.iter_errors(json.loads(content))), None)
    return "" if found is None else f"{'/'.join(map(str, found.instance_path))}: {found.message}"[:400]
