"""Sites, a device's place and its delivery in the admin: what is shown, what is refused, what is written."""

import json
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config_merge import job_tasks
from config_merge.admin.settings_rows import moved_on, setting_roots
from config_merge.delivery import again, drift
from config_merge.engine import Level, merge
from config_merge.models import Config, ConfigTask, Job, Managed, Site, SiteDevice
from config_merge.services import places, recompute, reports, sites
from core.clock import now
from core.redaction import mark_of
from devices.models import Device
from tenancy.models import AuditEvent, Membership, Organization
from tests import factories
from tests.admin.conftest import page

WIFI = "wireless/1000000001"
SECRET = "site-wide-secret"


@pytest.fixture
def site(org: Organization) -> Site:
    site = sites.site_create(organization=org, name="Vilnius")
    changes = {
        "ntp/server": {"value": "one"}, "radio/r5/channel": {"value": "36"}, f"{WIFI}/ssid": {"value": "Office"},
        f"{WIFI}/key": {"value": SECRET},
    }  # fmt: skip
    sites.site_settings_change(site, changes, version=None)
    return site


@pytest.fixture
def place(site: Site) -> SiteDevice:
    return places.place_create(site, serial="1", mac_address=factories.mac(), name="ap")


def settings_page(site: Site) -> str:
    return page("config_merge_site_settings", site.pk)


def device_page(place: SiteDevice) -> str:
    return page("devices_device_settings", place.device_id)


def post(client: Client, path: str, of: Any, changes: Any, **more: str) -> Any:
    of.refresh_from_db()
    text = changes if isinstance(changes, str) else json.dumps(changes)
    return client.post(path, {"changes": text, "version": str(of.version), **more}, follow=True)


def said(answer: Any) -> str:
    return re.sub(r"\s+", " ", answer.content.decode())


# --- a site's settings ------------------------------------------------------------------------------------------------


def test_the_page_groups_settings_and_holds_no_secret(operator: Client, site: Site) -> None:
    text = said(operator.get(settings_page(site)))
    for key in ("ntp/server", "radio/r5/channel", f"{WIFI}/ssid", f"{WIFI}/key"):
        assert f'data-setting="{key}"' in text
    assert f'data-section="{WIFI}/"' in text and "Office" in text
    assert SECRET not in text and mark_of(SECRET) in text
    assert f'name="version" value="{site.version}"' in text


def test_who_may_reveal_gets_a_secret_by_its_key_and_it_is_written_down(
    operator: Client, site: Site, place: SiteDevice
) -> None:
    for path, of in (
        (page("config_merge_site_reveal", site.pk), site),
        (page("devices_device_reveal", place.device_id), place.device),
    ):
        for part in (f"setting:{WIFI}/key", "settings"):
            answer = operator.post(path, {"part": part})
            assert answer.json() == {"secrets": {mark_of(SECRET): SECRET}}, part
        assert operator.post(path, {"part": "setting:ntp/server"}).json() == {"secrets": {}}
        assert AuditEvent.objects.filter(action="secret.revealed", target_id=str(of.pk)).count() >= 2
    factories.without_reveal(operator.user)  # type: ignore[attr-defined]
    text = said(operator.get(settings_page(site)))
    assert SECRET not in text and "data-reveal-page" not in text
    assert operator.post(page("config_merge_site_reveal", site.pk), {"part": "settings"}).status_code == 403


def test_a_change_is_saved_with_the_secrets_that_stand_as_marks(operator: Client, site: Site) -> None:
    answer = post(
        operator, settings_page(site), site,
        {"ntp/server": {"value": "two", "origin": "site"}, f"{WIFI}/key": {"value": mark_of(SECRET)}},
    )  # fmt: skip
    assert "The settings were saved" in said(answer)
    site.refresh_from_db()
    assert site.settings["ntp/server"]["value"] == "two"
    assert site.settings[f"{WIFI}/key"]["value"] == SECRET
    post(operator, settings_page(site), site, {f"{WIFI}/": None, "ntp/server": None})
    site.refresh_from_db()
    assert set(site.settings) == {"radio/r5/channel"}


