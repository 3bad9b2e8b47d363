"""Every page renders with data and without, and says what it is there to say."""

import gzip
import io
import tarfile
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from config_merge.models import Config, Status
from config_merge.services import configs, recompute, reports, templates
from config_merge.services.templates import template_update
from devices.models import Device, FleetSettings
from tenancy.models import AuditEvent, Organization
from tests import factories
from tests.admin.conftest import page

LISTS = (
    "devices_device", "devices_devicegroup", "devices_fleetsettings", "config_merge_template", "tenancy_user",
    "tenancy_organization", "tenancy_apitoken", "tenancy_apikey", "tenancy_notification",
)  # fmt: skip
HAVE_ADD = tuple(name for name in LISTS if name not in ("devices_fleetsettings", "tenancy_notification"))


@pytest.fixture
def layered(org: Organization) -> Device:
    """A device whose time zone is set by a template, overruled by itself, with variables of every layer."""
    factories.fleet_of(org, context={"dns": "9.9.9.9", "ssid": "Org"})
    template = factories.template(
        org,
        name="Base",
        default_values={"ssid": "Default"},
        config={
            "general": {"timezone": "UTC", "description": "{{ ssid }} {{ nowhere }}"},
            "dns_servers": ["{{ dns }}"],
        },
    )
    group = factories.group(org, name="Cafes", context={"ssid": "Cafe"})
    return factories.device(
        org,
        name="ap-1",
        group=group,
        config={"templates": [template], "config": {"general": {"timezone": "Europe/Berlin"}}},
    )


@pytest.mark.parametrize("name", LISTS)
def test_lists_render_empty_and_full(root: Client, db: None, name: str) -> None:
    assert root.get(page(f"{name}_changelist")).status_code == 200
    org = factories.organization(name="Alpha")
    factories.configured(org, group=factories.group(org))
    factories.template(org, tags=["lan"])
    factories.notification(org)
    factories.token_for(root.user)  # type: ignore[attr-defined]
    factories.api_key(root.user, org)  # type: ignore[attr-defined]
    answer = root.get(page(f"{name}_changelist"))
    assert answer.status_code == 200
    assert len(answer.context["cl"].result_list) >= 1


@pytest.mark.parametrize("name", HAVE_ADD)
def test_forms_for_new_objects_render(root: Client, db: None, name: str) -> None:
    assert root.get(page(f"{name}_add")).status_code == 200


def test_nobody_adds_fleet_settings_or_notifications_by_hand(root: Client, db: None) -> None:
    assert root.get(page("devices_fleetsettings_add")).status_code == 403
    assert root.get(page("tenancy_notification_add")).status_code == 403


def test_the_effective_page_names_the_winner_the_variables_and_the_overruled(
    operator: Client, layered: Device
) -> None:
    answer = operator.get(page("devices_device_effective", layered.pk))
    explained = answer.context["explained"]
    rows = {row.label: row for section in explained.sections for row in section.rows}
    assert (rows["timezone"].value, rows["timezone"].origin.layer) == ("Europe/Berlin", "device")
    assert [(origin.name, value) for origin, value in rows["timezone"].shadowed] == [("Base", "UTC")]
    used = {item.name: item for item in rows["description"].used}
    assert (used["ssid"].value, used["ssid"].origin.layer) == ("Cafe", "group")
    assert used["nowhere"].origin is None
    assert rows["hostname"].origin.layer == "system"
    variables = {row.name: row for row in explained.variables}
    assert [value for _, value in variables["ssid"].shadowed] == ["Org", "Default"]
    text = answer.content.decode()
    assert "<s>UTC</s>" in text and "undefined" in text
    assert reverse(
        "admin:config_merge_template_change", args=[rows["timezone"].shadowed[0][0].link.split("/")[-3]]
    )
    assert reverse("admin:devices_devicegroup_change", args=[layered.group_id]) in text


def test_a_source_one_may_not_open_is_named_without_a_link(operator: Client, layered: Device) -> None:
    text = operator.get(page("devices_device_effective", layered.pk)).content.decode()
    assert "<b>Organization</b> Alpha" in text
    assert page("devices_fleetsettings_change", layered.organization_id) not in text


def test_layers_that_cannot_be_merged_are_explained_not_a_500(operator: Client, layered: Device) -> None:
    Config.objects.filter(device=layered).update(config={"general": ["not", "an", "object"]})
    answer = operator.get(page("devices_device_effective", layered.pk))
    assert answer.status_code == 200
    assert "cannot be merged" in answer.content.decode()


