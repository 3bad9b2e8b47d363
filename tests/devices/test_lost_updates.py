"""A change of some fields leaves alone what others wrote after the object was loaded."""

import pytest
from django.core.exceptions import ValidationError

from config_merge.services import configs, templates
from core.errors import Forbidden
from devices import many, services
from devices.models import Device, DeviceGroup, FleetSettings
from tests import factories

pytestmark = pytest.mark.django_db


def test_two_changes_of_a_device_both_stay() -> None:
    device = factories.device()
    first, second = Device.objects.get(), Device.objects.get()
    services.device_update(first, notes="first")
    assert services.device_update(second, model="second") == {"model"}
    device.refresh_from_db()
    assert (device.notes, device.model) == ("first", "second")
    assert (second.notes, second.model) == ("first", "second"), "the caller's object is up to date"


def test_a_device_activated_meanwhile_stays_active() -> None:
    device = factories.device()
    many.devices_flag_set([device.pk], deactivated=True)
    loaded = Device.objects.get()
    many.devices_flag_set([device.pk], deactivated=False)
    group = factories.group(device.organization)
    configs.managed_device_update(loaded, group=group)
    device.refresh_from_db()
    assert (device.is_deactivated, device.group) == (False, group)
    assert (loaded.is_deactivated, loaded.group) == (False, group)


def test_a_device_deactivated_meanwhile_is_refused() -> None:
    loaded = factories.device()
    many.devices_flag_set([loaded.pk], deactivated=True)
    with pytest.raises(Forbidden):
        services.device_update(loaded, notes="late")


def test_addresses_heard_meanwhile_are_kept() -> None:
    loaded = factories.device()
    services.addresses_set(loaded.pk, last_ip="203.0.113.7", management_ip="10.0.0.7")
    services.device_update(loaded, notes="words")
    stored = Device.objects.get()
    assert (stored.last_ip, stored.management_ip, stored.notes) == ("203.0.113.7", "10.0.0.7", "words")


def test_only_what_is_named_is_written() -> None:
    loaded = factories.device()
    loaded.model = "set on the object alone"
    loaded.notes = "named too"
    assert services.device_update(loaded, notes="named too") == {"notes"}
    assert Device.objects.get().model == loaded.model == ""


def test_a_refused_change_leaves_the_row() -> None:
    loaded = factories.device()
    with pytest.raises(ValidationError):
        services.device_update(loaded, mac_address="nonsense")
    assert Device.objects.get().mac_address == loaded.mac_address


def test_two_changes_of_a_group_both_stay() -> None:
    factories.group()
    first, second = DeviceGroup.objects.get(), DeviceGroup.objects.get()
    services.group_update(first, context={"a": "b"})
    services.group_update(second, description="second")
    stored = DeviceGroup.objects.get()
    assert (stored.context, stored.description) == ({"a": "b"}, "second")


def test_a_secret_replaced_meanwhile_is_kept() -> None:
    organization = factories.organization()
    loaded = FleetSettings.objects.get(pk=organization.pk)
    factories.fleet_of(organization, shared_secret="replaced-secret")
    services.fleet_settings_update(loaded, device_limit=5)
    stored = FleetSettings.objects.get(pk=organization.pk)
    assert (stored.shared_secret, stored.device_limit) == ("replaced-secret", 5)
    assert loaded.shared_secret == "replaced-secret"


def test_two_changes_of_a_template_both_stay() -> None:
    template = factories.template()
    late = type(template).objects.get()
    templates.template_update(template, default_values={"tz": "UTC"})
    templates.template_update(late, notes="late")
    template.refresh_from_db()
    assert (template.default_values, template.notes) == ({"tz": "UTC"}, "late")