def test_mistakes_stand_at_their_keys_and_nothing_is_saved(operator: Client, site: Site) -> None:
    changes = {
        "ntp/server": {"value": "two"}, "wireless/12/ssid": {"value": "x"}, "a b/c": {"value": "1"},
        "users/1/name": {"value": "root"},
    }  # fmt: skip
    answer = post(operator, settings_page(site), site, changes)
    assert set(answer.context["errors"]) == {"wireless/12/ssid", "a b/c", "users/1/name"}
    assert "two" in answer.context["pending"]
    site.refresh_from_db()
    assert site.settings["ntp/server"]["value"] == "one"
    checked = operator.post(
        page("config_merge_site_settings_check", site.pk), {"changes": json.dumps(changes)}
    )
    assert checked.json()["errors"] == answer.context["errors"]
    for text in ("{", "[]", '{"a/b": 1}'):
        assert post(operator, settings_page(site), site, text).context["errors"]


def test_a_stale_page_is_told_what_changed_and_by_whom_and_keeps_its_changes(
    operator: Client, site: Site
) -> None:
    base = {"ntp/server": "one", "radio/r5/channel": "36"}
    version = str(site.version)
    sites.site_settings_change(site, {"radio/r5/channel": {"value": "40"}}, version=None)
    changes = {"ntp/server": {"value": "two"}}
    sent = {"changes": json.dumps(changes), "version": version, "base": json.dumps(base)}
    answer = operator.post(settings_page(site), sent)
    text = said(answer)
    assert "Not saved: the settings were changed meanwhile" in text
    assert ("radio/r5/channel", "36", "40") in answer.context["moved"]
    assert answer.context["pending"] == json.dumps(changes)
    assert answer.context["version"] == str(Site.objects.get().version)
    assert Site.objects.get().settings["ntp/server"]["value"] == "one"
    assert SECRET not in text


def test_the_effect_names_the_devices_it_reaches_and_those_that_do_not_follow(
    operator: Client, site: Site, place: SiteDevice
) -> None:
    other = places.place_create(site, serial="2", mac_address=factories.mac(), name="ap-other")
    own = {"ntp/server": {"value": "mine", "origin": "site-device"}}
    places.place_settings_change(other, own, version=None)
    path = page("config_merge_site_settings_effect", site.pk)
    answer = operator.post(path, {"changes": json.dumps({"ntp/server": {"value": "two"}})}).json()
    assert (answer["outcome"], answer["changed"]) == ("ok", 1)
    text = re.sub(r"\s+", " ", answer["html"])
    assert "option server &#x27;two&#x27;" in text and "1 overrides" in text and "ap-other" in text
    untouched = operator.post(path, {"changes": ""}).json()
    assert untouched["changed"] == 0 and "Nothing that reaches devices" in untouched["html"]
    wrong = operator.post(path, {"changes": json.dumps({"x": {"value": "1"}})}).json()
    assert wrong["outcome"] == "invalid" and set(wrong["errors"]) == {"x"}
    assert Site.objects.get().settings["ntp/server"]["value"] == "one"


def test_viewers_look_and_do_not_write(staff: Any, site: Site, place: SiteDevice) -> None:
    viewer = staff("viewer")
    for path in (settings_page(site), device_page(place)):
        text = said(viewer.get(path))
        assert "data-fixed" in text and "Save changes" not in text
        assert post(viewer, path, site, {"ntp/server": {"value": "x"}}).status_code == 403
    for name in ("effect", "check"):
        assert viewer.post(page(f"config_merge_site_settings_{name}", site.pk)).status_code == 403
    delivery = said(viewer.get(page("devices_device_delivery", place.device_id)))
    assert "Push again" not in delivery
    assert viewer.post(page("devices_device_push_again", place.device_id)).status_code == 403
    assert viewer.get(page("devices_device_drift", place.device_id)).status_code == 403
    assert viewer.post(page("devices_device_place", place.device_id, "suspend")).status_code == 403
    assert Site.objects.get().settings["ntp/server"]["value"] == "one"


def test_name_variables_and_defaults_are_on_a_page_of_their_own(operator: Client, site: Site) -> None:
    path = page("config_merge_site_change", site.pk)
    posted = {"name": "Vilnius 2", "context": '{"floor": "1"}', "defaults": json.dumps(site.defaults)}
    answer = operator.post(path, {**posted, "_continue": "1"}, follow=True)
    assert "was changed successfully" in said(answer)
    site.refresh_from_db()
    assert (site.name, site.context) == ("Vilnius 2", {"floor": "1"})
    refused = operator.post(path, {**posted, "defaults": '{"a/b": 1}'})
    assert "a value must be a string" in said(refused)


