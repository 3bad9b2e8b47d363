"""The admin, as everyone: staff of one organization neither see nor change anything of another."""

import re
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.db.models import Value
from django.test import Client, RequestFactory

from devices.models import DeviceGroup
from tenancy.policy import allows, rule_of
from tenancy.sign_in.models import SignInSession
from tests.isolation.admin_cases import OBJECTS, admin_routes, model_of, paths, registered_labels
from tests.isolation.routes import Route
from tests.isolation.world import (
    ANONYMOUS,
    MEMBERS,
    NUMBERED,
    OUTSIDER,
    ROLES,
    SUPERUSER,
    World,
    text_of,
    undone,
)

pytestmark = pytest.mark.django_db
UNSAVED = {"post": "yes", "_save": "Save", "name": "taken-over", "notes": "taken-over", "confirm": "yes"}
# What belongs to people, not to organizations: everyone on the staff may have some.
PERSONAL = {"tenancy.apitoken"}
ROUTES = admin_routes()
_clients: dict[str, Client] = {}


def client_of(world: World, role: str) -> Client:
    """Return a signed-in client; one per role serves all tests, as a new one loads all middleware."""
    client = _clients.setdefault(role, Client())
    client.cookies.clear()
    if role != ANONYMOUS:
        # Signing in leaves a row, and the rows were counted when the world was made.
        session = SignInSession.objects.filter(user=world.people[role]).first()
        assert session is not None
        client.cookies[settings.SESSION_COOKIE_NAME] = session.key
    return client


def ask(world: World, client: Client, method: str, path: str, data: Any = None) -> tuple[int, str, bool]:
    """Send one request, undone; returns status, text and whether rows changed. Messages do not outlive it."""
    with undone() as watch:
        response = getattr(client, method)(path, data or {})
        said = response.status_code, _comparable(text_of(response)), watch.changed(world.rows)
    client.cookies.pop("messages", None)
    return said


