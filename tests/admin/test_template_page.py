"""What the template page asks the server: the schema, what saving would say, and what it would do to the fleet."""

import json
from typing import Any

import pytest
from django.test import Client

from config_merge.models import Config, Template
from tenancy.models import Organization
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
