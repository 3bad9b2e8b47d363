"""Staff see and touch their own organizations only, and there what their role allows."""

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from config_merge.models import Template
from devices.models import Device, DeviceGroup
from tenancy.models import Organization
from tests import factories
from tests.admin.conftest import device_form, page

DEVICE_PAGES = (
    "change",
    "delete",
    "history",
    "effective",
    "files",
    "download",
    "revisions",
    "activate",
    "deactivate",
)
UNKNOWN = "11111111-2222-3333-4444-555555555555"


def same_but_for_id(response: Any, object_id: Any) -> tuple[int, str, str, list[str]]:
    """Return an answer with the id taken out: status, target, body, messages."""
    texts = (
        [str(message) for message in response.wsgi_request._messages] if response.status_code == 302 else []
    )
    body = "" if response.streaming else response.content.decode().replace(str(object_id), "ID")
    return (
        response.status_code,
        response.get("Location", "").replace(str(object_id), "ID"),
        body,
        [text.replace(str(object_id), "ID") for text in texts[-1:]],
    )


@pytest.mark.parametrize("name", DEVICE_PAGES)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_foreign_device_is_answered_like_an_unknown_one(
    operator: Client, other: Organization, name: str, method: str
) -> None:
    foreign = factories.configured(other)
    answers = [
        same_but_for_id(getattr(operator, method)(page(f"devices_device_{name}", pk)), pk)
        for pk in (foreign.pk, UNKNOWN)
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] in (302, 403)
    foreign.refresh_from_db()
    assert not foreign.is_deactivated


def test_a_foreign_revision_is_answered_like_an_unknown_one(operator: Client, other: Organization) -> None:
    foreign = factories.configured(other)
    answers = [
        same_but_for_id(operator.get(page("devices_device_revision", pk, 1)), pk)
        for pk in (foreign.pk, UNKNOWN)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=lambda model: model._meta.label), ids=str)
def test_no_list_and_no_suggestion_names_a_foreign_object(
    staff: Any, org: Organization, other: Organization, model: Any
) -> None:
    factories.configured(other, name="foreign-device", model="foreign-model")
    factories.group(other, name="foreign-group")
    factories.template(other, name="foreign-template")
    factories.notification(other, message="foreign news")
    factories.user("foreign-user", role="owner", organization=other)
    owner = staff("owner")
    label = f"{model._meta.app_label}_{model._meta.model_name}"
    answer = owner.get(page(f"{label}_changelist"))
    assert answer.status_code in (200, 403)
    text = answer.content.decode()
    assert "foreign" not in text
    assert "Beta" not in text and str(other.pk) not in text
    for search in ("foreign", "Beta", "org-b"):
        assert str(other.pk) not in owner.get(page(f"{label}_changelist"), {"q": search}).content.decode()


def test_forms_offer_own_rows_and_shared_templates_only(
    operator: Client, org: Organization, other: Organization
) -> None:
    factories.group(org, name="own-group")
    factories.group(other, name="foreign-group")
    factories.template(org, name="own-template")
    factories.template(other, name="foreign-template")
    factories.template(None, name="shared-template")
    text = operator.get(page("devices_device_add")).content.decode()
    assert all(name in text for name in ("own-group", "own-template", "shared-template", "Alpha"))
    assert "foreign" not in text and "Beta" not in text


@pytest.mark.parametrize("field", ["organization", "group", "config_templates"])
def test_a_posted_foreign_key_is_refused(
    operator: Client, org: Organization, other: Organization, field: str
) -> None:
    foreign = {
        "organization": other.pk,
        "group": factories.group(other).pk,
        "config_templates": factories.template(other).pk,
    }
    posted = device_form(name="ap", mac_address="02:00:00:00:00:99", organization=str(org.pk))
    answer = operator.post(page("devices_device_add"), {**posted, field: str(foreign[field])})
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors[field]
    assert not Device.objects.exists()


def test_a_filter_on_a_foreign_row_finds_nothing(
    operator: Client, org: Organization, other: Organization
) -> None:
    factories.device(org, name="own-device")
    for parameter, pk in (
        ("organization", other.pk),
        ("group", factories.group(other).pk),
        ("template", factories.template(other).pk),
    ):
        answer = operator.get(page("devices_device_changelist"), {parameter: str(pk)})
        assert answer.status_code == 200
        assert "own-device" not in answer.content.decode()


def test_lookups_through_relations_are_closed(operator: Client, org: Organization) -> None:
    factories.device(org)
    answer = operator.get(
        page("devices_device_changelist"),
        {"organization__fleet_settings__shared_secret_digest__startswith": "a"},
    )
    assert answer.status_code in (302, 400)


