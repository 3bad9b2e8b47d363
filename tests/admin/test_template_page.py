"""What the template page asks the server: the schema, what saving would say, and what it would do to the fleet."""

import json
from typing import Any

import pytest
from django.test import Client

from config_merge.models import Config, Job, Template
from config_merge.services import job_runs
from tenancy.models import Notification, Organization
from tests import factories
from tests.admin.conftest import page

OPENWRT = "netjsonconfig.OpenWrt"


@pytest.mark.parametrize("backend", ["netjsonconfig.OpenWrt", "netjsonconfig.OpenWisp"])
def test_the_schema_of_a_back_end_is_served_with_the_hostname_hidden(operator: Client, backend: str) -> None:
    answer = operator.get(page("config_merge_template_schema"), {"backend": backend})
    properties = answer.json()["properties"]
    assert "timezone" in properties["general"]["properties"]
    assert "hostname" not in properties["general"]["properties"]
    assert answer["Cache-Control"] == "private, max-age=600"


@pytest.mark.parametrize(
    "backend", ["", "nothing", "a\x00b", "\ud800"], ids=["none", "unknown", "null", "surrogate"]
)
def test_an_unknown_back_end_has_no_schema(operator: Client, backend: str) -> None:
    given = {"backend": backend.encode("utf-8", "surrogatepass")}
    assert operator.get(page("config_merge_template_schema"), given).status_code == 404


@pytest.mark.parametrize(
    ("config", "values", "path", "words"),
    [
        ('{"interfaces": [{"name": "eth0", "type": "ethernet", "mtu": "x"}]}', "{}", "#/interfaces/0", "mtu"),
        ('{"general": {"timezone": "{{ zone }}"}}', "{}", "#/general/timezone", "{{ zone }}"),
        ("{", "{}", "#", "Not valid JSON"),
        ('{"general": {}}', "[]", "#", "Default values: "),
        ("{}", "{}", "#", "cannot be empty"),
        ("[" * 5000, "{}", "#", "Not valid JSON"),
        ('{"a": "\x00"}', "{}", "#", "Null characters"),
    ],
    ids=["schema", "variable", "syntax", "values", "empty", "deep", "null"],
)
def test_the_check_says_what_saving_would_say(
    operator: Client, config: str, values: str, path: str, words: str
) -> None:
    posted = {"backend": OPENWRT, "config": config, "default_values": values}
    (error,) = operator.post(page("config_merge_template_check"), posted).json()["errors"]
    assert error["path"].startswith(path) and words in error["message"]


def test_the_check_accepts_what_default_values_make_valid_and_writes_nothing(operator: Client) -> None:
    posted = {
        "backend": OPENWRT,
        "config": '{"general": {"timezone": "{{ zone }}"}}',
        "default_values": '{"zone": "UTC"}',
    }
    assert operator.post(page("config_merge_template_check"), posted).json()["errors"] == []
    assert not Template.objects.exists()


def test_viewers_have_nothing_to_check(staff: Any) -> None:
    assert staff("viewer").post(page("config_merge_template_check"), {}).status_code == 403
    assert staff("operator").get(page("config_merge_template_check")).status_code == 405


def _posted(template: Template, **changes: str) -> dict[str, str]:
    return {
        "name": template.name,
        "organization": str(template.organization_id or ""),
        "backend": OPENWRT,
        "default_values": "{}",
        "tags": "",
        "notes": "",
        **changes,
    }


def test_the_effect_of_an_edit_is_told_and_nothing_is_written(operator: Client, org: Organization) -> None:
    template = factories.template(org, config={"general": {"timezone": "UTC"}})
    for _ in range(2):
        factories.device(org, config={"templates": [template]})
    before = list(Config.objects.order_by("pk").values())
    posted = _posted(template, config='{"general": {"timezone": "Europe/Rome"}}')
    told = operator.post(page("config_merge_template_effect", template.pk), posted).json()
    assert (told["outcome"], told["changed"], told["failed"]) == ("ok", 2, 0)
    assert "Europe/Rome" in told["html"]
    template.refresh_from_db()
    assert template.config == {"general": {"timezone": "UTC"}}
    assert list(Config.objects.order_by("pk").values()) == before


def test_an_invalid_edit_is_told_as_saving_would(operator: Client, org: Organization) -> None:
    template = factories.template(org)
    posted = _posted(template, config='{"general": {"timezone": "Nowhere"}}')
    told = operator.post(page("config_merge_template_effect", template.pk), posted).json()
    assert told["outcome"] == "invalid" and "Invalid configuration" in told["html"]


def test_a_new_default_template_reaches_every_device(
    operator: Client, org: Organization, other: Organization
) -> None:
    for organization in (org, org, other):
        factories.configured(organization)
    posted = _posted(
        Template(name="New", organization=org), config='{"general": {"timezone": "UTC"}}', default="on"
    )
    told = operator.post(page("config_merge_template_effect_of_new"), posted).json()
    assert (told["outcome"], told["changed"]) == ("ok", 2)
    assert not Template.objects.filter(name="New").exists()


