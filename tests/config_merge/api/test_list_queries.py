"""Every list of the REST API asks the database equally often for three rows as for thirty.

The routes are found by walking the URLconf: a new list is measured without being named here. Whose rows cannot be made
by `fill` has to be added there, which the test says.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.mixins import ListModelMixin
from rest_framework.test import APIClient

from boot.images import services as images
from boot.images import uploads
from boot.images.queries import Space
from boot.services import boot_config_delete, boot_config_set
from config_merge.delivery import again
from config_merge.models import Job, Site
from config_merge.services import configs, jobs, places, sites
from core.clock import now
from devices.models import Device
from tenancy import webhook_services
from tenancy.models import Organization, Role, User, Webhook
from tests import factories
from tests.isolation.routes import Route, routes
from tracking.services import track

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
        site = sites.site_create(
            organization=org, name=f"site {factories.mac()}", context={"wifi_key": factories.mac()}
        )
        first = Site.objects.filter(organization=org).order_by("created").first() or site
        places.place_create(first, serial=factories.mac(), mac_address=factories.mac())
        again.push_again(device)
        _boot(user, org)
        configs.managed_device_update(device, name=f"renamed-{factories.mac()[-5:].replace(':', '-')}")


def _boot(user: User, org: Organization) -> None:
    """Add a key of what machines boot with, and one of everything that hangs on it."""
    key, _ = factories.api_key(user, org, name=factories.mac())
    mac = factories.mac()
    given = {"api_key_id": key.pk, "organization_id": org.pk, "device": mac.lower()}
    boot_config_set(api_key_id=key.pk, device=mac.lower(), document={"config": {"password": mac}})
    gone = {"api_key_id": key.pk, "device": "gone"}
    boot_config_set(**gone, document={"config": {"password": mac}})
    boot_config_delete(**gone)
    track(**given, info="here", at=now())
    factories.device(org, mac_address=mac)
    images.image_store(Space(org, key), "image", ContentFile(mac.encode()))
    for part in ("initramfs.tgz", "rootfs.sqsh", "info.sh"):
        path = f"autobuild/stock/2026_01_01_000000/{part}"
        images.image_store(Space(org, key), path, ContentFile(mac.encode() + part.encode()))
    uploads.upload_begin(Space(org, key), path="coming", size=3)


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
        "site_devices": Site.objects.order_by("created").first,
        "batch_results": Job.objects.order_by("created").last,
    }
    whole = of.get(route.name, lambda: device)()
    return reverse(route.name, kwargs=dict.fromkeys(route.arguments, whole.pk if whole else device.pk))


class Counted(NamedTuple):
    """What a list showed and asked with three rows of everything, then with thirty."""

    few: int
    asked_few: list[str]
    many: int
    asked_many: list[str]


@pytest.fixture(scope="module")
def counted(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[Route, Counted]]:
    """Every list's answer to three rows and to thirty: making the rows takes longer than asking all lists."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield _counted()
        transaction.set_rollback(True)


def _counted() -> dict[Route, Counted]:
    org = factories.organization()
    user = factories.user(role=Role.OWNER, organization=org)
    device = factories.configured(org)
    client, headers = APIClient(), factories.bearer(user)
    fill(user, org, device, 3)
    few = {}
    for route in LISTS:
        # The token's first use is noted, and that secrets were shown.
        client.get(_path(route, device, user), **headers)
        few[route] = statements(client, _path(route, device, user), **headers)
    fill(user, org, device, 27)
    return {
        route: Counted(*few[route], *statements(client, _path(route, device, user), **headers))
        for route in LISTS
    }


@pytest.mark.django_db
@pytest.mark.parametrize("route", LISTS, ids=str)
def test_a_list_costs_the_same_for_three_rows_and_for_thirty(
    route: Route, counted: dict[Route, Counted]
) -> None:
    of = counted[route]
    # A page has at most a hundred.
    assert of.few >= 3 and of.many >= min(of.few + 27, 100), f"`fill` adds no rows to {route}"
    assert len(of.asked_many) == len(of.asked_few) <= MOST, of.asked_many


def test_the_walk_finds_the_lists_there_are() -> None:
    named = {route.name for route in LISTS}
    assert {
        "device_list",
        "template_list",
        "group_list",
        "device_revisions",
        "users_notification_list",
    } <= named
