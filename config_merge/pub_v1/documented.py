"""What the API document says of this dialect."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

MOST = 1000


def _object(properties: dict[str, Any], *optional: str, **more: Any) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    named = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **named, **more}


_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_WHEN: dict[str, Any] = {"type": "string", "format": "date-time"}
_ID: dict[str, Any] = {"type": "string", "pattern": "^[0-9]+$"}
SITE = _object({"id": _ID, "name": _TEXT, "created_at": _WHEN, "updated_at": _WHEN})
DEVICE = _object(
    {
        "id": _ID,
        "name": _TEXT,
        "site_id": _ID,
        "sn": _TEXT,
        "mac": _TEXT,
        "status_id": {"type": "string", "enum": ["STATUS_ONLINE", "STATUS_OFFLINE", "STATUS_UNKNOWN"]},
        "state_id": {"type": "string", "enum": ["STATE_PENDING", "STATE_REGISTERED"]},
        "health_id": {
            "type": "string",
            "enum": ["HEALTH_NORMAL", "HEALTH_WARNING", "HEALTH_CRITICAL", "HEALTH_UNKNOWN"],
        },
        "blocked": _FLAG,
        "last_contact": {**_WHEN, "nullable": True},
        "created_at": _WHEN,
        "updated_at": _WHEN,
        "product_brand_id": _TEXT,
        "type": {"type": "string", "enum": ["NET_ENTERPRISE", "NET_INDIVIDUAL"]},
        "hostname": _TEXT,
        "suspend_config": _FLAG,
        "decomm": _FLAG,
        "license_type": _TEXT,
    }
)
_MOMENT: dict[str, Any] = {**_WHEN, "nullable": True}
TASK = _object(
    {
        "id": _TEXT,
        "device_id": _ID,
        "kind": {"type": "string", "enum": ["change", "resync"]},
        "state": {
            "type": "string",
            "enum": [
                "queued", "sent", "executing", "done", "failed", "rolled_back", "superseded", "expired", "cancelled",
            ],
        },
        "config_sha256": _TEXT,
        "attempts": {"type": "integer"},
        "created_at": _WHEN,
        "sent_at": _MOMENT,
        "started_at": _MOMENT,
        "finished_at": _MOMENT,
        "error": _TEXT,
    }
)  # fmt: skip
_VALUE = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT}], "nullable": True}
_ENTRY = _object({"value": _VALUE, "origin": _TEXT})
SETTINGS = {"type": "object", "additionalProperties": _ENTRY}
CHANGES = _object(
    {
        "unfinishedTaskCount": {"type": "integer"},
        "configSuspended": _FLAG,
        "configResync": _FLAG,
        "timestamp": {"type": "string", "format": "uuid"},
        "serverSideChanged": _FLAG,
        "site": SETTINGS,
        "device": SETTINGS,
        "defaults": {"type": "object", "additionalProperties": {}},
        "initial": SETTINGS,
    },
    "initial",
)
_ORIGIN = {"type": "string", "enum": ["site", "device", "site-device"]}
_SENT_ENTRY = {
    **_object({"value": {"type": "string", "nullable": True}, "origin": _ORIGIN}),
    "nullable": True,
}
CHANGE = _object(
    {"timestamp": _TEXT, "changes": {"type": "object", "additionalProperties": _SENT_ENTRY}},
    example={
        "timestamp": "5d478d10-4313-11e8-ba24-2de5f1a646e0",
        "changes": {"hotspot/landingURL": {"value": "https://www.example.org", "origin": "site-device"}},
    },
)
NEW_DEVICE = _object({"sn": _TEXT, "mac": _TEXT, "name": _TEXT, "inherit": _FLAG}, "name", "inherit")
SITE_UPDATE = _object({"name": _TEXT}, "name")
_WRITABLE = {"name": _TEXT, "suspend_config": _FLAG, "blocked": _FLAG, "decomm": _FLAG}
DEVICE_UPDATE = _object(_WRITABLE, *_WRITABLE)
PAGE = [
    OpenApiParameter("limit", int, description=f"At most so many, up to {MOST}; all when it is not said."),
    OpenApiParameter("offset", int, description="Leave out so many first."),
]
_REFUSALS = {
    400: "What is wrong with what was sent.",
    401: "`x-api-key header is not valid`",
    403: "The role of the key's user does not allow it.",
    404: "It does not exist, or not in the key's cloud.",
    413: "The body is too large.",
    415: "Only JSON is read.",
    429: "More than 200 requests in ten seconds; see `Retry-After`.",
}


def list_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a bare array."""
    return {"type": "array", "items": schema}


def operation(
    name: str,
    answer: Any,
    *,
    code: int = 200,
    sent: Any = None,
    parameters: list[OpenApiParameter] | None = None,
) -> Any:
    """Describe an operation; all refusals are plain text."""
    refusals = {
        (status, "text/plain"): OpenApiResponse(OpenApiTypes.STR, description=words)
        for status, words in _REFUSALS.items()
    }
    return extend_schema(
        operation_id=name,
        responses={(code, "application/json"): answer, **refusals},
        request={"application/json": sent} if sent is not None else None,
        parameters=parameters,
    )
