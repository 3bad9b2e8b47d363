"""The link's frames: JSON-RPC 2.0 texts out of values, and values out of texts. Source: docs/link-protocol.md.

Invariant: `read_frame` accepts nothing but one request, notification or answer of bounded size. Pure.
"""

import json
import math
from dataclasses import dataclass, field

from muster_agent.plan import Json

LONGEST_FRAME = 262_144
LONGEST_ID = 64
PROTOCOL = 1
CAPABILITIES = ("config.apply", "config.read", "archive")

NOT_JSON = -32700
NOT_A_REQUEST = -32600
UNKNOWN_METHOD = -32601
BAD_PARAMETERS = -32602
INTERNAL = -32603
UNSUPPORTED = -32001
BUSY = -32010
TOO_LARGE = -32011

MESSAGES = {
    NOT_JSON: "not JSON",
    NOT_A_REQUEST: "not a JSON-RPC 2.0 object",
    UNKNOWN_METHOD: "no such method",
    BAD_PARAMETERS: "bad parameters",
    INTERNAL: "internal error",
    BUSY: "busy",
    TOO_LARGE: "the answer is larger than a frame",
}

Id = int | float | str


class BadFrame(ValueError):
    """The frame cannot be understood; `code` is what it is answered with."""

    def __init__(self, code: int) -> None:
        super().__init__(MESSAGES[code])
        self.code = code


@dataclass(frozen=True)
class Incoming:
    """A request of the other side's, or a notification: then `id` is None."""

    method: str
    params: object = field(repr=False)
    id: Id | None


@dataclass(frozen=True)
class Answer:
    """What the other side says to a request of ours. `code` is None when it succeeded."""

    id: Id | None
    result: object = field(repr=False, default=None)
    code: int | None = None
    message: str = ""


def read_frame(frame: str | bytes) -> Incoming | Answer:
    """Raises BadFrame.

    >>> read_frame('{"jsonrpc": "2.0", "id": 3, "result": {}}')
    Answer(id=3, code=None, message='')
    """
    if not isinstance(frame, str):
        raise BadFrame(NOT_JSON)
    try:
        data = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise BadFrame(NOT_JSON) from error
    if not isinstance(data, dict) or data.get("jsonrpc") != "2.0" or not _is_id(data.get("id")):
        raise BadFrame(NOT_A_REQUEST)
    if isinstance(data.get("method"), str):
        return Incoming(method=data["method"], params=data.get("params", {}), id=data.get("id"))
    if "method" not in data and ("result" in data) != ("error" in data):
        return _answer(data)
    raise BadFrame(NOT_A_REQUEST)


def _answer(data: Json) -> Answer:
    number = data.get("id")
    name = number if isinstance(number, int | float | str) else None
    if "error" not in data:
        return Answer(id=name, result=data["result"])
    error = data["error"]
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        raise BadFrame(NOT_A_REQUEST)
    return Answer(id=name, code=error["code"], message=str(error.get("message", ""))[:256])


def _is_id(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, int) or (isinstance(value, str) and len(value) <= LONGEST_ID)


def request(number: int, method: str, params: Json) -> str:
    """A request frame."""
    return _text({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notification(method: str, params: Json) -> str:
    """A frame that is not answered."""
    return _text({"jsonrpc": "2.0", "method": method, "params": params})


def success(number: Id, result: Json) -> str:
    """The answer to a request; `TOO_LARGE` when it does not fit a frame.

    >>> success("t:1", {"state": "running"})
    '{"jsonrpc":"2.0","id":"t:1","result":{"state":"running"}}'
    """
    text = _text({"jsonrpc": "2.0", "id": number, "result": result})
    return text if len(text.encode()) <= LONGEST_FRAME else failure(number, TOO_LARGE)


def failure(number: Id | None, code: int, *, message: str = "", data: Json | None = None) -> str:
    """The answer to what was wrong. `number` is None when it could not be read."""
    error: Json = {"code": code, "message": message or MESSAGES[code]}
    if data is not None:
        error["data"] = data
    return _text({"jsonrpc": "2.0", "id": number, "error": error})


def _text(data: Json) -> str:
    # Texts from disk may hold half characters (surrogates); as escapes they pass any socket.
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))
