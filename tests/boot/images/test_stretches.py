"""Long appends are cut on their way in: no byte is lost, doubled or moved, however the body comes."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boot.images import stretches, uploads

PART = 10
PATH = "/api/v1/boot/uploads/5d0b1d0e-0000-4000-8000-000000000000/"
Status = Callable[[int], int]


class Upload:
    """What stands behind: it keeps what comes where it stands, after reading all of a request as Django does."""

    def __init__(self, *, stands: int, status: Status = lambda _: 200) -> None:
        self.kept, self.begins, self.status = b"", stands, status
        self.requests: list[tuple[int, str, int]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        gone = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not gone.done(), "the next stretch was given to who listens for the sender to go"
        gone.cancel()
        length = dict(scope["headers"]).get(b"content-length", b"").decode()
        offset = int(scope["query_string"].decode().partition("offset=")[2])
        self.requests.append((offset, length, len(body)))
        status = self.status(offset)
        if status == 200:
            assert offset == self.begins + len(self.kept)
            self.kept += body
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"at %d" % (offset + len(body))})


def sent(
    behind: Upload, chunks: list[bytes], *, length: bool, breaks: bool = False, query: bytes = b"offset=7"
) -> list[Any]:
    """Send a body in chunks; returns what was answered."""
    messages: list[Any] = [{"type": "http.request", "body": one, "more_body": True} for one in chunks]
    messages.append({"type": "http.disconnect"} if breaks else {"type": "http.request", "body": b""})
    if chunks and not breaks and len(chunks) % 2:
        # Some servers say with the last bytes that these are the last.
        messages = [*messages[:-2], {"type": "http.request", "body": chunks[-1], "more_body": False}]
    answered: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        answered.append(message)

    total = sum(map(len, chunks)) + 5 * breaks
    headers = [(b"content-length", b"%d" % total)] if length else [(b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "PATCH", "path": PATH, "headers": headers, "query_string": query}
    asyncio.run(stretches.in_stretches(behind, scope, receive, send))
    return answered


@pytest.fixture(autouse=True, scope="module")
def _short_parts() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "PART", PART)
        yield


@given(st.lists(st.binary(max_size=35), max_size=6), st.booleans())
def test_a_body_arrives_whole_in_stretches_whose_lengths_are_right(chunks: list[bytes], length: bool) -> None:
    behind, body = Upload(stands=7), b"".join(chunks)
    answered = sent(behind, chunks, length=length)
    assert behind.kept == body
    assert all(size <= PART for _, _, size in behind.requests)
    if length:
        assert all(int(said) == size for _, said, size in behind.requests)
    assert [one["type"] for one in answered] == ["http.response.start", "http.response.body"]
    assert answered[1]["body"] == b"at %d" % (7 + len(body))


@given(st.lists(st.binary(min_size=1, max_size=35), max_size=6), st.booleans())
def test_of_a_body_that_breaks_off_whole_stretches_stay(chunks: list[bytes], length: bool) -> None:
    behind, body = Upload(stands=7), b"".join(chunks)
    assert sent(behind, chunks, length=length, breaks=True) == []
    assert behind.kept == body[: len(body) // PART * PART]


def test_the_first_refusal_is_the_answer_and_nothing_more_is_asked() -> None:
    behind = Upload(stands=7, status=lambda offset: 409 if offset > 7 else 200)
    answered = sent(behind, [b"x" * 45], length=True)
    assert answered[0]["status"] == 409
    assert [offset for offset, _, _ in behind.requests] == [7, 17]


@pytest.mark.parametrize(
    "query", [b"", b"offset=", b"offset=-1", b"offset=1e3", b"offset=%D9%A1", b"offset=" + b"9" * 19]
)
def test_what_says_no_offset_goes_through_as_it_is(query: bytes) -> None:
    seen = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["query_string"], (await receive())["body"]))

    sent(application, [b"x" * 45], length=True, query=query)  # type: ignore[arg-type]
    assert seen == [(query, b"x" * 45)]


def test_only_appends_are_cut() -> None:
    assert stretches.serves({"method": "PATCH", "path": PATH})
    assert stretches.serves({"method": "PATCH", "path": PATH.rstrip("/")})
    assert not stretches.serves({"method": "GET", "path": PATH})
    assert not stretches.serves({"method": "PATCH", "path": "/api/v1/boot/configs/x/"})
    assert not stretches.serves({"method": "PATCH", "path": PATH + "finish/"})
