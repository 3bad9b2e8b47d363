"""Whatever is sent to whichever operation, by whomever: no 5xx, and only documented answers with documented bodies.

Bounded to sixteen examples per operation; `make test ARGS="-m fuzz --hypothesis-profile=deep"` sends many more, and
others each time (`--hypothesis-seed=N` repeats a run). The inputs come from the committed OpenAPI document, half of
them against it; ids are made to point at something real often enough that the code behind them is reached.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient
from schemathesis import GenerationMode

from boot.images import services as images
from boot.images import uploads
from boot.images.queries import Space
from boot.services import boot_config_set
from config_merge.models import ConfigTask, Job
from config_merge.services import jobs, places, sites
from core import rates
from core.clock import now
from devices.models import Device
from tenancy import audit, webhooks
from tenancy.models import AuditEvent, Organization, Role, User
from tests import factories
from tests.config_merge.api.documented import document as committed
from tests.config_merge.api.documented import fault
from tests.isolation.world import undone
from tracking.models import TrackedDevice
from tracking.services import track

pytestmark = [pytest.mark.fuzz, pytest.mark.django_db]
EXAMPLES = 16 if settings.get_current_profile_name() == "steady" else 200
METHODS = {"get", "post", "put", "patch", "delete"}
CALLERS = ("superuser", "owner", "operator", "viewer", "anonymous")
# Who cannot sign in uses these.
OPEN = re.compile(r"token/|/password/reset/")


def operations() -> list[str]:
    """Return "METHOD path" of every operation of the document."""
    paths = committed()["paths"]
    return [f"{verb.upper()} {path}" for path, item in paths.items() for verb in item if verb in METHODS]


@pytest.fixture(scope="module")
def schema() -> Any:
    return schemathesis.openapi.from_dict(committed())


def audit_event(org: Any) -> AuditEvent:
    """Return something that was done."""
    audit.record("test.done", org, organization_id=org.pk)
    return AuditEvent.objects.get(action="test.done")


def job(org: Any, creator: User) -> Job:
    """Return a job on all devices of an organization."""
    devices = Device.objects.filter(organization=org)
    return jobs.job_create(
        kind=Job.Kind.DEACTIVATE, devices=devices, organization_id=org.pk, creator=creator, reason=""
    )


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, str]]:
    """Something real for each kind of path, for as long as the module runs: what requests write is undone."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield _made()
        transaction.set_rollback(True)


@pytest.fixture
def ids(world: dict[str, str]) -> dict[str, str]:
    """Return something real for each kind of path, and for `organization` and `group` in bodies."""
    # There is a webhook among it, which wants to hear of what is sent here.
    webhooks.subscriptions.forget()
    return world


def _made() -> dict[str, str]:
    org = factories.organization("fuzz")
    group = factories.group(org, templates=[factories.template(org)])
    operator = factories.user("operator", role=Role.OPERATOR, organization=org)
    return {
        "organization": str(org.pk),
        "group": str(group.pk),
        "template": str(factories.template(org).pk),
        "device": str(factories.configured(org, group=group).pk),
        "notification": str(factories.notification(org).pk),
        "api-token": str(factories.tenancy.token_issue(user=operator, name="t")[0].pk),
        "api-key": str(factories.api_key(operator, org)[0].pk),
        "user": str(operator.pk),
        "membership": str(operator.memberships.get().pk),
        "audit": str(audit_event(org).pk),
        "batch": str(job(org, operator).pk),
        "webhook": str(factories.webhook(org).pk),
        "session": str(factories.session(operator).pk),
        **_cloud(org),
        **_boot(org, operator),
        **_credentials(org, operator),
    }


def _boot(org: Organization, operator: User) -> dict[str, str]:
    """Return the ids of what a machine boots, of what it said, and of images."""
    key, _ = factories.api_key(operator, org)
    named: dict[str, Any] = {"api_key_id": key.pk, "organization_id": org.pk, "device": "default"}
    config = boot_config_set(api_key_id=key.pk, device="default", document={})
    track(**named, info="fuzz", at=now())
    space = Space(org, key)
    return {
        "key": str(key.pk),
        "keys": str(key.pk),
        "configs": str(config.pk),
        "tracks": str(TrackedDevice.objects.get(api_key=key).pk),
        "images": str(images.image_store(space, "fuzz", ContentFile(b"fuzz")).pk),
        "uploads": str(uploads.upload_begin(space, path="coming", size=5).pk),
    }


