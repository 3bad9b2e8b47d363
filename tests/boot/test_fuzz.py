"""Whatever bytes come in, something sensible goes out; and what is a configuration is served as what it says."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from boot.documents import MEMBERS, InvalidDocument, body_of, document_of, encoded, parsed, script_of
from boot.messages import METHODS, route_of
from core import quotas
from tenancy.models import Organization
from tests.boot.conftest import Caller, ThinDoor, made

STEADY = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KNOWN = {200, 302, 400, 403, 404, 405, 413, 429}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
DOCUMENTS = JSON | st.dictionaries(
    st.sampled_from([*MEMBERS, "other"]),
    JSON
    | st.dictionaries(st.sampled_from(["url", "md5sum", "x"]), st.text() | st.just("http://x/y"))
    | st.binary().map(encoded),
)
PATHS = st.one_of(
    st.binary(max_size=60).map(lambda tail: b"/" + tail),
    st.tuples(
        st.sampled_from([b"/boot/", b"/track/", b"/images/global/", b"/images/own/", b"/images/"]),
        st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from([b"", b"/config", b"/config/", b"/"]),
    ).map(b"".join),
)


async def ask(door: ThinDoor, scope: dict[str, Any], body: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Hand a scope to the application as a server would; returns what it sent."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await door.application({"type": "http", **scope}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@STEADY
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "PUT", "BREW", ""]),
    path=PATHS,
    key=st.binary(max_size=40) | st.just(b"own"),
    query=st.binary(max_size=30) | st.binary(max_size=30).map(lambda value: b"apiKey=" + value),
    body=st.binary(max_size=60) | DOCUMENTS.map(lambda sent: json.dumps(sent).encode()),
)
@example(method="POST", path=b"/boot/x/config", key=b"own", query=b"", body=b'{"config": "\\ud800\\u0000"}')
@example(method="POST", path=b"/track/x", key=b"own", query=b"", body=b'{"info": "\\ud800\\u0000"}')
@example(method="GET", path=b"/track/%00", key=b"own", query=b"", body=b"")
@example(method="GET", path=b"/boot/%ED%A0%80/config", key=b"own", query=b"apiKey=%ff", body=b"")
def test_no_bytes_make_it_fail(
    thin: ThinDoor, org: Organization, method: str, path: bytes, key: bytes, query: bytes, body: bytes
) -> None:
    quotas.windows().storage.reset()
    caller = thin.__dict__.setdefault("caller", made(thin, org))
    sent = caller.text.encode() if key == b"own" else key
    scope = {
        "method": method, "path": path.decode("utf-8", "replace"), "raw_path": path, "query_string": query,
        "headers": [(b"x-api-key", sent)], "client": ("192.0.2.1", 1), "server": ("testserver", 80),
        "scheme": "http",
    }  # fmt: skip
    status, headers, answered = thin.loop.run_until_complete(ask(thin, scope, body))
    assert status in KNOWN, answered
    if method != "HEAD":
        assert headers[b"content-type"] == b"application/json"
        if status >= 400:
            assert json.loads(answered).keys() == {"message"}
        else:
            assert answered == b"" or json.loads(answered) is not None


@STEADY
@given(DOCUMENTS)
def test_a_document_is_refused_or_whole_and_stays_as_it_is(sent: Any) -> None:
    try:
        body = body_of(document_of(parsed(json.dumps(sent).encode())))
    except InvalidDocument as error:
        assert str(error).startswith("Invalid request body")
        return
    document = json.loads(body)
    assert tuple(sorted(document)) == MEMBERS
    for name in ("initfs", "rootfs"):
        assert set(document[name]) == {"url", "md5sum"}
        assert all(isinstance(value, str) for value in document[name].values())
    for name in ("bootcode", "usercode"):
        script_of(document[name])
    if isinstance(sent, dict) and sent.get("config") is not None:
        assert document["config"] == json.loads(json.dumps(sent["config"]))
    assert body_of(document_of(parsed(body.encode()))) == body


@given(st.binary())
def test_a_script_comes_back_as_it_was(script: bytes) -> None:
    assert script_of(encoded(script)) == script


@given(PATHS)
def test_a_route_is_found_in_bounded_words_or_not_at_all(path: bytes) -> None:
    route = route_of(path)
    if route is not None:
        assert route.name in METHODS
        assert (route.subject + route.path).isprintable() and len(route.subject) <= 4096


def test_an_abandoned_request_is_answered_to_nobody(thin: ThinDoor, org: Organization) -> None:
    caller: Caller = made(thin, org)
    sent: list[Any] = []

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/track/x", "raw_path": b"/track/x", "query_string": b"",
        "headers": [(b"x-api-key", caller.text.encode())], "client": None, "server": None, "scheme": "http",
    }  # fmt: skip
    thin.loop.run_until_complete(thin.application(scope, gone, send))
    assert sent == []
    assert asyncio.iscoroutinefunction(gone) and caller("GET", "/track").json == []


@pytest.mark.parametrize("length", ["99999999999999999999", "-1", "x", "4097"])
def test_a_length_that_is_a_lie_or_too_much_is_no_failure(
    thin: ThinDoor, org: Organization, length: str
) -> None:
    caller = made(thin, org)
    scope = {
        "method": "POST", "path": "/track/x", "raw_path": b"/track/x", "query_string": b"",
        "headers": [(b"x-api-key", caller.text.encode()), (b"content-length", length.encode())],
        "client": None, "server": None, "scheme": "http",
    }  # fmt: skip
    status, _, _ = thin.loop.run_until_complete(ask(thin, scope, b'{"info": "x"}'))
    assert status == (413 if length.isdecimal() else 200)
