"""Secrets of an organization where one may not see them: by no form, helper, copy, table or import do they get out."""

import json
from typing import Any

import pytest
from django.test import Client

from config_merge.models import ConfigTemplate, Template
from core.redaction import mark_of
from devices.models import Device
from tenancy.disclosure import recent
from tenancy.models import AuditEvent, Organization, Role
from tenancy.services import membership_set
from tests import factories
from tests.admin.conftest import page
from tests.config_merge.api.conftest import Api, api_as

pytestmark = pytest.mark.django_db
SECRET = "correct-horse"
PREVIEW = "/admin/config/device/preview/"


@pytest.fixture(autouse=True)
def nobody_has_looked_yet() -> None:
    recent.forget()


@pytest.fixture
def org(db: None) -> Organization:
    return factories.organization("org-a", name="Alpha")


@pytest.fixture
def other(db: None) -> Organization:
    return factories.organization("org-b", name="Beta")


def wifi(key: str = SECRET) -> dict[str, Any]:
    encryption = {"protocol": "wpa2_personal", "key": key}
    wireless = {"radio": "radio0", "mode": "access_point", "ssid": "guests", "encryption": encryption}
    return {"interfaces": [{"name": "wlan0", "type": "wireless", "wireless": wireless}]}


def described(text: str) -> str:
    return json.dumps({"general": {"description": text}})


def person(organization: Organization, role: str = Role.OPERATOR, *, reveal: bool = True) -> Any:
    made = factories.user(role=role, organization=organization, is_staff=True)
    return made if reveal else factories.without_reveal(made)


def both(org: Organization, other: Organization, *, reveal: bool = False) -> Any:
    """Return an owner of Beta who works in Alpha, without the right to see Alpha's secrets."""
    made = person(org, reveal=reveal)
    membership_set(user=made, organization=other, role=Role.OWNER)
    return made


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def form(device: Any, **changes: Any) -> dict[str, str]:
    return {
        "id": str(device.pk), "organization": str(device.organization_id), "name": device.name,
        "mac_address": device.mac_address, "key": "", "backend": "netjsonconfig.OpenWrt", "config": "{}",
        "context": "{}", "templates": "", "group": "", "os": "", **changes,
    }  # fmt: skip


def previewed(user: Any, sent: dict[str, str]) -> str:
    answer = signed_in(user).post(PREVIEW, sent)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def looks() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.filter(action="secret.revealed").values_list("target_type", "target_id"))


# --- previews -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_form_of_ones_own_organization_reveals_no_other_organizations_device(
    org: Any, other: Any, role: str
) -> None:
    user = person(org, role, reveal=False)
    membership_set(user=user, organization=other, role=Role.OWNER)
    device = factories.device(org, config={"config": wifi(), "context": {"psk": "another-secret"}})
    config = {**wifi(mark_of(SECRET)), "general": {"description": "{{ key }} {{ psk }}"}}
    sent = form(
        device,
        organization=str(other.pk),
        config=json.dumps(config),
        context=json.dumps({"psk": mark_of("another-secret")}),
    )
    for key in ("", mark_of(device.key)):
        text = previewed(user, {**sent, "key": key})
        for secret in (SECRET, "another-secret", device.key):
            assert secret not in text
        assert mark_of(SECRET) in text
    assert looks() == []
    text = previewed(factories.superuser(), sent)
    assert SECRET in text and "another-secret" in text and device.key in text
    assert looks() == [("device", str(device.pk))]


def test_a_preview_is_plain_only_if_everything_in_it_may_be_seen(org: Any, other: Any) -> None:
    user = both(org, other)
    own = factories.template(other, config=wifi("beta-secret-1"))
    shared = factories.template(config={"general": {"description": "everyone's"}})
    sent = form(factories.device(other), templates=str(own.pk))
    assert "beta-secret-1" in previewed(user, sent)
    assert "beta-secret-1" not in previewed(user, {**sent, "templates": f"{own.pk},{shared.pk}"})
    here = form(factories.device(org), organization=str(other.pk), templates=str(own.pk))
    assert "beta-secret-1" not in previewed(user, here)