def test_a_site_is_made_and_one_with_devices_stays(
    operator: Client, org: Organization, site: Site, place: SiteDevice
) -> None:
    operator.post(page("config_merge_site_add"), {"name": "Riga", "organization": str(org.pk)})
    made = Site.objects.get(name="Riga")
    assert set(made.defaults) == {"ssid", "user", "lan"}
    first = operator.get(settings_page(made))
    assert first.context["starting"]["locale/code"]["value"] == "US"
    answer = operator.post(page("config_merge_site_delete", site.pk), {"post": "yes"}, follow=True)
    assert "The site has devices" in said(answer) and Site.objects.filter(pk=site.pk).exists()
    operator.post(page("config_merge_site_delete", made.pk), {"post": "yes"})
    assert not Site.objects.filter(pk=made.pk).exists()


def test_the_list_counts_in_the_query_that_reads_it(
    operator: Client, site: Site, place: SiteDevice, org: Organization
) -> None:
    second = places.place_create(site, serial="2", mac_address=factories.mac(), name="ap-2")
    config = factories.config_of(second.device)
    reports.take(reports.Report(config.pk, second.device_id, "applied", checksum=config.checksum))
    Device.objects.filter(pk=second.device_id).update(last_seen=now())
    gone = places.place_create(site, serial="3", mac_address=factories.mac(), name="ap-3")
    places.place_update(gone, is_retired=True)
    row = operator.get(page("config_merge_site_changelist")).context["cl"].result_list[0]
    assert (row.devices_there, row.devices_online, row.devices_away, row.tasks_open) == (2, 1, 1, 1)


# --- a device's settings ----------------------------------------------------------------------------------------------


def test_a_devices_page_tells_where_each_value_is_from(
    operator: Client, site: Site, place: SiteDevice
) -> None:
    changes = {
        "ntp/server": {"value": "mine", "origin": "site-device"}, "own/key": {"value": "x", "origin": "device"},
        "radio/r5/channel": {"value": None, "origin": "device"},
    }  # fmt: skip
    answer = post(operator, device_page(place), place, changes)
    text = said(answer)
    assert "The settings were saved" in text
    rows = {
        row.key: row for root in answer.context["roots"] for section in root.sections for row in section.rows
    }
    assert (rows["ntp/server"].source, rows["ntp/server"].shadowed) == ("device", (("site", "one"),))
    assert (rows["own/key"].source, rows["own/key"].shadowed) == ("device", ())
    assert (rows["radio/r5/channel"].source, rows["radio/r5/channel"].warnings) == ("", ("suppressed",))
    assert rows[f"{WIFI}/ssid"].source == "site"
    assert "overrides <s>one</s> of the site" in text and "left out on this device" in text
    assert "mu-origin--site" in text and "mu-origin--device" in text and SECRET not in text

    post(operator, device_page(place), place, {"ntp/server": None, "radio/r5/channel": None})
    assert set(SiteDevice.objects.get().settings) == {"own/key"}


def test_an_override_keeps_an_inherited_secret_that_stands_as_its_mark(
    operator: Client, place: SiteDevice
) -> None:
    changes = {
        f"{WIFI}/ssid": {"value": "Cellar", "origin": "site-device"},
        f"{WIFI}/key": {"value": mark_of(SECRET), "origin": "site-device"},
    }
    post(operator, device_page(place), place, changes)
    own = SiteDevice.objects.get().settings
    assert own[f"{WIFI}/key"] == {"value": SECRET, "origin": "site-device"}
    effect = operator.post(
        page("devices_device_settings_effect", place.device_id), {"changes": json.dumps({f"{WIFI}/": None})}
    ).json()
    assert effect["changed"] == 1 and "Cellar" in effect["html"]


