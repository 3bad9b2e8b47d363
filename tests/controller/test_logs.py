"""Log lines: an id per request, one JSON object per line where no one watches, never a query string."""

import contextlib
import io
import json
import logging
import logging.config
from collections.abc import Iterator

import structlog
from django.conf import settings
from django.test import Client

from controller import logs


@contextlib.contextmanager
def captured(*, style: str = "json", terminal: bool = False) -> Iterator[io.StringIO]:
    """What is written to standard error while a configuration of its own stands."""
    stream = io.StringIO()
    logging.config.dictConfig(logs.configuration(level="INFO", style=style, terminal=terminal))
    try:
        with contextlib.redirect_stderr(stream):
            yield stream
    finally:
        logging.config.dictConfig(settings.LOGGING)


def written(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_level_logger_and_utc_time() -> None:
    with captured() as lines:
        logging.getLogger("fleet").warning("device %s is late", "d1")
        structlog.stdlib.get_logger("fleet").info("polled", device="d1")
    late, polled = written(lines)
    assert (late["event"], late["level"], late["logger"]) == ("device d1 is late", "warning", "fleet")
    assert late["timestamp"].endswith("Z")
    assert (polled["event"], polled["device"]) == ("polled", "d1")


def test_the_id_of_a_request_is_in_its_lines_and_in_its_answer(client: Client) -> None:
    with captured() as lines:
        answer = client.get("/api/v1/no-such-room/", headers={"X-Request-ID": "abc-42"})
    assert answer["X-Request-ID"] == "abc-42"
    assert [line["request_id"] for line in written(lines)] == ["abc-42"]


def test_an_id_that_could_forge_a_line_is_replaced(client: Client) -> None:
    forged = 'x" level="critical'
    answer = client.get("/healthz", headers={"X-Request-ID": forged})
    assert answer["X-Request-ID"] != forged
    assert len(answer["X-Request-ID"]) == 32


def test_a_key_in_a_query_string_never_reaches_the_log(client: Client) -> None:
    with captured() as lines:
        client.get("/no-such-page?key=0123456789abcdef")
        logging.getLogger("x").error(
            "GET %s failed", "http://h/controller/checksum/1/?key=0123456789abcdef&a=b"
        )
    assert "0123456789abcdef" not in lines.getvalue()
    assert written(lines)[-1]["event"] == "GET http://h/controller/checksum/1/ failed"


def test_an_exception_is_written_whole() -> None:
    with captured() as lines:
        try:
            raise KeyError("lost")
        except KeyError:
            logging.getLogger("x").exception("went wrong")
    (line,) = written(lines)
    assert "KeyError: 'lost'" in line["exception"]


def test_a_terminal_gets_text() -> None:
    with captured(style="auto", terminal=True) as lines:
        logging.getLogger("x").warning("hello")
    assert "hello" in lines.getvalue()
    assert not lines.getvalue().startswith("{")
