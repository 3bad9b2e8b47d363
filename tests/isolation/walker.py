"""Walks a REST route as everyone, to everything, with every method, and tells what should not have happened.

The expected status comes from the spec's decision table (section 3) and from `tenancy.policy`, in this order:
no credentials 401; no active membership 403; a method the route has not 405; no role that may 403; an object
that is not one's own 404; a shared object written by a member 403.
"""

import json
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from rest_framework.test import APIClient

from tenancy.models import Role
from tenancy.policy import allows
from tests.isolation.rest_cases import JSON, Call, Case
from tests.isolation.world import (
    ANONYMOUS,
    MEMBERS,
    OUTSIDER,
    ROLES,
    SUPERUSER,
    World,
    text_of,
    undone,
)

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
ACTIONS = {"POST": "add", "PUT": "change", "PATCH": "change", "DELETE": "delete"}
LIST, OWN, FOREIGN, SHARED, UNKNOWN = "list", "own", "foreign", "shared", "unknown"


@dataclass(frozen=True)
class Answer:
    """What came back; `changed` tells whether any row of the product did."""

    status: int
    text: str
    changed: bool


# One for all: every new client loads the middleware anew, which costs more than the request.
_client = APIClient()


def ask(
    world: World, role: str, method: str, url: str, body: Any, *, refused: bool, media: str = JSON
) -> Answer:
    """Send one request and undo it; when it should be refused, see whether it changed anything."""
    headers = {} if role == ANONYMOUS else {"HTTP_AUTHORIZATION": f"Bearer {world.secrets[role]}"}
    with undone() as watch:
        whole = body if isinstance(body, bytes) else json.dumps(body)
        sent = "" if method in ("GET", "HEAD", "TRACE") else whole
        response = _client.generic(method, url, sent, content_type=media, **headers)
        changed = refused and method in ACTIONS and watch.changed(world.rows)
        return Answer(response.status_code, text_of(response), changed)


def call_of(case: Case, method: str, otherwise: Call) -> Call:
    """Return how a method is called; a HEAD is called as its GET."""
    return case.calls.get("GET" if method == "HEAD" and "GET" in case.calls else method, otherwise)


def expected(case: Case, role: str, method: str, kind: str) -> int:
    """Return the status the decision table asks for."""
    call = call_of(case, method, Call() if method == "OPTIONS" else Call(405))
    method = "GET" if method == "HEAD" and "GET" in case.calls else method
    action = case.posts if method == "POST" else ACTIONS.get(method, "view")
    if role == ANONYMOUS:
        return 401
    if case.personal:
        return 404 if kind in (FOREIGN, UNKNOWN) and call.ok != 405 and method != "OPTIONS" else call.ok
    if role == OUTSIDER:
        return 403
    if call.ok == 405:
        return 405
    if method == "OPTIONS":
        return 200 if role == SUPERUSER or allows(role, "view", case.model) else 403
    if role == SUPERUSER:
        return 404 if kind == UNKNOWN else call.ok
    if not allows(role, action, case.model):
        return 403
    if kind in (FOREIGN, UNKNOWN):
        return 404
    if case.reveals and role == Role.VIEWER:
        return 403
    return 403 if kind == SHARED and action != "view" else call.ok


def _ids(world: World, case: Case, role: str) -> dict[str, Any]:
    """Return the id of each kind of object there is for a case; for a list only that."""
    if case.of is None:
        return {LIST: None}
    own = case.of(world.own).pk
    if case.personal or case.mine:
        person = world.people.get(role)
        mine = type(case.of(world.own))._default_manager.filter(user=person)
        own = mine.values_list("pk", flat=True).first() or (own if case.mine else world.unknown)
    found = {OWN: own, FOREIGN: case.of(world.foreign).pk, UNKNOWN: world.unknown}
    return found | ({SHARED: case.shared(world).pk} if case.shared else {})


def _faults(world: World, role: str, said: Answer, wanted: int, *, asked: Any) -> list[str]:
    faults = []
    if said.status != wanted:
        faults.append(f"answered {said.status} instead of {wanted}: {said.text[:200]}")
    if said.changed and wanted >= 400:
        faults.append("changed rows although refused")
    if role != SUPERUSER:
        leaked = world.leaked(said.text.replace(str(asked), ""))
        faults += [f"shows {word!r} of the foreign organization" for word in leaked]
    return faults


def violations(world: World, case: Case, name: str) -> list[str]:
    """Return every way in which the route `name` breaks the wall; an empty list is what we want."""
    found = []
    for role in ROLES:
        for method in METHODS:
            answers = {}
            for kind, pk in _ids(world, case, role).items():
                call = call_of(case, method, Call())
                tenant = world.foreign if kind == FOREIGN and role == SUPERUSER else world.own
                names = case.extra(world.foreign if kind == FOREIGN else world.own)
                names |= case.arguments
                url = reverse(name, kwargs=names | ({"pk": pk} if pk else {})) + call.query
                wanted = expected(case, role, method, kind)
                refused = wanted >= 400 and method in case.calls
                sent = call.body(world, tenant)
                answers[kind] = said = ask(world, role, method, url, sent, refused=refused, media=call.media)
                faults = _faults(world, role, said, wanted, asked=pk)
                found += [f"{role} {method} {kind}: {fault}" for fault in faults]
            if role != SUPERUSER and FOREIGN in answers:
                found += _told_apart(world, case, role, method, answers)
    return found + [fault for reference in case.references for fault in _named(world, case, name, reference)]


def _told_apart(world: World, case: Case, role: str, method: str, answers: dict[str, Answer]) -> list[str]:
    assert case.of is not None
    foreign, unknown = answers[FOREIGN], answers[UNKNOWN]
    blank = (
        foreign.text.replace(str(case.of(world.foreign).pk), "ID"),
        unknown.text.replace(str(world.unknown), "ID"),
    )
    if foreign.status != unknown.status or blank[0] != blank[1]:
        return [f"{role} {method}: foreign is told from unknown: {blank[0][:99]} / {blank[1][:99]}"]
    return []


def _named(world: World, case: Case, name: str, reference: Any) -> list[str]:
    """Return what is wrong when a member names a foreign object in a body or a query: 400 is right."""
    found = []
    url = reverse(name, kwargs={"pk": case.of(world.own).pk, **case.arguments} if case.of else None)
    for role in MEMBERS:
        action = case.posts if reference.method == "POST" else ACTIONS.get(reference.method, "view")
        if not allows(role, action, case.model):
            continue
        said = {}
        for kind, pk in ((FOREIGN, reference.of(world.foreign).pk), (UNKNOWN, world.unknown)):
            where = url if reference.body else f"{url}?{reference.name}={pk}"
            body = reference.body(world, str(pk)) if reference.body else {}
            media = case.calls[reference.method].media
            said[kind] = answer = ask(world, role, reference.method, where, body, refused=True, media=media)
            faults = _faults(world, role, answer, 400, asked=pk)
            found += [f"{role} {reference.method} {reference.name}={kind}: {fault}" for fault in faults]
        foreign = said[FOREIGN].text.replace(str(reference.of(world.foreign).pk), "ID")
        if foreign != said[UNKNOWN].text.replace(str(world.unknown), "ID"):
            found.append(
                f"{role} {reference.method} {reference.name}: foreign is told from unknown: {foreign[:200]}"
            )
    return found
