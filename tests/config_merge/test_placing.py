"""Devices that a site gets by the hundred: what is written is what one after the other would have been."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from config_merge.models import ConfigTask, Managed, Site, SiteDevice
from config_merge.services import configs, places, recompute, sites
from config_merge.services.placing import Newcomer, devices_join, devices_leave, devices_manage, places_create
from controller import provisioning
from controller.provisioning import devices_place
from core.errors import Forbidden
from devices.models import Device
from tenancy import webhooks
from tenancy.models import Notification
from tests import factories
from tests.config_merge.test_job_sets import state

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(db: None) -> Site:
    org = factories.organization("org-a")
    factories.webhook(org)
    factories.template(org, name="default", default=True)
    row = sites.site_create(organization=org, name="site")
    sites.site_settings_change(row, {"ntp/server": {"value": "one"}}, version=None)
    return row


MADE = re.compile(r"\d{4}-\d\d-\d\d [\d:.+]+")


def undone(act: Callable[[], Any]) -> list[str]:
    """Return the rows that are stored once it is done, devices by name and without times; nothing stays."""

    class Undo(Exception):
        pass

    try:
        with transaction.atomic():
            act()
            rows = re.findall(r"'(.*?)'", repr(state()))
            names = {
                str(made): row.name
                for row in Device.objects.all()
                for made in (row.pk, row.key, row.key_digest)
            }
            raise Undo
    except Undo:
        known = re.compile("|".join(names))
        return sorted(MADE.sub("", known.sub(lambda found: names[found[0]], row)) for row in rows)


def singly(site: Site, newcomers: list[Newcomer]) -> None:
    for each in newcomers:
        try:
            with transaction.atomic():
                places.place_create(site, serial=each.serial, mac_address=each.mac_address)
        except (ValidationError, Forbidden):
            continue


def test_newcomers_of_all_kinds_are_added_as_one_after_the_other_would_be(site: Site) -> None:
    known = factories.device(site.organization)
    places.place_create(site, serial="taken", mac_address=factories.mac())
    newcomers = [
        Newcomer("one", factories.mac()),
        Newcomer("two", factories.mac().lower()),
        Newcomer("two", factories.mac()),
        Newcomer("", factories.mac()),
        Newcomer("taken", factories.mac()),
        Newcomer("known", known.mac_address),
        Newcomer("x" * 65, factories.mac()),
        Newcomer("a\x00", factories.mac()),
        Newcomer("wrong", "no address"),
        Newcomer("last", factories.mac()),
    ]
    recompute.drain()
    done: set[Newcomer] = set()
    together = undone(lambda: done.update(places_create(site, newcomers)))
    assert {each.serial for each in done} == {"one", "two", "last"} and len(done) == 3
    assert together == undone(lambda: singly(site, newcomers))


def test_a_limit_on_devices_holds_for_newcomers(site: Site) -> None:
    factories.fleet_of(site.organization, device_limit=2)
    newcomers = [Newcomer(f"s{number}", factories.mac()) for number in range(4)]
    assert places_create(site, newcomers) == set(newcomers[:2])


def test_statements_do_not_grow_with_the_newcomers(site: Site) -> None:
    # Who wants to be told is looked up once a second.
    webhooks.subscriptions.hold(webhooks.subscriptions.wanted(), seconds=600)
    counts = []
    for size in (10, 100):
        newcomers = [Newcomer(f"{size}-{number}", factories.mac()) for number in range(size)]
        with CaptureQueriesContext(connection) as captured:
            assert len(places_create(site, newcomers)) == size
        counts.append(len(captured))
    assert counts[0] == counts[1] < 60
    assert ConfigTask.objects.count() == 110


def test_statements_do_not_grow_with_devices_that_cannot_be_given_what_their_site_says(site: Site) -> None:
    webhooks.subscriptions.hold(webhooks.subscriptions.wanted(), seconds=600)
    sites.site_update(site, context={"zone": "nowhere"})
    zone = {"config": {"general": {"timezone": "{{ zone }}"}}, "default_values": {"zone": "UTC"}}
    template = factories.template(site.organization, name="zone", **zone)
    counts = []
    for size in (5, 50):
        made = [factories.device(site.organization, config={"templates": [template]}) for _ in range(size)]
        with CaptureQueriesContext(connection) as captured:
            assert len(devices_join([device.pk for device in made], site)) == size
        told = Notification.objects.filter(
            target_id__in=[device.pk for device in made], kind="config_problem"
        )
        assert told.count() == size
        counts.append(len(captured))
    assert counts[0] == counts[1] < 60


def test_what_the_services_of_one_device_refuse_is_left_untouched(site: Site) -> None:
    org = site.organization
    alien, out, retired = factories.device(), factories.configured(org), factories.configured(org)
    nowhere = factories.configured(org)
    places.placement_change(retired, site=site)
    places.placement_change(retired, is_retired=True)
    configs.device_deactivate(out)
    before = undone(lambda: None)
    everybody = [alien.pk, out.pk, retired.pk]
    assert devices_join(everybody, site, managed_by=Managed.SITE) == set()
    assert devices_manage([*everybody, nowhere.pk], by=Managed.SITE) == set()
    assert devices_leave([*everybody, nowhere.pk]) == set()
    assert undone(lambda: None) == before
    assert devices_join(everybody, site) == {out.pk}


def test_a_simulated_fleet_is_put_into_a_site_in_portions(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioning, "PORTION", 4)
    org = site.organization
    known = [factories.configured(org) for _ in range(5)]
    elsewhere = sites.site_create(organization=org, name="elsewhere")
    places.placement_change(known[0], site=elsewhere, managed_by=Managed.SITE)
    places.placement_change(known[1], site=site)
    macs = [*(device.mac_address for device in known), *(factories.mac() for _ in range(6))]
    assert devices_place(org.slug, site="site", macs=macs) == 11
    there = SiteDevice.objects.filter(site=site, device__config__managed_by=Managed.SITE)
    assert set(there.values_list("device__mac_address", flat=True)) == set(macs)
    assert ConfigTask.objects.filter(site_id=site.pk).count() == 11
    assert devices_place(org.slug, site="site", macs=macs) == 0


def test_a_simulated_fleet_is_refused_in_the_services_words(site: Site) -> None:
    out = factories.configured(site.organization)
    configs.device_deactivate(out)
    with pytest.raises(Forbidden, match="deactivated"):
        devices_place(site.organization.slug, site="site", macs=[out.mac_address])
    factories.fleet_of(site.organization, device_limit=1)
    with pytest.raises(ValidationError):
        devices_place(site.organization.slug, site="site", macs=[factories.mac()])
    assert not SiteDevice.objects.exists()
