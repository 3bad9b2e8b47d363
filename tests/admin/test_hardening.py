"""What a hostile or late browser sends to the admin is answered without harm and without an error page."""

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import DataError
from django.test import Client
from django.urls import reverse

from core.admin import parse_json
from devices.models import DeviceGroup, FleetSettings
from tenancy.admin_base import Refused, refusals
from tenancy.models import Organization
from tests import factories
from tests.admin.conftest import page


@pytest.mark.parametrize("keys", [["garbage"], ["garbage", "\x00"], [""]])
@pytest.mark.parametrize(
    ("listed", "action"),
    [
        ("devices_device", "deactivate_selected"),
        ("config_merge_template", "delete_selected"),
        ("tenancy_user", "delete_selected"),
        ("tenancy_notification", "mark_read"),
    ],
)
def test_a_malformed_selection_is_no_selection(
    root: Client, listed: str, action: str, keys: list[str]
) -> None:
    for extra in ({"index": "0"}, {}):
        posted = {"action": action, "_selected_action": keys, **extra}
        answer = root.post(page(f"{listed}_changelist"), posted)
        assert answer.status_code in (200, 302)


def test_a_malformed_key_does_not_spoil_the_others(root: Client, org: Organization) -> None:
    device = factories.device(org)
    posted = {"action": "deactivate_selected", "_selected_action": ["garbage", str(device.pk)], "index": "0"}
    answer = root.post(page("devices_device_changelist"), {**posted, "confirmed": "yes"})
    assert answer.status_code in (200, 302)
    device.refresh_from_db()
    assert device.is_deactivated


@pytest.mark.parametrize("text", ['{"a": "\\u0000"}', '{"\\u0000": 1}', '{"a":' * 70 + "1" + "}" * 70])
def test_json_no_database_takes_is_a_form_error(operator: Client, org: Organization, text: str) -> None:
    with pytest.raises(ValidationError):
        parse_json(text)
    posted = {"name": "G", "organization": str(org.pk), "description": "", "context": "{}", "meta_data": text}
    answer = operator.post(page("devices_devicegroup_add"), posted)
    assert answer.context["adminform"].form.errors["meta_data"]
    assert not DeviceGroup.objects.exists()


def test_what_the_database_refuses_is_shown_on_the_form() -> None:
    with pytest.raises(Refused), refusals():
        raise DataError("value out of range")


@pytest.mark.parametrize(
    "query",
    ["configs__isnull=False", "configs={pk}", "config_templates__isnull=False", "group_templates__isnull=False",
     "organization__devices__isnull=False", "organization__slug__startswith=b", "device_total=1"],
)  # fmt: skip
def test_no_parameter_looks_behind_a_relation(
    operator: Client, org: Organization, other: Organization, query: str
) -> None:
    template = factories.template()
    device = factories.configured(other, config={"templates": [template]})
    path = page("config_merge_template_changelist")
    answer = operator.get(f"{path}?{query.format(pk=factories.config_of(device).pk)}")
    assert template.name not in answer.content.decode()
    assert answer.status_code == 400


def test_own_columns_and_declared_filters_still_narrow_a_list(operator: Client, org: Organization) -> None:
    factories.template(name="everywhere", default=True)
    path = page("config_merge_template_changelist")
    for query, shown in (
        ("default__exact=1", True),
        ("default__exact=0", False),
        ("organization=shared", True),
        (f"organization={org.pk}", False),
        ("name__startswith=every", True),
    ):
        answer = operator.get(f"{path}?{query}")
        assert answer.status_code == 200
        assert ("everywhere" in [str(row) for row in answer.context["cl"].result_list]) is shown


def rendered(client: Client, path: str) -> dict[str, Any]:
    """Return what a browser would post from the fleet settings form as it is rendered."""
    html = client.get(path).content.decode()
    inputs = re.findall(r"<input[^>]*shared_secret[^>]*>", html)
    found = {}
    for tag in inputs:
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        assert name
        found[name[1]] = value[1] if value else ""
    return {**found, "device_limit": "7", "context": "{}", "registration_enabled": "on"}


def test_a_form_opened_before_a_rotation_keeps_the_new_secret(staff: Any, org: Organization) -> None:
    manager, path = staff("manager"), page("devices_fleetsettings_change", org.pk)
    opened = rendered(manager, path)
    assert opened["shared_secret"] == "", "the page does not hold it"
    before = FleetSettings.objects.get(pk=org.pk).shared_secret
    manager.post(page("devices_fleetsettings_rotate", org.pk))
    rotated = FleetSettings.objects.get(pk=org.pk).shared_secret
    assert rotated != before
    assert manager.post(path, opened).status_code == 302
    stored = FleetSettings.objects.get(pk=org.pk)
    assert (stored.shared_secret, stored.device_limit) == (rotated, 7)
    assert manager.post(path, {**opened, "shared_secret": "typed-by-hand"}).status_code == 302
    assert FleetSettings.objects.get(pk=org.pk).shared_secret == "typed-by-hand"


def test_sign_in_is_limited_by_address_together_with_the_api(db: None) -> None:
    cache.clear()
    factories.user("ann", is_staff=True)
    client, login = Client(REMOTE_ADDR="9.9.9.7"), reverse("admin:login")
    wrong = {"username": "ann", "password": "wrong"}
    answers = [client.post(login, wrong, HTTP_X_FORWARDED_FOR=f"10.0.0.{n}") for n in range(40)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert int(answers[-1]["Retry-After"]) > 0
    right = {"username": "ann", "password": factories.PASSWORD}
    assert client.post(login, right).status_code == 429
    assert client.post("/api/v1/users/token/", right).status_code == 429
    assert client.get(login).status_code == 200, "the page itself can be looked at"
    assert Client(REMOTE_ADDR="9.9.9.6").post(login, right).status_code == 302