def test_what_any_template_uses_as_a_secret_is_hidden_in_a_preview(org: Any) -> None:
    factories.template(org, config=wifi("{{ guests }}"))
    factories.fleet_of(org, context={"guests": SECRET})
    device = factories.device(
        org, config={"config": wifi("{{ phrase }}"), "context": {"phrase": "own-secret"}}
    )
    context = json.dumps({"phrase": mark_of("own-secret")})
    sent = form(device, config=described("{{ guests }} {{ phrase }}"), context=context)
    text = previewed(person(org, reveal=False), sent)
    assert SECRET not in text and "own-secret" not in text
    assert mark_of(SECRET) in text
    assert SECRET in previewed(person(org), sent)


def test_an_error_of_a_preview_quotes_no_secret(org: Any) -> None:
    factories.template(org, config=wifi("{{ guests }}"))
    factories.fleet_of(org, context={"guests": SECRET})
    config = json.dumps({"interfaces": [{"name": "{{ guests }}-is-too-long-for-it", "type": "ethernet"}]})
    for reveal in (False, True):
        answer = signed_in(person(org, reveal=reveal)).post(
            PREVIEW, form(factories.device(org), config=config)
        )
        assert answer.status_code == 400
        assert (SECRET in answer.content.decode()) is reveal


# --- the other helpers --------------------------------------------------------------------------------------


def test_variables_that_carry_secrets_are_marks_in_every_helper_and_looks_are_kept(org: Any) -> None:
    template = factories.template(org, config=wifi("{{ guests }}"), default_values={"guests": "default-1"})
    factories.fleet_of(org, context={"guests": SECRET, "site": "hq"})
    device = factories.device(org, config={"templates": [template]})
    base = "/admin/config/device"
    paths = (
        f"{base}/{device.pk}/context.json",
        f"{base}/get-template-default-values/?pks={template.pk}",
        f"{base}/get-template-default-values/?organization={org.pk}",
        f"{base}/download/{device.pk}/",
    )
    blind, seeing = signed_in(person(org, reveal=False)), signed_in(person(org))
    for path in paths:
        text = blind.get(path).content.decode()
        assert SECRET not in text and "default-1" not in text, path
    assert looks() == []
    assert SECRET in seeing.get(paths[0]).content.decode()
    assert "default-1" in seeing.get(paths[1]).content.decode()
    assert SECRET in seeing.get(paths[2]).content.decode()
    assert seeing.get(paths[3]).content[:2] == b"\x1f\x8b"
    assert sorted(looks()) == sorted(
        [("device", str(device.pk)), ("template", str(template.pk)), ("fleetsettings", str(org.pk))]
    )


# --- copies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feeds", ["itself", "another"])
def test_a_default_value_that_ends_up_as_a_secret_does_not_travel(org: Any, other: Any, feeds: str) -> None:
    own = wifi("{{ guests }}")
    template = factories.template(
        org,
        name="wifi",
        config=own if feeds == "itself" else factories.interface(),
        default_values={"guests": SECRET},
    )
    if feeds == "another":
        factories.template(org, config=own)
    user = both(org, other)
    path, body = f"template/{template.pk}/clone/", {"organization": str(other.pk)}
    assert api_as(user).post(path, body).status_code == 400
    data = {
        "action": "clone_selected", "_selected_action": [str(template.pk)], "index": "0", "confirmed": "1",
        "organization": str(other.pk),
    }  # fmt: skip
    place = page("config_merge_template_changelist")
    said = signed_in(user).post(place, data, follow=True).content.decode()
    assert "secrets" in said and SECRET not in said
    assert not Template.objects.filter(organization=other).exists()
    assert api_as(user).post(path, {"organization": str(org.pk)}).status_code == 201
    assert api_as(both(org, other, reveal=True)).post(path, body).status_code == 201


# --- tables -----------------------------------------------------------------------------------------------


def imported(api: Api, row: dict[str, Any]) -> Any:
    return api.post("device/import/", [row])


def exported(api: Api, **query: str) -> list[dict[str, Any]]:
    answer = api.get("device/export/", file_format="json", **query)
    assert answer.status_code == 200, answer.content
    rows: list[dict[str, Any]] = json.loads(b"".join(answer.streaming_content))
    return rows