@pytest.mark.parametrize(
    ("role", "may_edit"),
    [("viewer", False), ("operator", True), ("manager", True), ("owner", True), (None, True)],
)
def test_the_role_decides_who_edits_devices_groups_and_templates(
    staff: Any, org: Organization, role: str | None, may_edit: bool
) -> None:
    client = staff(role)
    rows = {
        "devices_device": factories.configured(org),
        "devices_devicegroup": factories.group(org),
        "config_merge_template": factories.template(org),
    }
    for label, row in rows.items():
        answer = client.get(page(f"{label}_change", row.pk))
        assert answer.status_code == 200
        assert ('name="_save"' in answer.content.decode()) is may_edit
        assert client.get(page(f"{label}_add")).status_code == (200 if may_edit else 403)
        posted = client.post(page(f"{label}_change", row.pk), {"name": "renamed"})
        assert posted.status_code == (200 if may_edit else 403)
    switched = client.post(page("devices_device_deactivate", rows["devices_device"].pk))
    assert switched.status_code == (302 if may_edit else 403)


def test_a_viewer_reads_a_masked_key_and_their_settings(staff: Any, org: Organization) -> None:
    device = factories.configured(org)
    text = staff("viewer").get(page("devices_device_change", device.pk)).content.decode()
    assert "data-secret-text>\u2022\u2022" in text and device.key not in text
    assert "&quot;interfaces&quot;" in text


def test_shared_templates_are_read_only_for_members(staff: Any, org: Organization) -> None:
    shared = factories.template(None, name="Everybody")
    owner = staff("owner")
    text = owner.get(page("config_merge_template_change", shared.pk)).content.decode()
    assert "Everybody" in text and 'name="_save"' not in text
    assert owner.post(page("config_merge_template_change", shared.pk), {"name": "x"}).status_code == 403
    assert owner.post(page("config_merge_template_delete", shared.pk), {"post": "yes"}).status_code == 403
    assert Template.objects.filter(pk=shared.pk, name="Everybody").exists()


def test_only_a_superuser_makes_a_shared_template(staff: Any, org: Organization) -> None:
    posted = {
        "name": "For all",
        "organization": "",
        "backend": "netjsonconfig.OpenWrt",
        "config": '{"general": {}}',
        "default_values": "{}",
        "tags": "",
        "notes": "",
    }
    refused = staff("owner").post(page("config_merge_template_add"), posted)
    assert refused.context["adminform"].form.errors["organization"]
    assert staff(None).post(page("config_merge_template_add"), posted).status_code == 302
    assert Template.objects.get().organization_id is None


def test_a_deactivated_device_is_read_only_until_it_is_activated(operator: Client, org: Organization) -> None:
    device = factories.configured(org)
    operator.post(page("devices_device_deactivate", device.pk))
    device.refresh_from_db()
    assert device.is_deactivated
    answer = operator.get(page("devices_device_change", device.pk))
    assert 'name="_save"' not in answer.content.decode()
    assert operator.post(page("devices_device_change", device.pk), device_form(device)).status_code == 403
    operator.post(page("devices_device_activate", device.pk))
    device.refresh_from_db()
    assert not device.is_deactivated


def test_a_member_of_a_disabled_organization_sees_nothing_at_once(
    operator: Client, org: Organization
) -> None:
    device = factories.configured(org)
    assert operator.get(page("devices_device_change", device.pk)).status_code == 200
    Organization.objects.filter(pk=org.pk).update(is_active=False)
    assert operator.get(page("devices_device_changelist")).status_code == 403
    assert operator.get(page("devices_device_effective", device.pk)).status_code == 302


def test_staff_without_an_organization_get_an_empty_house(db: None) -> None:
    client = Client()
    client.force_login(factories.user(is_staff=True))
    assert client.get(reverse("admin:index")).status_code == 200
    assert client.get(page("devices_device_changelist")).status_code == 403


def test_people_who_are_not_staff_are_asked_to_sign_in(org: Organization) -> None:
    client = Client()
    client.force_login(factories.user(role="owner", organization=org))
    for path in (reverse("admin:index"), page("devices_device_changelist")):
        assert client.get(path).headers["Location"].startswith("/admin/login/")


def test_the_dashboard_counts_own_devices_and_lists_own_actions_only(
    staff: Any, org: Organization, other: Organization, root: Client
) -> None:
    factories.configured(org)
    factories.configured(other, name="foreign-device")
    factories.notification(other, message="foreign news")
    group = factories.group(other, name="foreign-group")
    root.post(
        page("devices_devicegroup_change", group.pk), {"name": "foreign-again", "organization": str(other.pk)}
    )
    answer = staff("owner").get(reverse("admin:index"))
    assert 'data-figure="devices">1<' in answer.context["parts"]["cards"]
    assert "foreign" not in answer.content.decode()
    assert 'data-figure="devices">2<' in root.get(reverse("admin:index")).context["parts"]["cards"]


def test_groups_are_deleted_by_those_who_may(staff: Any, org: Organization) -> None:
    group = factories.group(org)
    assert (
        staff("viewer").post(page("devices_devicegroup_delete", group.pk), {"post": "yes"}).status_code == 403
    )
    assert (
        staff("operator").post(page("devices_devicegroup_delete", group.pk), {"post": "yes"}).status_code
        == 302
    )
    assert not DeviceGroup.objects.exists()
