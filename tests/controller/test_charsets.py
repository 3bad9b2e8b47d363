"""A charset that is none is no error 500, whichever server Muster runs under."""

import io
from typing import Any

import httpx
import pytest

from controller.asgi import application as asgi_application
from controller.wsgi import application as wsgi_application

ODD = ["rot13", "base64", "undefined", "idna", "no-such", '"zip"', ""]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("charset", ODD)
async def test_under_asgi(charset: str) -> None:
    transport = httpx.ASGITransport(app=asgi_application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = {"Content-Type": f"application/json; charset={charset}"}
        answered = await client.post("/api/v1/users/token/", content=b"{}", headers=headers)
    assert answered.status_code == 400
    assert answered.json() == {
        "username": ["This field is required."],
        "password": ["This field is required."],
    }


@pytest.mark.django_db
@pytest.mark.parametrize("charset", ODD)
def test_under_wsgi(charset: str) -> None:
    said: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/users/token/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": f"application/json; charset={charset}",
        "CONTENT_LENGTH": "2",
        "wsgi.input": io.BytesIO(b"{}"),
        "wsgi.url_scheme": "http",
    }
    answered = wsgi_application(environ, lambda status, headers: said.append(status))
    assert said == ["400 Bad Request"]
    assert b"required" in b"".join(answered)
