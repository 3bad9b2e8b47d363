"""The walk itself: it reaches every route, and it sees a hole where there is one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.isolation.coverage import KEYED, OPEN, uncovered, walk_of
from tests.isolation.rest_cases import CASES, DEVICE, Call, Case, Reference
from tests.isolation.routes import routes
from tests.isolation.walker import violations
from tests.isolation.world import World, text_of

pytestmark = pytest.mark.django_db
LEAKY = "tests.isolation.leaky_urls"
NOTES = Call(200, lambda _world, _tenant: {"notes": "changed"})


def test_every_route_has_a_case() -> None:
    assert uncovered() == []


def test_every_case_and_every_open_route_exists() -> None:
    names = {route.name for route in routes()}
    assert set(CASES) - names == set()
    assert set(OPEN) - names == set()
    assert set(KEYED) - names == set()


def test_a_rest_route_answers_only_the_methods_its_case_knows() -> None:
    for route in routes():
        if walk_of(route) == "rest" and route.rest_view is not None:
            methods = {
                method.upper()
                for method in route.rest_view.http_method_names
                if hasattr(route.rest_view, method)
            }
            assert methods - {"OPTIONS", "HEAD"} == set(CASES[route.name].calls), route


def test_a_route_without_a_case_is_reported() -> None:
    assert uncovered(LEAKY) == [
        "leak_unscoped",
        "leak_list",
        "leak_telling",
        "leak_roleless",
        "leak_trusting",
    ]


def device(tenant: Any) -> Any:
    return tenant.device


@pytest.mark.urls(LEAKY)
@pytest.mark.parametrize(
    ("name", "case", "seen"),
    [
        (
            "leak_unscoped",
            Case(DEVICE, {"GET": Call(), "PATCH": NOTES}, of=device),
            "viewer GET foreign: answered 403 instead of 404",
        ),
        (
            "leak_unscoped",
            Case(DEVICE, {"GET": Call(), "PATCH": NOTES}, of=device),
            "changed rows although refused",
        ),
        ("leak_list", Case(DEVICE, {"GET": Call()}), "viewer GET list: shows"),
        (
            "leak_telling",
            Case(DEVICE, {"GET": Call(), "PATCH": NOTES}, of=device),
            "foreign is told from unknown",
        ),
        (
            "leak_roleless",
            Case(DEVICE, {"GET": Call(), "PATCH": NOTES}, of=device),
            "viewer PATCH own: answered 200",
        ),
        (
            "leak_trusting",
            Case(
                DEVICE,
                {"GET": Call(), "PATCH": NOTES},
                of=device,
                references=(
                    Reference("PATCH", "group", lambda tenant: tenant.group, lambda _w, pk: {"group": pk}),
                ),
            ),
            "PATCH group=foreign: shows 'bravo'",
        ),
    ],
)
def test_a_hole_is_seen(world: World, name: str, case: Case, seen: str) -> None:
    found = violations(world, case, name)
    assert any(seen in fault for fault in found), found


@pytest.mark.parametrize("name", sorted(name for name in OPEN if not name.startswith("users_")))
def test_open_routes_show_nobody(world: World, name: str, url_of: Callable[[str], str]) -> None:
    response = Client().get(url_of(name))
    assert response.status_code in (200, 302, 503)
    assert world.leaked(text_of(response)) == []
    assert "alpha" not in text_of(response).replace("alphanumeric", "").replace("alphabet", "")