def _cloud(org: Organization) -> dict[str, str]:
    """Return the numbers of a site and a device of it, and the timestamps of their settings."""
    site = sites.site_create(organization=org, name="fuzz")
    place = places.place_create(site, serial="fuzz", mac_address="02:00:00:00:ff:ff")
    return {
        "site id": str(site.pk),
        "task": str(ConfigTask.objects.get(device=place.device).pk),
        "sites": str(site.number),
        "site": str(site.number),
        "devices": str(place.number),
        "cloud device": str(place.number),
        "site timestamp": str(site.version),
        "device timestamp": str(place.version),
    }


def _credentials(org: Organization, operator: User) -> dict[str, str]:
    """Return a token and an API key of each caller, the key under "key of …"."""
    callers = {
        "operator": operator,
        "owner": factories.user(role=Role.OWNER, organization=org),
        "viewer": factories.user(role=Role.VIEWER, organization=org),
        "superuser": factories.superuser(),
    }
    tokens = {name: factories.token_for(user) for name, user in callers.items()}
    keys = {f"key of {name}": factories.api_key(user, org)[1] for name, user in callers.items()}
    return tokens | keys


def _grounded(case: Any, ids: dict[str, str]) -> None:
    """Make the ids of a generated case point at real rows."""
    if isinstance(case.path_parameters, dict) and "id" in case.path_parameters:
        named = case.path.removeprefix("/api/v1/").split("/")[1]
        case.path_parameters["id"] = ids.get(f"{named} id") or ids[named]
    noun = case.path.split("/")[3] if case.path.startswith("/pub/") else ""
    if noun and isinstance(case.path_parameters, dict) and "number" in case.path_parameters:
        case.path_parameters["number"] = ids["cloud device" if noun == "device" else noun]
    if isinstance(case.body, dict) and "timestamp" in case.body:
        case.body["timestamp"] = ids[f"{noun.rstrip('s')} timestamp"]
    if isinstance(case.body, dict):
        for name in {"organization", "group", "key"} & set(case.body):
            case.body[name] = ids[name]


@pytest.mark.parametrize("operation", operations())
def test_no_input_breaks_an_operation(operation: str, schema: Any, ids: dict[str, str]) -> None:
    method, path = operation.split(" ")
    described = schema[path][method]
    statuses = {int(code) for code in committed()["paths"][path][method.lower()]["responses"]}
    client = APIClient(raise_request_exception=False)
    _attack(described, client, statuses, ids)


def _attack(described: Any, client: APIClient, statuses: set[int], ids: dict[str, str]) -> None:
    """Send generated cases and look at each answer."""
    cases = st.one_of(described.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases, caller=st.sampled_from(CALLERS), unknown=st.integers(0, 5))
    def attack(case: Any, caller: str, unknown: int) -> None:
        if unknown < 5:
            _grounded(case, ids)
        answer = _send(client, case, ids.get(caller), ids.get(f"key of {caller}"))
        body = answer.getvalue() if answer.streaming else answer.content
        said = body[:500]
        assert answer.status_code < 500, said
        # 404 also stands for a path that names nothing, 405 for a method no operation documents.
        assert answer.status_code in statuses | {404}, (answer.status_code, said)
        if "json" in answer.get("Content-Type", ""):
            wrong = fault(case.method, case.path, answer.status_code, body)
            assert not wrong, (answer.status_code, wrong, said)
        if caller == "anonymous" and not OPEN.search(case.path):
            assert answer.status_code in (401, 404), said

    attack()


def _send(client: APIClient, case: Any, token: str | None, key: str | None) -> Any:
    """Send one case through Django's handler, undone."""
    sent = case.as_transport_kwargs(base_url="http://testserver")
    names = ("method", "url", "params", "data", "json", "files", "headers")
    prepared = requests.Request(**{name: sent[name] for name in names if name in sent}).prepare()
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}", "HTTP_X_API_KEY": key or ""} if token else {}
    cache.clear()  # attempts to sign in are limited
    rates.forget()
    with undone():
        return client.generic(
            case.method,
            prepared.path_url,
            prepared.body or b"",
            content_type=prepared.headers.get("Content-Type", "application/octet-stream"),
            **headers,
        )
