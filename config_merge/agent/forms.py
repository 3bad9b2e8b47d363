"""Parsing what agents send: a query string, or a form in either of HTML's encodings."""

import re
from collections.abc import Mapping
from io import BytesIO
from urllib.parse import parse_qsl

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

MAX_FIELDS = 100
_PLAIN = re.compile(r"[A-Za-z0-9_]+=[A-Za-z0-9_.:-]*")


def parse_query(raw: bytes | str) -> dict[str, str]:
    """Return the first value of every field; undecodable bytes are replaced, too many fields ignored.

    >>> parse_query(b"key=a&key=b&management_ip=10.0.0.1")
    {'key': 'a', 'management_ip': '10.0.0.1'}
    """
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    if _PLAIN.fullmatch(text):
        # What an agent sends with every poll; parse_qsl would take seven times as long.
        name, _, value = text.partition("=")
        return {name: value}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS)
    except ValueError:
        return {}
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def parse_form(body: bytes, content_type: str) -> dict[str, str]:
    """Return the fields of a form; what is no form, or has too many fields or files, has none."""
    if not content_type.lower().startswith("multipart/form-data"):
        return parse_query(body)
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    try:
        handler = MemoryFileUploadHandler()
        parsed, _ = MultiPartParser(meta, BytesIO(body), [handler], settings.DEFAULT_CHARSET).parse()
    except (MultiPartParserError, SuspiciousOperation, UnicodeError, ValueError):
        return {}
    return {name: str(parsed.getlist(name)[0]) for name in parsed}


def safe(fields: Mapping[str, str]) -> dict[str, str]:
    """Return fields without lone surrogates, which no database stores."""
    return {
        name: value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
        for name, value in fields.items()
    }