def test_a_suspended_devices_settings_are_read_only_and_the_post_is_refused(
    operator: Client, place: SiteDevice
) -> None:
    places.place_update(place, is_suspended=True)
    text = said(operator.get(device_page(place)))
    assert "data-fixed" in text and "suspended" in text
    answer = post(operator, device_page(place), place, {"ntp/server": {"value": "x", "origin": "device"}})
    assert "Not saved: the device is suspended" in said(answer)
    assert SiteDevice.objects.get().settings == {}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("by-templates", {"managed": Managed.TEMPLATES}), ("stand-alone", {"inherits": False}),
        ("suspend", {"is_suspended": True}), ("block", {"is_blocked": True}), ("decommission", {"is_retired": True}),
        ("leave", {}),
    ],
)  # fmt: skip
def test_a_step_is_asked_for_and_then_made(
    operator: Client, place: SiteDevice, step: str, expected: dict[str, Any]
) -> None:
    path = page("devices_device_place", place.device_id, step)
    asked = operator.get(path)
    assert asked.status_code == 200
    place.refresh_from_db()
    assert place.inherits and not place.hold, "asking changes nothing"
    operator.post(path)
    if step == "leave":
        assert not SiteDevice.objects.exists()
        return
    place.refresh_from_db()
    managed = expected.pop("managed", Managed.SITE)
    assert Config.objects.get().managed_by == managed
    assert all(getattr(place, name) == value for name, value in expected.items())


def test_the_question_shows_what_would_become_of_the_files(operator: Client, place: SiteDevice) -> None:
    text = said(operator.get(page("devices_device_place", place.device_id, "by-templates")))
    assert "The files of the device would change" in text and "Office" in text
    same = said(operator.get(page("devices_device_place", place.device_id, "block")))
    assert "Block the device" in same


def test_a_device_moves_only_to_sites_of_its_organization(
    operator: Client, site: Site, place: SiteDevice, other: Organization, org: Organization
) -> None:
    foreign = sites.site_create(organization=other, name="Elsewhere")
    near = sites.site_create(organization=org, name="Riga")
    path = page("devices_device_place", place.device_id, "join")
    for wrong in (str(foreign.pk), "x", ""):
        answer = operator.post(path, {"site": wrong}, follow=True)
        assert "There is no such site" in said(answer) and "Elsewhere" not in said(answer)
    assert SiteDevice.objects.get().site_id == site.pk
    operator.post(path, {"site": str(near.pk)})
    assert SiteDevice.objects.get().site_id == near.pk
    lone = factories.configured(org)
    assert "In no site" in said(operator.get(page("devices_device_settings", lone.pk)))
    operator.post(page("devices_device_place", lone.pk, "join"), {"site": str(near.pk)})
    assert SiteDevice.objects.get(device=lone).site_id == near.pk


# --- delivery ---------------------------------------------------------------------------------------------------------


def test_the_delivery_page_pushes_again_and_takes_back(operator: Client, place: SiteDevice) -> None:
    path = page("devices_device_delivery", place.device_id)
    assert "Waiting" in said(operator.get(path))
    operator.post(page("devices_device_push_again", place.device_id))
    task = ConfigTask.objects.get(state="pending")
    assert task.kind == "resync"
    cancelled = operator.post(
        page("devices_device_cancel_push", place.device_id), {"task": str(task.pk)}, follow=True
    )
    assert "The push was taken back" in said(cancelled)
    again = operator.post(
        page("devices_device_cancel_push", place.device_id), {"task": str(task.pk)}, follow=True
    )
    assert "has ended" in said(again)
    panel = operator.get(page("devices_device_delivery_panel", place.device_id))
    assert "Cancelled" in said(panel) and "<html" not in said(panel)


def test_a_task_of_another_device_is_not_taken_back(operator: Client, place: SiteDevice, site: Site) -> None:
    other = places.place_create(site, serial="2", mac_address=factories.mac())
    task = ConfigTask.objects.get(device=other.device)
    operator.post(page("devices_device_cancel_push", place.device_id), {"task": str(task.pk)})
    task.refresh_from_db()
    assert task.state == "pending"


def test_drift_is_seen_and_a_device_without_a_link_says_so(operator: Client, place: SiteDevice) -> None:
    config = factories.config_of(place.device)
    reports.take(reports.Report(config.pk, place.device_id, "applied", checksum=config.checksum))
    drift.measured({place.device_id: "0" * 64})
    assert "edited on the device" in said(operator.get(page("devices_device_delivery", place.device_id)))
    path = page("devices_device_drift", place.device_id)
    assert "Ask the device" in said(operator.get(path))
    answer = said(operator.post(path))
    assert "The device cannot be asked what it has: the device is not linked." in answer
    assert "Ask the device" in answer


