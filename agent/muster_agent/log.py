"""One line per event, as `key=value` words or as JSON, on one stream.

Invariant: a concealed value (the shared secret, the device key) never reaches a line.
"""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TextIO

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
KEPT_LINES = 200

LogFormat = Literal["text", "json"]


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


def _word(value: object) -> str:
    text = str(value)
    if text and all(character.isprintable() and character not in ' "=' for character in text):
        return text
    return json.dumps(text, ensure_ascii=False)


class EventLog:
    """Writes events and remembers the lines since `mark()`, which become an error report's reason.

    Any thread may write.
    """

    def __init__(
        self,
        *,
        level: str = "info",
        fmt: LogFormat = "text",
        stream: TextIO | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._threshold = LEVELS[level]
        self._fmt = fmt
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._concealed: list[str] = []
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()

    def conceal(self, value: str) -> None:
        """Replace `value` by `***` in everything written from now on."""
        if value and value not in self._concealed:
            self._concealed.append(value)

    def scrub(self, text: str) -> str:
        """`text` without the concealed values."""
        for value in self._concealed:
            text = text.replace(value, "***")
        return text

    def mark(self) -> None:
        """Forget the remembered lines: a new attempt begins."""
        with self._lock:
            self._lines.clear()

    def lines(self) -> tuple[str, ...]:
        """The lines (without time) of the events at info level and above since the last `mark()`."""
        with self._lock:
            return tuple(self._lines)

    def debug(self, event: str, **fields: object) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        words = " ".join(f"{name}={_word(value)}" for name, value in fields.items())
        body = self.scrub(f"level={level} event={event} {words}".rstrip())
        if LEVELS[level] >= LEVELS["info"]:
            with self._lock:
                self._lines.append(body)
        if LEVELS[level] < self._threshold:
            return
        stamp = self._clock().isoformat(timespec="milliseconds")
        if self._fmt == "json":
            record = {"time": stamp, "level": level, "event": event}
            record.update({name: str(value) for name, value in fields.items()})
            line = self.scrub(json.dumps(record, ensure_ascii=False))
        else:
            line = f"time={stamp} {body}"
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()
