"""Pages and answers of the roof: documentation offline, errors without debug pages, headers on everything."""

import re

import pytest
from django.test import Client

from controller.headers import policy_for

DOCS = ("/api/v1/docs/", "/api/v1/redoc/")
EXTERNAL = re.compile(r"""(?:src|href|url\()\s*=?\s*["']?\s*(?:https?:)?//""", re.I)
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>", re.I)


def test_the_root_leads_to_the_admin(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


@pytest.mark.parametrize("page", DOCS)
def test_documentation_needs_no_login_and_no_other_host(client: Client, page: str) -> None:
    answer = client.get(page)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert not EXTERNAL.search(text)
    assert not INLINE_SCRIPT.search(text)
    assert "<style" not in text
    assert "unsafe-inline" not in answer["Content-Security-Policy"].partition("script-src")[2]


@pytest.mark.django_db  # a file that has been sent closes the request, and with it the connection
@pytest.mark.parametrize("page", DOCS)
def test_everything_a_documentation_page_names_is_served_here(client: Client, page: str) -> None:
    names = re.findall(r'(?:src|href|spec-url)="([^"]+)"', client.get(page).content.decode())
    assert len(names) >= 3
    for name in names:
        answer = client.get(name.replace("&amp;", "&"))
        assert answer.status_code == 200, name
        answer.close()


@pytest.mark.parametrize(
    ("path", "kind"), [("docs.json", "application/vnd.oai.openapi+json"), ("docs.yaml", "oai.openapi")]
)
def test_the_openapi_document_is_served_in_both_forms(client: Client, path: str, kind: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200
    assert kind in answer["Content-Type"]


@pytest.mark.parametrize("path", ["/api/v1/no-such-room/", "/api/", "/api/v1/controller/no-such-thing/"])
def test_an_unknown_api_route_is_json(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not found."}


def test_an_unknown_page_is_one_plain_line(client: Client) -> None:
    answer = client.get("/no-such-page")
    assert (answer.status_code, answer.content) == (404, b"404 Not found.\n")
    assert answer["Content-Type"].startswith("text/plain")


def test_a_missing_slash_is_not_redirected(client: Client) -> None:
    assert client.get("/api/v1/docs").status_code == 404


def test_a_form_without_its_token_is_refused_without_a_debug_page() -> None:
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "x", "password": "y"})
    assert answer.status_code == 403
    assert answer.content == b"403 CSRF verification failed. Reload the page and try again.\n"


def test_every_answer_carries_the_protective_headers(client: Client) -> None:
    for path in ("/admin/login/", "/api/v1/docs/", "/api/v1/docs.json", "/no-such-page", "/healthz"):
        answer = client.get(path)
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]


def test_no_page_may_run_inline_scripts_and_data_may_do_nothing() -> None:
    for path in ("/", "/admin/", "/api/v1/", "/api/v1/docs/", "/api/v1/redoc/", "/elsewhere/"):
        directives = dict(
            part.split(" ", 1) for part in policy_for(path, content_type="text/html").split("; ")
        )
        assert "unsafe-inline" not in directives.get("script-src", directives["default-src"])
    assert (
        policy_for("/api/v1/x/", content_type="application/json")
        == "default-src 'none'; frame-ancestors 'none'"
    )


@pytest.mark.django_db
def test_static_files_come_from_a_fresh_clone(client: Client) -> None:
    answer = client.get("/static/controller/docs.css")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/css")
    answer.close()
