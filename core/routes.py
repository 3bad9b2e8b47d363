"""Routes of the REST dialect: each is served with and without its trailing slash, without a redirect."""

import re
from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, re_path

_ID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}"


def route(pattern: str, view: Callable[..., Any], *, name: str) -> URLPattern:
    """Return the route of `pattern` ("device/<pk>/"), where `<pk>` is a UUID, dashed or as 32 hex digits.

    `<int:n>` is a whole number of up to nine digits.

    >>> str(route("device/", lambda request: None, name="device_list").pattern)
    '^device/?\\\\Z'
    """
    body = re.sub(r"<int:(\w+)>", r"(?P<\1>[0-9]{1,9})", pattern.rstrip("/"))
    body = re.sub(r"(?<!\?P)<(\w+)>", rf"(?P<\1>{_ID})", body)
    return re_path(rf"^{body}/?\Z", view, name=name)