@pytest.mark.parametrize("column", ["organization", "organization_id"])
def test_an_import_takes_no_device_out_of_an_organization_whose_secrets_one_may_not_see(
    org: Any, other: Any, column: str
) -> None:
    device = factories.device(org, config={"config": wifi()})
    row = {"id": str(device.pk), column: str(other.pk) if column.endswith("id") else "org-b"}
    answer = imported(api_as(both(org, other)), row)
    assert answer.status_code == 400
    assert list(answer.json()["rows"][0]["errors"]) == [column]
    device.refresh_from_db()
    assert device.organization == org
    assert imported(api_as(both(org, other, reveal=True)), row).status_code == 200
    device.refresh_from_db()
    assert device.organization == other


def test_who_may_not_see_secrets_chooses_no_key_in_an_import(org: Any) -> None:
    device = factories.device(org)
    new = {"name": "new", "mac_address": factories.mac(7), "organization": "org-a"}
    for row in ({"id": str(device.pk), "key": "k" * 32}, {**new, "key": "n" * 32}):
        answer = imported(api_as(person(org, reveal=False)), row)
        assert answer.json()["rows"][0]["errors"] == {
            "key": ["Without the right to reveal secrets, a key cannot be chosen."]
        }
        assert imported(api_as(person(org)), row).status_code == 200


def test_variables_that_carry_secrets_leave_as_marks_and_come_back(org: Any) -> None:
    template = factories.template(org, config=wifi("{{ guests }}"))
    kept = {"guests": SECRET, "phrase": "own-secret", "site": "hq"}
    device = factories.device(
        org, config={"templates": [template], "config": wifi("{{ phrase }}"), "context": kept}
    )
    api = api_as(person(org, reveal=False))
    (row,) = exported(api)
    assert row["config_context"] == {
        "guests": mark_of(SECRET), "phrase": mark_of("own-secret"), "site": "hq",
    }  # fmt: skip
    assert imported(api, row).json()["totals"]["same"] == 1
    row["config_context"]["site"] = "lab"
    answer = imported(api, row).json()
    assert answer["applied"] is True
    assert SECRET not in json.dumps(answer) and "own-secret" not in json.dumps(answer)
    assert factories.config_of(device).context == {**kept, "site": "lab"}


def test_a_table_names_nothing_of_another_organization(org: Any, other: Any) -> None:
    device = factories.device(org, config={"templates": [factories.template(org)]})
    foreign, group = factories.template(other), factories.group(other, name="beta-group")
    config = factories.config_of(device)
    ConfigTemplate.objects.create(config=config, template=foreign, position=9)
    Device.objects.filter(pk=device.pk).update(group=group)
    (row,) = exported(api_as(person(org)))
    assert row["config_templates"] and str(foreign.pk) not in row["config_templates"]
    assert (row["group"], row["group_id"]) == ("", "")


# --- who took a table along ---------------------------------------------------------------------------------


def test_a_table_with_secrets_is_in_the_trail_of_each_organization(org: Any, other: Any) -> None:
    for number in range(3):
        factories.device(org, name=f"a-{number}")
    factories.device(other)
    user = both(org, other, reveal=True)
    api = api_as(user)
    exported(api, columns="name,key", name="a-")
    trail = AuditEvent.objects.filter(action="devices.exported")
    event = trail.get()
    assert (event.organization_id, event.actor_name, event.via) == (org.pk, user.username, "rest")
    assert event.changes == {"count": [None, 3], "format": [None, "json"], "columns": [None, "name, key"]}
    look = AuditEvent.objects.get(action="secret.revealed")
    assert (look.organization_id, look.changes) == (org.pk, {"objects": [None, "3 of device"]})
    exported(api)
    assert sorted(trail.values_list("organization_id", flat=True)) == sorted([org.pk, org.pk, other.pk])
    client = signed_in(user)
    for query in ({"file_format": "csv", "q": "a-1"}, {"file_format": "xlsx", "columns": ["name", "model"]}):
        assert client.get(page("devices_device_export"), query).status_code == 200
    event = trail.get(via="admin")
    assert event.changes["count"] == [None, 1] and event.changes["format"] == [None, "csv"]
    chosen = {"action": "export_selected", "_selected_action": [str(Device.objects.get(name="a-2").pk)]}
    client.post(page("devices_device_changelist"), {**chosen, "index": "0"})
    assert trail.filter(via="admin").count() == 2


def test_a_table_of_marks_leaves_no_trace(org: Any) -> None:
    factories.device(org)
    exported(api_as(person(org, reveal=False)))
    exported(api_as(person(org)), columns="name,notes")
    assert not AuditEvent.objects.filter(action__in=["devices.exported", "secret.revealed"]).exists()