def test_the_task_list_filters_and_its_cost_does_not_grow(
    operator: Client, site: Site, org: Organization
) -> None:
    def cost(query: str = "") -> int:
        path = f"{page('config_merge_configtask_changelist')}{query}"
        operator.get(path)
        with CaptureQueriesContext(connection) as caught:
            assert operator.get(path).status_code == 200
        return len(caught)

    for number in range(2):
        places.place_create(site, serial=f"a{number}", mac_address=factories.mac())
    few = cost()
    for number in range(8):
        places.place_create(site, serial=f"b{number}", mac_address=factories.mac())
    again.push_again(factories.configured(org))
    assert cost() == few <= 8
    listed = operator.get(page("config_merge_configtask_changelist"), {"site": str(site.pk), "state": "open"})
    assert listed.context["cl"].result_count == 10
    assert operator.get(page("config_merge_configtask_changelist"), {"state": "x"}).status_code == 200


def test_a_tasks_page_tells_its_steps_and_acts(operator: Client, place: SiteDevice) -> None:
    task = ConfigTask.objects.get()
    ConfigTask.objects.update(log=[["2026-01-01T00:00:00Z", "written", "option key 'hunter2hunter2'"]])
    text = said(operator.get(page("config_merge_configtask_change", task.pk)))
    assert "written" in text and "hunter2" not in text
    operator.post(page("config_merge_configtask_cancel", task.pk))
    task.refresh_from_db()
    assert task.state == "cancelled"
    operator.post(page("config_merge_configtask_push_again", task.pk))
    assert ConfigTask.objects.filter(state="pending").count() == 1
    Membership.objects.update(role="viewer")
    assert operator.post(page("config_merge_configtask_push_again", task.pk)).status_code == 403


def test_pages_of_a_site_cost_the_same_for_any_number_of_devices(
    operator: Client, site: Site, place: SiteDevice
) -> None:
    def cost(path: str) -> int:
        operator.get(path)
        with CaptureQueriesContext(connection) as caught:
            assert operator.get(path).status_code == 200
        return len(caught)

    paths = (
        page("config_merge_site_devices", site.pk),
        settings_page(site),
        page("config_merge_site_changelist"),
    )
    few = [cost(path) for path in paths]
    for number in range(8):
        places.place_create(site, serial=f"b{number}", mac_address=factories.mac())
        sites.site_create(organization=site.organization, name=f"more {number}")
    recompute.drain()
    assert [cost(path) for path in paths] == few
    assert max(few) <= 9, few


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_are_grouped_by_root_node_and_entity_in_order() -> None:
    entries = {
        key: {"value": "1", "origin": "site"}
        for key in (
            "b/x",
            "b/n/y",
            "b/1000000002/z",
            "b/1000000010/z",
            "b/1000000002/sub/q",
            "b/1000000002/",
            "a/x",
        )
    }
    roots = setting_roots(merge(Level.of(entries), Level.of({})), entries)
    assert [root.name for root in roots] == ["a", "b"]
    assert [(each.key, each.number, [row.label for row in each.rows]) for each in roots[1].sections] == [
        ("", "", ["x"]), ("b/n/", "", ["y"]), ("b/1000000002/", "1000000002", ["sub/q", "z"]),
        ("b/1000000010/", "1000000010", ["z"]),
    ]  # fmt: skip


def test_what_others_changed_is_told_key_by_key() -> None:
    assert moved_on({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"}) == [
        ("b", "2", "9"), ("c", "3", "-"), ("d", "-", "4"),
    ]  # fmt: skip


def test_an_effect_on_more_devices_than_one_waits_for_is_computed_by_a_job(
    operator: Client, site: Site, place: SiteDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config_merge.admin.site.MOST_DEVICES", 0)
    path = page("config_merge_site_settings_effect", site.pk)
    sent = {"changes": json.dumps({"ntp/server": {"value": "two"}})}
    assert operator.post(path, sent).json()["outcome"] == "too_many"
    assert not Job.objects.exists(), "only who asks for it waits for a job"
    answer = operator.post(f"{path}?background=yes", sent).json()
    assert answer["outcome"] == "job"
    job_tasks.run_job(str(Job.objects.get().pk))
    found = operator.get(answer["result"]).json()
    assert (found["outcome"], found["changed"]) == ("ok", 1)
    properties = {"name": site.name, "context": '{"floor": "1"}', "defaults": '{"ntp/pool": "x"}'}
    asked = operator.post(f"{page('config_merge_site_effect', site.pk)}?background=yes", properties).json()
    assert asked["outcome"] == "job"
    assert Site.objects.get().settings["ntp/server"]["value"] == "one"