def test_a_configuration_that_cannot_be_computed_says_why(operator: Client, layered: Device) -> None:
    Config.objects.filter(device=layered).update(problem="general is a list")
    for name in ("change", "effective", "files", "revisions"):
        assert (
            "general is a list" in operator.get(page(f"devices_device_{name}", layered.pk)).content.decode()
        )


def test_rendered_files_and_the_archive(staff: Any, operator: Client, layered: Device) -> None:
    factories.without_reveal(operator.user)  # type: ignore[attr-defined]
    config = factories.config_of(layered)
    text = operator.get(page("devices_device_files", layered.pk)).content.decode()
    assert config.checksum in text and config.revision.sha256 in text
    assert "/etc/config/system" in text and "0644" in text
    assert operator.get(page("devices_device_download", layered.pk)).status_code == 403, "it holds secrets"
    answer = staff("manager").get(page("devices_device_download", layered.pk))
    assert AuditEvent.objects.filter(action="secret.revealed", target_id=str(layered.pk)).count() == 1
    assert answer["Content-Type"] == "application/gzip"
    assert answer["Content-Disposition"] == 'attachment; filename="ap-1.tar.gz"'
    assert gzip.decompress(answer.content)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert "etc/config/system" in archive.getnames()


def test_a_file_that_is_not_text_and_one_that_is_long(operator: Client, org: Organization) -> None:
    files = [
        {"path": "/etc/long", "mode": "0600", "contents": "x" * 300_000},
        {"path": "/etc/empty", "mode": "0644", "contents": ""},
    ]
    device = factories.device(org, config={"config": {"files": files}})
    answer = operator.get(page("devices_device_files", device.pk))
    shown = {file["path"]: file for file in answer.context["files"]}
    assert shown["etc/long"]["is_cut"] and shown["etc/long"]["mode"] == "0600"
    assert shown["etc/empty"]["is_text"]
    assert "Only the beginning is shown" in answer.content.decode()


def test_revisions_tell_cause_actor_and_difference(operator: Client, layered: Device) -> None:
    user = operator.user  # type: ignore[attr-defined]
    configs.managed_device_update(
        layered, config={"config": {"general": {"timezone": "UTC"}}}, actor_id=user.pk, name=layered.name
    )
    text = operator.get(page("devices_device_revisions", layered.pk)).content.decode()
    assert "Revision 2" in text and "Revision 1" in text and "current" in text
    assert "Device edited" in text and user.username in text
    answer = operator.get(page("devices_device_revision", layered.pk, 2))
    kinds = {kind for kind, _ in answer.context["diff"]}
    assert {"gone", "new", "file", "place"} <= kinds
    assert "Europe/Berlin" in answer.content.decode()
    first = operator.get(page("devices_device_revision", layered.pk, 1))
    assert "The first revision" in first.content.decode()


@pytest.mark.parametrize("number", [7, 2**31, 10**30])
def test_a_revision_that_is_not_there_leads_back_to_the_list(
    operator: Client, layered: Device, number: int
) -> None:
    answer = operator.get(page("devices_device_revision", layered.pk, number))
    assert answer.headers["Location"] == page("devices_device_revisions", layered.pk)


def test_pages_of_a_device_without_a_configuration(staff: Any, operator: Client, org: Organization) -> None:
    bare = factories.device(org)
    for name in ("change", "effective", "files", "revisions"):
        answer = operator.get(page(f"devices_device_{name}", bare.pk))
        assert answer.status_code == 200
        assert "no configuration" in answer.content.decode().lower()
    assert staff("manager").get(page("devices_device_download", bare.pk)).status_code == 302


def test_a_reported_error_is_on_the_page_and_in_the_list(operator: Client, layered: Device) -> None:
    config = factories.config_of(layered)
    reports.take(reports.Report(config.pk, layered.pk, "error", "line 7: bad option"))
    assert "line 7: bad option" in operator.get(page("devices_device_change", layered.pk)).content.decode()
    listed = operator.get(page("devices_device_changelist"), {"status": Status.ERROR})
    assert "ap-1" in listed.content.decode()


