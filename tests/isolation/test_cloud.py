"""The cloud dialect knows keys, and a key opens one organization: every route, every method, every role."""

import json
from typing import Any

import pytest
from django.test import Client
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from config_merge.models import Site, SiteDevice
from config_merge.services import places, sites
from core import rates
from core.clock import now
from tenancy.models import ApiKey, Organization
from tenancy.policy import allows
from tests import factories
from tests.isolation.coverage import CLOUD
from tests.isolation.routes import Route, routes
from tests.isolation.walker import METHODS
from tests.isolation.world import MEMBERS, World, snapshot, text_of, undone

pytestmark = pytest.mark.django_db
EVERY = [route for route in routes() if route.pattern.startswith(CLOUD) and route.rest_view is not None]
# The other spellings of a route lead to the same view.
ROUTES = list({route.rest_view: route for route in EVERY}.values())
_client = Client()
UNKNOWN = 2**48
BODIES: dict[str, Any] = {
    "device": {"sn": "9", "mac": "00:11:22:33:44:55"},
    "config-change": {"changes": {"ntp/server": {"value": "x", "origin": "site"}}},
    "": {"name": "renamed"},
}


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = MovingWindowRateLimiter(MemoryStorage())
    monkeypatch.setattr(rates, "_limiter", lambda: limiter)
    monkeypatch.setattr("config_merge.pub_v1.door.LIMIT", rates.per_seconds(100_000, 1))


class Place:
    """A site with a device in an organization."""

    def __init__(self, organization: Organization, serial: str) -> None:
        self.site: Site = sites.site_create(organization=organization, name=f"site of {organization.slug}")
        self.place: SiteDevice = places.place_create(
            self.site, serial=serial, mac_address=factories.mac(), name=f"ap-of-{organization.slug}"
        )
        sites.site_settings_change(
            self.site, {"ntp/server": {"value": f"ntp.{organization.slug}"}}, version=None
        )

    def number(self, route: Route) -> int:
        return self.site.number if route.pattern.startswith(f"{CLOUD}site") else self.place.number

    def body(self, route: Route) -> Any:
        last = route.pattern.rstrip("/").split("/")[-1].removesuffix("s")
        body = dict(BODIES.get(last, BODIES[""]))
        if last == "config-change":
            self.site.refresh_from_db()
            self.place.refresh_from_db()
            row = self.site if route.pattern.startswith(f"{CLOUD}site") else self.place
            body["timestamp"] = str(row.version)
        return body


def ask(method: str, route: Route, number: int, body: Any, key: str, rows: Any) -> tuple[int, str, bool]:
    """Send one request and undo it; returns status, text and whether it changed anything."""
    path = route.pattern.replace("<str:number>", str(number))
    with undone() as watch:
        sent = "" if method in ("GET", "HEAD", "TRACE") else json.dumps(body)
        answer = _client.generic(method, path, sent, content_type="application/json", HTTP_X_API_KEY=key)
        return answer.status_code, text_of(answer), watch.changed(rows)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_key_opens_its_own_organization_only(world: World, route: Route) -> None:
    own, foreign = Place(world.own.organization, "own-1"), Place(world.foreign.organization, "foreign-1")
    keys = {role: factories.api_key(world.people[role], world.own.organization)[1] for role in MEMBERS}
    # A key that was used within the minute is not stamped again.
    ApiKey.objects.update(last_used=now())
    rows = snapshot()
    named = "<str:number>" in route.pattern
    view = route.rest_view
    assert view is not None
    for role, key in {**keys, "nobody": "abcdefgh." + "x" * 43}.items():
        for method in METHODS:
            mine, theirs, nobodys = (
                ask(method, route, number, place.body(route), key, rows)
                for number, place in (
                    (own.number(route), own), (foreign.number(route), foreign), (UNKNOWN, foreign),
                )
            )  # fmt: skip
            if role == "nobody":
                assert {mine[0], theirs[0], nobodys[0]} == {401}
                continue
            action = {"POST": view.actions.get("POST", "change"), "PUT": "change"}.get(method, "view")  # type: ignore[attr-defined]
            exists = hasattr(view, method.lower()) or (method == "HEAD" and hasattr(view, "get"))
            if exists and method != "OPTIONS":
                allowed = allows(role, action, view.kind)  # type: ignore[attr-defined]
                assert mine[0] == ((201 if action == "add" else 200) if allowed else 403), (
                    role,
                    method,
                    mine,
                )
                assert mine[2] == (allowed and action != "view")
            if named:
                assert theirs[:2] == nobodys[:2], (role, method)
                assert theirs[0] in (403, 404, 405) or method == "OPTIONS"
                assert not theirs[2]
            for answer in (mine, theirs):
                assert "foreign" not in answer[1]
                assert world.leaked(answer[1].replace(str(foreign.number(route)), "")) == []


def test_the_walk_reaches_every_form_of_every_route() -> None:
    # Four of each, and as many again of the four that end in a noun which can be counted.
    assert (len(ROUTES), len(EVERY)) == (9, 9 * 4 + 4 * 4)
