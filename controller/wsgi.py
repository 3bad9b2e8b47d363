"""The web pages and the API for a WSGI server. Websockets and the agents' fast path need `controller.asgi`."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from controller.charsets import without_odd_charset
from core.net import SENT_PATH

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")
django_application = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Hand a request to Django, which does not keep the path as it came."""
    environ[SENT_PATH] = environ.get("PATH_INFO", "")
    if environ.get("CONTENT_TYPE"):
        environ["CONTENT_TYPE"] = without_odd_charset(environ["CONTENT_TYPE"])
    answered: Iterable[bytes] = django_application(environ, start_response)
    return answered