def test_the_dashboard_shows_how_to_begin_and_then_how_things_are(staff: Any, org: Organization) -> None:
    secret = FleetSettings.objects.get(pk=org.pk).shared_secret
    manager, viewer = staff("manager"), staff("viewer")
    begin = manager.get(reverse("admin:index")).content.decode()
    assert "No devices yet" in begin and f"--secret {secret}" in begin and "http://testserver" in begin
    assert AuditEvent.objects.get(action="secret.revealed").actor_id == manager.user.pk
    factories.without_reveal(manager.user)
    for person in (manager, viewer):
        assert secret not in person.get(reverse("admin:index")).content.decode()
    assert AuditEvent.objects.filter(action="secret.revealed").count() == 1
    device = factories.configured(org, name="ap-7")
    Device.objects.filter(pk=device.pk).update(last_seen=timezone.now())
    answer = viewer.get(reverse("admin:index"))
    assert "No devices yet" not in answer.content.decode()
    assert "1 in service" in answer.context["parts"]["cards"]
    assert "100 % of those in service" in answer.context["parts"]["cards"]
    assert "Configurations by status: 1 Modified" in answer.context["parts"]["status"]
    assert page("devices_device_revision", device.pk, 1) in answer.content.decode()


def test_template_progress_counts_own_devices_only(
    operator: Client, root: Client, org: Organization, other: Organization
) -> None:
    shared = factories.template(None)
    for organization in (org, other, other):
        factories.device(organization, config={"templates": [shared]})
    templates.template_update(shared, config=factories.interface("eth9"))
    path = page("config_merge_template_progress", shared.pk)
    assert operator.get(path).json() == {"devices": 1, "stale": 1}
    assert root.get(path).json() == {"devices": 3, "stale": 3}
    text = root.get(page("config_merge_template_change", shared.pk)).content.decode()
    assert "Used by 3 devices" in text and "3 still being computed" in text
    recompute.drain()
    assert operator.get(path).json() == {"devices": 1, "stale": 0}


def test_progress_of_a_foreign_template_is_not_told(operator: Client, other: Organization) -> None:
    foreign = factories.template(other)
    assert operator.get(page("config_merge_template_progress", foreign.pk)).status_code == 302


def test_our_pages_carry_no_inline_script_style_or_handler(root: Client, layered: Device) -> None:
    template_update(layered.config.templates.get(), config=factories.interface("eth5"))
    paths = [reverse("admin:index"), page("config_merge_template_change", layered.config.templates.get().pk)]
    paths += [
        page(f"devices_device_{name}", layered.pk)
        for name in ("change", "effective", "files", "revisions", "deactivate")
    ]
    for path in paths:
        answer = root.get(path)
        text = answer.content.decode()
        scripts = text.split("<script")[1:]
        assert scripts and all(part.split(">", 1)[1].lstrip().startswith("</script>") for part in scripts)
        assert "onclick=" not in text and "javascript:" not in text
        assert "unsafe-inline" not in answer["Content-Security-Policy"].split("script-src")[1].split(";")[0]
        assert "https://" not in text.replace("https://www.w3.org", "")


@pytest.mark.parametrize(
    "query", ["p=x", "p=99999999999", "o=zz", "q=%00", "status=nonsense", "group=nonsense"]
)
def test_a_list_answers_any_query(operator: Client, org: Organization, query: str) -> None:
    factories.device(org)
    assert operator.get(f"{page('devices_device_changelist')}?{query}").status_code in (200, 302)


@pytest.mark.parametrize(
    "path", ["search/?s=dev&page=x", "search/?s=dev&page=9", "r/1/notauuid/", "r/x/y/", "autocomplete/"]
)
def test_the_sites_own_views_answer_any_query(root: Client, path: str) -> None:
    assert root.get(f"{reverse('admin:index')}{path}").status_code in (200, 403, 404)


def test_the_side_bar_offers_what_one_may_open_and_counts_unread_news(
    staff: Any, root: Client, org: Organization
) -> None:
    quiet = staff("viewer").get(reverse("admin:index")).content.decode()
    assert page("devices_device_changelist") in quiet and page("tenancy_user_changelist") not in quiet
    assert page("devices_fleetsettings_changelist") not in quiet
    titles = {
        item["title"]: item
        for group in root.get("/admin/").context["sidebar_navigation"]
        for item in group["items"]
    }
    assert titles["Users"]["has_permission"] and "badge" not in titles["Notifications"]
    for _ in range(120):
        factories.notification(org)
    answer = staff("viewer").get(reverse("admin:index"))
    titles = {
        item["title"]: item for group in answer.context["sidebar_navigation"] for item in group["items"]
    }
    assert titles["Notifications"]["badge"] == "99+"


def test_one_signs_in_by_e_mail_address(org: Organization) -> None:
    factories.user("olga", role="viewer", organization=org, is_staff=True, email="olga@example.org")
    client = Client()
    assert "Username or e-mail address" in client.get("/admin/login/").content.decode()
    posted = {"username": "Olga@example.org", "password": factories.PASSWORD}
    assert client.post("/admin/login/?next=/admin/", posted).headers["Location"] == "/admin/"