def _comparable(text: str) -> str:
    """Return a page without what differs each time it is shown."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", text)
    return re.sub(r"(nonce|csrf-token|csrfToken)[\"'=: ]+[\w-]+", "", text)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: str(route))
def test_staff_stay_inside_their_organization(world: World, route: Route) -> None:
    assert walk(world, route) == []


def walk(world: World, route: Route) -> list[str]:
    """Visit one admin route as everyone and return what should not have happened."""
    label = model_of(route)
    faults = []
    for places in paths(route, world):
        for role in ROLES:
            client = client_of(world, role)
            for method in ("get", "post"):
                # Signing out would end the session the next requests need, and shows nothing.
                if role != ANONYMOUS and route.name == "admin:logout":
                    continue
                answers = {kind: ask(world, client, method, path, UNSAVED) for kind, path in places.items()}
                faults += [
                    f"{role} {method} {fault}" for fault in _faults(world, role, label, places, answers)
                ]
                faults += [f"{role} {method} {fault}" for fault in _role_faults(role, method, label, answers)]
    return faults


def _faults(
    world: World, role: str, label: str | None, places: dict[str, str], answers: dict[str, Any]
) -> list[str]:
    found = []
    for kind, (status, text, changed) in answers.items():
        asked = places[kind].split("/")
        leaked = [] if role == SUPERUSER else world.leaked(_without(text, asked))
        if leaked:
            found.append(f"{kind} {places[kind]}: shows {leaked}")
        if status >= 500:
            found.append(f"{kind} {places[kind]}: answered {status}")
        if (
            role != SUPERUSER
            and kind in ("foreign", "unknown")
            and (changed or status not in (302, 403, 404, 405))
        ):
            found.append(f"{kind} {places[kind]}: answered {status}, changed={changed}")
        if changed and (role == ANONYMOUS or (role == OUTSIDER and label not in PERSONAL)):
            found.append(f"{kind} {places[kind]}: changed rows")
    if role != SUPERUSER and "foreign" in answers:
        foreign, unknown = (
            (answers[kind][0], _without(answers[kind][1], places[kind].split("/")))
            for kind in ("foreign", "unknown")
        )
        if foreign != unknown:
            found.append(f"foreign is told from unknown at {places['foreign']}: {foreign[0]} / {unknown[0]}")
    return found


def _without(text: str, asked: list[str]) -> str:
    """Return a page without the id that was asked for."""
    for part in asked:
        if len(part) == 36 or (part.isdigit() and int(part) >= NUMBERED):
            text = text.replace(part, "ID")
    return text


def _role_faults(role: str, method: str, label: str | None, answers: dict[str, Any]) -> list[str]:
    """Return where a member got more of an own or shared object than the policy gives their role."""
    if role not in MEMBERS or label is None or rule_of(label).view is None:
        return []
    found = []
    writes = any(allows(role, action, label) for action in ("add", "change", "delete"))
    for kind in ("own", "shared", "page"):
        if kind in answers:
            status, _, changed = answers[kind]
            if method == "get" and not allows(role, "view", label) and status == 200:
                found.append(f"{kind}: shown although the role may not view")
            if changed and (kind == "shared" or not writes):
                found.append(f"{kind}: changed although the role may not")
    return found


@pytest.mark.parametrize("label", registered_labels())
def test_every_model_in_the_admin_is_walked(label: str) -> None:
    assert label in OBJECTS
    assert any(model_of(route) == label for route in ROUTES)


@pytest.mark.parametrize("label", registered_labels())
def test_actions_do_nothing_to_foreign_rows(world: World, label: str) -> None:
    app, name = label.split(".")
    model_admin = next(
        entry for model, entry in admin.site._registry.items() if model._meta.label_lower == label
    )
    foreign = OBJECTS[label](world.foreign).pk
    for role in MEMBERS:
        request = RequestFactory().get("/")
        request.user = world.people[role]
        client = client_of(world, role)
        for action in {*model_admin.get_actions(request), "delete_selected"}:
            data = {"action": action, "_selected_action": str(foreign), "post": "yes", "index": "0"}
            status, text, changed = ask(world, client, "post", f"/admin/{app}/{name}/", data)
            assert status < 500, (role, action)
            assert not changed, (role, action)
            assert world.leaked(text.replace(str(foreign), "ID")) == [], (role, action)


@pytest.mark.parametrize("label", registered_labels())
def test_lists_filtered_by_a_foreign_object_show_nothing_of_it(world: World, label: str) -> None:
    app, name = label.split(".")
    foreign = str(world.foreign.organization.pk)
    for role in MEMBERS:
        client = client_of(world, role)
        for query in ({"organization__id__exact": foreign}, {"organization": foreign}, {"q": "-"}):
            status, text, _ = ask(world, client, "get", f"/admin/{app}/{name}/", query)
            assert status < 500
            assert world.leaked(text.replace(foreign, "ID")) == [], (role, query)


def test_autocompletion_and_search_offer_nothing_foreign(world: World) -> None:
    fields = [
        (model._meta.app_label, model._meta.model_name, field.name)
        for model in admin.site._registry
        for field in model._meta.get_fields()
        if (field.many_to_one or field.many_to_many) and field.concrete
    ]
    for role in (OUTSIDER, *MEMBERS):
        client = client_of(world, role)
        for app, name, field in fields:
            query = {"app_label": app, "model_name": name, "field_name": field, "term": ""}
            status, text, _ = ask(world, client, "get", "/admin/autocomplete/", query)
            assert status in (200, 302, 403, 404)
            assert world.leaked(text) == [], (role, app, name, field)
        for term in ("", "-", "ap", "temp", "group", "member"):
            status, text, _ = ask(world, client, "get", "/admin/search/", {"s": term})
            assert status < 500
            assert world.leaked(text) == [], (role, term)


def test_superusers_see_everything(world: World) -> None:
    client = client_of(world, SUPERUSER)
    for label, of in OBJECTS.items():
        if label in registered_labels():
            app, name = label.split(".")
            for tenant in (world.own, world.foreign):
                assert client.get(f"/admin/{app}/{name}/{of(tenant).pk}/change/").status_code == 200, label


@pytest.mark.parametrize("page", ["change", "changelist", "history"])
def test_a_page_without_its_scope_is_seen(world: World, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leaky = admin.site._registry[DeviceGroup]
    everything = DeviceGroup.objects.annotate(device_total=Value(0), template_total=Value(0))
    monkeypatch.setattr(leaky, "get_queryset", lambda request: everything)
    monkeypatch.setattr(leaky, "may", lambda request, action, obj=None: request.user.is_authenticated)
    route = next(route for route in ROUTES if route.name == f"admin:devices_devicegroup_{page}")
    assert walk(world, route) != []
