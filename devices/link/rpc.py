"""JSON-RPC 2.0 frames of the device link, read and printed (docs/link-protocol.md, *Frames*)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FRAME_BYTES = 262_144
ID_LENGTH = 64
DEPTH = 32
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNKNOWN_PROTOCOL = -32001
BUSY = -32010
TOO_LARGE = -32011
Id = int | str | None


class RpcError(Exception):
    """What is answered instead of a result; `data` is shown to the other side."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Malformed(Exception):
    """A frame that is no JSON-RPC; `answer` is the error frame that says so."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Request:
    """Something asked (`id` is not None) or told (None)."""

    method: str
    params: Mapping[str, Any] = field(repr=False)
    id: Id = None


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to something we asked; `error` is None when it worked."""

    id: Id
    result: Any = field(repr=False)
    error: RpcError | None = None


def read(text: str) -> Request | Response:
    """Return what a frame says. Raises Malformed.

    >>> read('{"jsonrpc": "2.0", "method": "ping", "id": 1}')
    Request(method='ping', id=1)
    """
    try:
        frame = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(failed(None, RpcError(PARSE_ERROR, "not JSON"))) from error
    if not isinstance(frame, dict) or frame.get("jsonrpc") != "2.0" or not _is_id(frame.get("id")):
        raise Malformed(failed(None, RpcError(INVALID_REQUEST, "not a JSON-RPC 2.0 object")))
    identifier: Id = frame.get("id")
    if "method" in frame:
        method, params = frame["method"], frame.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict):
            raise Malformed(failed(identifier, RpcError(INVALID_REQUEST, "method or params are malformed")))
        return Request(method, params, identifier)
    if "result" in frame and identifier is not None:
        return Response(identifier, frame["result"])
    if isinstance(frame.get("error"), dict):
        return Response(identifier, None, _error(frame["error"]))
    raise Malformed(failed(identifier, RpcError(INVALID_REQUEST, "neither a request nor an answer")))


def _refused(constant: str) -> Any:
    raise ValueError(constant)


# Making them costs as much as what they do for a frame.
_DECODER = json.JSONDecoder(parse_constant=_refused)
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def _is_id(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return len(value) <= ID_LENGTH
    return value is None or (isinstance(value, int) and abs(value) < 2**53)


def _error(given: Mapping[str, Any]) -> RpcError:
    code, message, data = given.get("code"), given.get("message"), given.get("data")
    return RpcError(
        code if isinstance(code, int) else INTERNAL_ERROR,
        message[:256] if isinstance(message, str) else "",
        data if isinstance(data, dict) else None,
    )


def asked(identifier: Id, method: str, params: Mapping[str, Any]) -> str:
    """Return the frame of a request.

    >>> asked(1, "ping", {})
    '{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}'
    """
    return _text({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params})


def answered(identifier: Id, result: Any) -> str:
    """Return the frame of a result."""
    return _text({"jsonrpc": "2.0", "id": identifier, "result": result})


def failed(identifier: Id, error: RpcError) -> str:
    """Return the frame of an error.

    >>> failed(None, RpcError(-32700, "not JSON"))
    '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON"}}'
    """
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        told["data"] = error.data
    return _text({"jsonrpc": "2.0", "id": identifier, "error": told})


def _text(frame: Mapping[str, Any]) -> str:
    return _ENCODER.encode(frame)
