"""Parsers of the REST dialect: whatever a database or a JSON encoder could choke on is a 400 or 413 here.

Invariant: what a parser returns is text that UTF-8 can hold, of bounded size; no request picks the codec.
"""

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.http import QueryDict
from rest_framework import exceptions, parsers, renderers


class BodyTooLarge(exceptions.APIException):
    """The body is larger than `DATA_UPLOAD_MAX_MEMORY_SIZE`."""

    status_code = 413
    default_detail = "The request is too large."
    default_code = "too_large"


Context = Mapping[str, Any] | None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"Out of range float values are not JSON compliant: {name}")


def _bounded(stream: IO[bytes]) -> bytes:
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    body = stream.read(limit + 1)
    if len(body) > limit:
        raise BodyTooLarge
    return body


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text (RFC 8259). Raises ParseError, also for lone surrogates."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        if b"\\u" in body:
            # An escaped half of a surrogate pair is valid JSON, but no text that could be stored or answered.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise exceptions.ParseError("JSON parse error - nested too deeply") from error
    except ValueError as error:
        raise exceptions.ParseError(f"JSON parse error - {str(error)[:200]}") from error
    return value


class StrictJSONParser(parsers.BaseParser):
    """`application/json`, always UTF-8."""

    media_type = "application/json"
    renderer_class = renderers.JSONRenderer

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Context = None) -> Any:
        """Return the parsed value; raises ParseError (400) or BodyTooLarge (413)."""
        return parse_json(_bounded(stream))


class StrictFormParser(parsers.BaseParser):
    """`application/x-www-form-urlencoded`, always UTF-8."""

    media_type = "application/x-www-form-urlencoded"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Context = None
    ) -> QueryDict:
        """Return the fields; raises ParseError (400) or BodyTooLarge (413)."""
        return QueryDict(_bounded(stream), encoding="utf-8")


class StrictMultiPartParser(parsers.MultiPartParser):
    """`multipart/form-data`, always UTF-8."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return fields and files; raises ParseError (400)."""
        return super().parse(stream, media_type, {**(parser_context or {}), "encoding": "utf-8"})


PARSERS = (StrictJSONParser, StrictFormParser, StrictMultiPartParser)
