"""Every list of the REST API asks the database equally often for three rows as for thirty.

The routes are found by walking the URLconf: a new list is measured without being named here. Whose rows cannot be made
by `fill` has to be added there, which the test says.
"""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.mixins import ListModelMixin
from rest_framework.test import APIClient

from config_merge.models import Job
from config_merge.services import configs, jobs
from devices.models import Device
from tenancy import webhook_services
from tenancy.models import Organization, Role, User, Webhook
from tests import factories
from tests.isolation.routes import Route, routes

# The user's token, their roles, the count, the keys, the rows, and what is prefetched.
MOST = 7
LISTS = [route for route in routes() if route.rest_view and issubclass(route.rest_view, ListModelMixin)]


def fill(user: User, org: Organization, device: Device, rows: int) -> None:
    """Add so many rows of everything there are lists of."""
    webhook = Webhook.objects.filter(organization=org).order_by("created").first() or factories.webhook(org)
    for number in range(rows):
        template = factories.template(org, tags=["a", "b"], config=factories.interface(f"eth{number % 9}"))
        group = factories.group(org, templates=[template])
        factories.configured(org, group=group)
        factories.notification(org)
        factories.token_for(user)
        factories.api_key(user, org)
        more = factories.organization()
        factories.tenancy.membership_set(user=user, organization=more, role=Role.OWNER)
        factories.session(user)
        factories.user(role=Role.VIEWER, organization=org)
        webhook_services.webhook_test(webhook)
        factories.webhook(more)
        configs.device_delete(factories.configured(org), force=True)
        jobs.job_create(
            kind=Job.Kind.DEACTIVATE,
            devices=Device.objects.filter(organization=org),
            organization_id=org.pk,
            creator=user,
            reason="",
        )
        configs.managed_device_update(device, name=f"renamed-{factories.mac()[-5:].replace(':', '-')}")


def statements(client: APIClient, path: str, **headers: Any) -> tuple[int, list[str]]:
    """Return how many rows a list shows, and what it asked the database."""
    with CaptureQueriesContext(connection) as caught:
        answer = client.get(path, {"page_size": 100}, **headers)
    assert answer.status_code == 200, answer.content
    return len(answer.json()["results"]), [query["sql"] for query in caught]


def _path(route: Route, device: Device, user: User) -> str:
    """Return the list's address; a list of parts is that of something that has many by now."""
    of: dict[str, Any] = {
        "users_webhook_delivery_list": Webhook.objects.order_by("created").first,
        "users_member_list": lambda: device.organization,
        "users_member_token_list": lambda: user,
        "batch_results": Job.objects.order_by("created").last,
    }
    whole = of.get(route.name, lambda: device)()
    return reverse(route.name, kwargs=dict.fromkeys(route.arguments, whole.pk if whole else device.pk))


@pytest.mark.parametrize("route", LISTS, ids=str)
def test_a_list_costs_the_same_for_three_rows_and_for_thirty(route: Route, db: None) -> None:
    org = factories.organization()
    user = factories.user(role=Role.OWNER, organization=org)
    device = factories.configured(org)
    client, headers = APIClient(), factories.bearer(user)
    fill(user, org, device, 3)
    # The token's first use is noted, and that secrets were shown.
    client.get(_path(route, device, user), **headers)
    few, asked_few = statements(client, _path(route, device, user), **headers)
    fill(user, org, device, 27)
    many, asked_many = statements(client, _path(route, device, user), **headers)
    assert few >= 3 and many >= few + 27, f"`fill` adds no rows to {route}"
    assert len(asked_many) == len(asked_few) <= MOST, asked_many


def test_the_walk_finds_the_lists_there_are() -> None:
    named = {route.name for route in LISTS}
    assert {
        "device_list",
        "template_list",
        "group_list",
        "device_revisions",
        "users_notification_list",
    } <= named