def test_more_devices_than_one_waits_for_are_counted_only(
    operator: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.template.MOST_DEVICES", 1)
    template = factories.template(org, config={"general": {"timezone": "UTC"}})
    for _ in range(2):
        factories.device(org, config={"templates": [template]})
    posted = _posted(template, config='{"general": {"timezone": "Europe/Rome"}}')
    told = operator.post(page("config_merge_template_effect", template.pk), posted).json()
    assert told["outcome"] == "too_many" and "2 devices" in told["html"]
    assert not Job.objects.exists()


def test_more_devices_than_one_waits_for_are_computed_by_a_job_on_demand(
    staff: Any, org: Organization, other: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.template.MOST_DEVICES", 1)
    operator, viewer = staff("operator"), staff("viewer")
    template = factories.template(org, config={"general": {"timezone": "UTC"}})
    for _ in range(2):
        factories.device(org, config={"templates": [template]})
    path = page("config_merge_template_effect", template.pk) + "?background=yes"
    bad = operator.post(path, _posted(template, config='{"general": {"timezone": "Nowhere"}}')).json()
    assert bad["outcome"] == "invalid"
    posted = _posted(template, config='{"general": {"timezone": "Europe/Rome"}}')
    assert viewer.post(path, posted).status_code == 403
    assert not Job.objects.exists()
    asked = operator.post(path, posted).json()
    job = Job.objects.get()
    assert asked["outcome"] == "job" and "2 devices" in asked["html"]
    assert (job.kind, job.organization_id, job.creator, job.total) == ("preview", org.pk, operator.user, 2)
    assert "no result" in operator.get(asked["result"]).json()["html"]
    assert operator.get(asked["progress"]).json()["ended"] is False
    while job_runs.run(job.pk):
        pass
    told = operator.get(asked["result"]).json()
    assert (told["outcome"], told["changed"], told["failed"]) == ("ok", 2, 0)
    assert "Europe/Rome" in told["html"]
    assert operator.get(asked["progress"]).json() == {
        "pending": 0, "done": 2, "failed": 0, "skipped": 0, "total": 2, "worked": 2, "state": "finished",
        "ended": True,
    }  # fmt: skip
    assert "Europe/Rome" in operator.get(page("config_merge_job_change", job.pk)).content.decode()
    said = Notification.objects.get(kind="job_finished").message
    assert said == ("Preview of a change, 2 devices: 2 would change, 0 would fail, 0 would stay the same.")
    template.refresh_from_db()
    assert template.config == {"general": {"timezone": "UTC"}}
    assert Client().get(asked["result"]).status_code == 302
    foreign = factories.user("far", role="operator", organization=other, is_staff=True)
    stranger = Client()
    stranger.force_login(foreign)
    assert stranger.get(asked["result"]).status_code == 302


def test_a_job_about_what_becomes_shared_is_no_organizations(
    root: Client, org: Organization, other: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.template.MOST_DEVICES", 1)
    template = factories.template(org, default=True)
    for place in (org, other):
        factories.configured(place)
    posted = _posted(template, config='{"general": {"timezone": "UTC"}}', default="on", organization="")
    told = root.post(page("config_merge_template_effect", template.pk) + "?background=yes", posted).json()
    assert told["outcome"] == "job", told
    assert Job.objects.get().organization_id is None


def test_a_preview_that_cannot_be_computed_says_why_on_its_page(
    operator: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.group.MOST_DEVICES", 1)
    group = factories.group(org)
    for _ in range(2):
        factories.configured(org, group=group)
    path = page("devices_devicegroup_effect", group.pk) + "?background=yes"
    posted = {"name": group.name, "organization": str(org.pk), "context": '{"a": "1"}', "meta_data": "{}"}
    asked = operator.post(path, posted).json()
    assert asked["outcome"] == "job", asked
    group.devices.update(group=None)
    group.delete()
    job_runs.run(Job.objects.get().pk)
    told = operator.get(asked["result"]).json()
    assert told["outcome"] == "nothing" and "is gone" in told["html"]
    assert "is gone" in operator.get(page("config_merge_job_change", Job.objects.get().pk)).content.decode()


def test_variables_of_an_organization_are_computed_by_a_job_too(
    staff: Any, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.fleet.MOST_DEVICES", 1)
    manager = staff("manager")
    template = factories.template(org, config={"general": {"description": "in {{ town }}"}})
    for _ in range(2):
        factories.device(org, config={"templates": [template]})
    path = page("devices_fleetsettings_effect", org.pk) + "?background=yes"
    posted = {"registration_enabled": "on", "device_limit": "0", "context": '{"town": "Rome"}'}
    asked = manager.post(path, posted).json()
    assert asked["outcome"] == "job", asked
    job_runs.run(Job.objects.get().pk)
    told = manager.get(asked["result"]).json()
    assert (told["outcome"], told["changed"]) == ("ok", 2)
    assert "in Rome" in told["html"]


def test_secrets_in_the_effect_are_marks_for_who_may_not_see_them(staff: Any, org: Organization) -> None:
    secret = "correct-horse-battery"
    template = factories.template(org, config={"general": {"timezone": "UTC"}})
    factories.device(org, config={"templates": [template]})
    encryption = {"protocol": "wpa2_personal", "key": secret}
    wireless = {"radio": "radio0", "mode": "access_point", "ssid": "s", "encryption": encryption}
    wifi = json.dumps({"interfaces": [{"name": "wlan0", "type": "wireless", "wireless": wireless}]})
    posted = _posted(template, config=wifi)
    path = page("config_merge_template_effect", template.pk)
    blind = staff("operator")
    factories.without_reveal(blind.user)
    hidden = blind.post(path, posted).json()
    assert hidden["changed"] == 1 and secret not in hidden["html"]
    assert secret in staff(None).post(path, posted).json()["html"]


def test_the_effect_needs_the_right_to_save_and_ones_own_object(
    staff: Any, org: Organization, other: Organization
) -> None:
    own, foreign = factories.template(org), factories.template(other)
    assert staff("viewer").post(page("config_merge_template_effect", own.pk), _posted(own)).status_code == 403
    assert staff("operator").post(page("config_merge_template_effect", foreign.pk), {}).status_code == 302
    assert staff("operator").get(page("config_merge_template_effect", own.pk)).status_code == 405
