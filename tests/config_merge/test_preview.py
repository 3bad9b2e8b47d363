"""A preview tells what the change then does, and writes nothing."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config_merge.engine import diff_files, validate
from config_merge.models import Config, Managed, Template
from config_merge.queries import files_in
from config_merge.services import (
    comparison,
    configs,
    groups,
    places,
    preview,
    recompute,
    site_previews,
    sites,
    templates,
)
from config_merge.services.device_previews import device_preview
from core.errors import Forbidden
from devices import services as inventory
from devices.models import Device, DeviceGroup, FleetSettings
from tests import factories
from tests.isolation.world import snapshot

pytestmark = pytest.mark.django_db
PLACE = re.compile(r"^@@ .*? @@", re.M)


def files_of_all() -> dict[Any, Any]:
    """Return what every device downloads now."""
    recompute.drain()
    held = {}
    for config in Config.objects.select_related("revision", "device"):
        held[config.device_id] = files_in(bytes(config.revision.artefact)) if config.revision else ()
    return held


def told_and_done(ask: Callable[[], preview.Preview], act: Callable[[], Any]) -> preview.Preview:
    """Ask for a preview, make the change, and compare the two device by device."""
    before, rows = files_of_all(), snapshot()
    told = ask()
    assert snapshot() == rows
    act()
    after = files_of_all()
    happened = {
        pk: diff_files(before.get(pk, ()), files, context=0)
        for pk, files in after.items()
        if files != before.get(pk, ())
    }
    assert told.changed == len(happened)
    assert told.total == told.changed + told.unchanged + told.failed
    expected = Counter(PLACE.sub("@@", diff) for diff in happened.values())
    assert Counter({PLACE.sub("@@", group.diff): group.count for group in told.groups}) == expected
    for group in told.groups:
        assert happened[group.devices[0].device_id] == group.diff
    return told


@pytest.fixture
def org(db: None) -> Any:
    return factories.organization("org-a", name="Org A")


def timezone(zone: str = "UTC") -> dict[str, Any]:
    return {"general": {"timezone": zone}}


def fleet(org: Any, count: int = 3, **fields: Any) -> list[Device]:
    return [factories.configured(org, **fields) for _ in range(count)]


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"general": {"timezone": "{{ zone }}"}}, "default_values": {"zone": "Europe/Rome"}},
        {"config": timezone("Europe/Rome")},
        {"notes": "only words"},
        {"default": True},
        {"required": True},
        {"default": True, "config": timezone("Europe/Rome")},
        {"organization": None},
    ],
    ids=["variables", "content", "notes", "default", "required", "default and content", "shared"],
)
def test_a_template_edit_does_what_its_preview_told(org: Any, changes: dict[str, Any]) -> None:
    template = factories.template(org, config=timezone())
    users = [factories.configured(org, config={"templates": [template]}) for _ in range(2)]
    fleet(org, 2)
    fleet(factories.organization("org-b"), 1)
    configs.device_deactivate(users[0])
    told_and_done(
        lambda: preview.template_preview(template, changes),
        lambda: templates.template_update(Template.objects.get(pk=template.pk), **changes),
    )


def test_devices_to_which_the_same_happens_are_one_group_whatever_else_they_say(org: Any) -> None:
    template = factories.template(org, config=timezone(), default=True)
    for number in range(5):
        factories.device(org, config={"config": {"general": {"description": f"place {number}"}}})
    factories.device(org, config={"config": timezone("Asia/Tokyo")})
    told = told_and_done(
        lambda: preview.template_preview(template, {"config": timezone("Europe/Rome")}),
        lambda: templates.template_update(template, config=timezone("Europe/Rome")),
    )
    assert (told.total, told.changed, told.unchanged, told.failed) == (6, 5, 1, 0)
    (group,) = told.groups
    assert group.count == 5 and len(group.devices) == 5
    assert "+\toption zonename 'Europe/Rome'" in group.diff
    assert "place" not in group.diff


@pytest.mark.parametrize(
    "fields", [{"default": True}, {"required": True}, {}], ids=["default", "required", "plain"]
)
def test_a_new_template_does_what_its_preview_told(org: Any, fields: dict[str, Any]) -> None:
    fleet(org, 3)
    fleet(factories.organization("org-b"), 1)
    new = {
        "organization": org,
        "name": "new",
        "backend": "netjsonconfig.OpenWrt",
        "config": timezone("Europe/Rome"),
        **fields,
    }
    told = told_and_done(
        lambda: preview.template_preview(None, {**new, "tags": ["a"]}),
        lambda: templates.template_create(tags=["a"], **new),
    )
    assert told.total == (3 if fields else 0)


def test_deleting_a_template_does_what_its_preview_told(org: Any) -> None:
    template = factories.template(org, config=timezone(), default=True)
    fleet(org, 2)
    told = told_and_done(
        lambda: preview.template_preview(template, {}, delete=True),
        lambda: templates.template_delete(template),
    )
    assert told.changed == 2


def test_a_template_is_refused_in_the_services_words(org: Any) -> None:
    template = factories.template(org, config=timezone())
    factories.template(org, name="taken")
    foreign = factories.organization("org-b")
    factories.configured(org, config={"templates": [template]})
    for changes in (
        {"config": {}}, {"name": "taken"}, {"config": {"interfaces": "x"}}, {"tags": ["two words"]},
        {"organization": foreign}, {"default_values": []}, {"backend": "nothing"}, {"type": "vpn"},
    ):  # fmt: skip
        with pytest.raises(ValidationError) as told:
            preview.template_preview(template, changes)
        with pytest.raises(ValidationError) as done:
            templates.template_update(Template.objects.get(pk=template.pk), **changes)
        assert told.value.message_dict == done.value.message_dict


def test_devices_that_would_not_be_valid_are_counted_with_the_reason(org: Any) -> None:
    template = factories.template(org, config=timezone(), default=True)
    good = factories.configured(org)
    bad = factories.device(org, config={"context": {"mtu": "abc"}, "config": timezone()})
    edit = {
        "config": {"interfaces": [{"name": "eth7", "type": "ethernet", "mac": "{{ mtu }}"}]},
        "default_values": {"mtu": "02:00:00:00:00:01"},
    }
    told = preview.template_preview(template, edit)
    assert (told.changed, told.failed, told.unchanged) == (1, 1, 0)
    assert told.groups[0].devices[0].device_id == good.pk
    (failure,) = told.failures
    assert failure.device_id == bad.pk and "validator says" in failure.message


def test_what_the_renderer_refuses_is_told_in_the_words_of_an_edit(org: Any) -> None:
    lan = {"family": "ipv4", "proto": "static", "address": "{{ lan }}", "mask": 24}
    config = {"interfaces": [{"name": "lan", "type": "ethernet", "addresses": [lan]}]}
    factories.template(org, config=config, default=True, default_values={"lan": "10.0.0.1"})
    device = factories.configured(org)
    wrong = {"config": {"context": {"lan": "not-an-address"}}}
    (failure,) = device_preview(device, wrong).failures
    with pytest.raises(ValidationError) as edit:
        configs.managed_device_update(Device.objects.get(pk=device.pk), **wrong)
    assert failure.message in str(edit.value) or failure.message in edit.value.messages
    assert "/interfaces/0/addresses/0/address: 'not-an-address' is not a 'ipv4'" in failure.message
    fleet_settings = FleetSettings.objects.get(pk=org.pk)
    inventory.fleet_settings_update(fleet_settings, context={"lan": "not-an-address"})
    recompute.drain()
    problem = Config.objects.get(device=device).error_reason
    assert "/interfaces/0/addresses/0/address: 'not-an-address' is not a 'ipv4'" in problem


def test_failures_that_are_not_shown_are_not_worded(org: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    template = factories.template(org, config=timezone(), default=True)
    for number in range(5):
        factories.device(org, config={"context": {"nick": f"eth{number}"}, "config": timezone()})
    monkeypatch.setattr(comparison, "SHOWN_FAILURES", 2)
    told: list[bool] = []

    def spied(*, worded: bool = True, **kwargs: Any) -> None:
        told.append(worded)
        validate(worded=worded, **kwargs)

    monkeypatch.setattr(comparison, "validate", spied)
    edit = {
        "config": {"interfaces": [{"name": "{{ nick }}", "type": "ethernet", "mac": "{{ mac }}"}]},
        "default_values": {"nick": "eth9", "mac": "02:00:00:00:00:01"},
    }
    inventory.fleet_settings_update(FleetSettings.objects.get(pk=org.pk), context={"mac": "none"})
    result = preview.template_preview(template, edit)
    assert (result.failed, len(result.failures)) == (5, 2)
    assert told == [True, True, False, False, False]


@pytest.mark.parametrize("kind", ["context", "add", "remove", "reorder", "replace", "name", "delete"])
def test_a_group_edit_does_what_its_preview_told(org: Any, kind: str) -> None:
    one = factories.template(
        org,
        name="one",
        config={"general": {"timezone": "{{ zone }}", "a": "1"}},
        default_values={"zone": "UTC"},
    )
    two = factories.template(org, name="two", config={"general": {"timezone": "Europe/Rome", "b": "2"}})
    three = factories.template(org, name="three", config={"general": {"timezone": "Europe/Athens"}})
    group = factories.group(org, templates=[one, two])
    for templates_of in ([], [one], [three]):
        factories.configured(
            org, group=group, config={"templates": templates_of, "config": factories.interface()}
        )
    configs.device_deactivate(factories.configured(org, group=group))
    fleet(org, 1)
    changes: dict[str, Any] = {
        "context": {"context": {"zone": "Asia/Tokyo"}},
        "add": {"templates": [one, two, three]},
        "remove": {"templates": [one]},
        "reorder": {"templates": [two, one]},
        "replace": {"templates": [three], "context": {"zone": "Asia/Seoul"}},
        "name": {"name": "other", "templates": [one, two]},
        "delete": {},
    }[kind]
    if kind == "delete":
        told_and_done(
            lambda: preview.group_preview(group, {}, delete=True), lambda: groups.managed_group_delete(group)
        )
    else:
        told_and_done(
            lambda: preview.group_preview(group, changes),
            lambda: groups.managed_group_update(DeviceGroup.objects.get(pk=group.pk), **changes),
        )


def test_an_edit_of_organization_variables_does_what_its_preview_told(org: Any) -> None:
    factories.template(
        org, config={"general": {"timezone": "{{ zone }}"}}, default=True, default_values={"zone": "UTC"}
    )
    fleet(org, 2)
    factories.device(org, config={"context": {"zone": "Asia/Seoul"}, "config": factories.interface()})
    settings = factories.fleet_of(org)
    told = told_and_done(
        lambda: preview.organization_variables_preview(settings, {"zone": "Europe/Rome"}),
        lambda: inventory.fleet_settings_update(settings, context={"zone": "Europe/Rome"}),
    )
    assert (told.changed, told.unchanged) == (2, 1)
    with pytest.raises(ValidationError):
        preview.organization_variables_preview(settings, [1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    ["name", "notes", "context", "config", "templates", "none left", "group", "out", "organization", "os"],
)
def test_a_device_edit_does_what_its_preview_told(org: Any, kind: str) -> None:
    required = factories.template(
        org,
        name="must",
        required=True,
        config={"general": {"a": "{{ where }}"}},
        default_values={"where": "x"},
    )
    free = factories.template(org, name="free", config={"general": {"b": "1"}})
    grouped = factories.template(org, name="grouped", config={"general": {"timezone": "Europe/Rome"}})
    first = factories.group(org, templates=[free], context={"where": "first"})
    second = factories.group(org, templates=[grouped])
    foreign = factories.organization("org-b")
    device = factories.configured(org, group=first)
    changes: dict[str, Any] = {
        "name": {"name": "renamed"},
        "notes": {"notes": "x"},
        "context": {"config": {"context": {"where": "here"}}},
        "config": {"config": {"config": {"general": {"c": "{{ name }}"}}}, "name": "new-name"},
        "templates": {"config": {"templates": [grouped, free]}},
        "none left": {"config": {"templates": []}},
        "group": {"group": second},
        "out": {"group": None},
        "organization": {"organization": foreign, "group": None},
        "os": {"os": "OpenWrt 19.07.8", "config": {"config": {"interfaces": [
            {"name": "br-lan", "type": "bridge", "bridge_members": ["eth0"]}
        ]}}},
    }[kind]  # fmt: skip
    assert required
    told_and_done(
        lambda: device_preview(device, changes),
        lambda: configs.managed_device_update(Device.objects.get(pk=device.pk), **changes),
    )


@pytest.mark.parametrize(
    "changes",
    [{"config": {"config": factories.interface()}}, {"notes": "x"}, {"config": {"context": {}}}],
    ids=["useful", "none", "nothing said"],
)
def test_a_first_configuration_is_told_too(org: Any, changes: dict[str, Any]) -> None:
    device = factories.device(org)
    told = told_and_done(
        lambda: device_preview(device, changes),
        lambda: configs.managed_device_update(Device.objects.get(pk=device.pk), **changes),
    )
    assert told.total == 1


@pytest.mark.parametrize("by", [Managed.SITE, Managed.TEMPLATES])
@pytest.mark.parametrize("kind", ["name", "group", "templates", "organization"])
def test_an_edit_of_a_device_in_a_site_does_what_its_preview_told(org: Any, kind: str, by: str) -> None:
    """A site's settings and its variables stay with its devices, whatever else is edited, as long as they are in it."""
    mine = factories.template(org, name="mine", config=timezone("{{ zone }}"), default_values={"zone": "UTC"})
    more = factories.template(org, name="more", config={"general": {"description": "more"}})
    group = factories.group(org, templates=[more])
    site = sites.site_create(organization=org, name="site", context={"zone": "Europe/Rome"})
    device = factories.device(org, config={"templates": [mine]})
    places.placement_change(device, site=site, managed_by=by)
    changes: dict[str, Any] = {
        "name": {"name": "renamed"},
        "group": {"group": group},
        "templates": {"config": {"templates": [mine, more]}},
        "organization": {"organization": factories.organization("org-b"), "group": None},
    }[kind]
    told = told_and_done(
        lambda: device_preview(device, changes),
        lambda: configs.managed_device_update(Device.objects.get(pk=device.pk), **changes),
    )
    if by == Managed.SITE and kind != "organization":
        assert told.unchanged == 1


def test_a_device_out_of_service_joins_a_site_and_nothing_else(org: Any) -> None:
    site, device = sites.site_create(organization=org, name="site"), factories.configured(org)
    configs.device_deactivate(device)
    told = told_and_done(
        lambda: site_previews.placement_preview(device, site=site),
        lambda: places.placement_change(Device.objects.get(pk=device.pk), site=site),
    )
    assert (told.total, told.unchanged) == (1, 1)
    for refused in (
        {"site": site, "managed_by": Managed.SITE},
        {"managed_by": Managed.SITE},
        {"leave": True},
    ):
        with pytest.raises(Forbidden):
            site_previews.placement_preview(device, **refused)  # type: ignore[arg-type]


def test_a_device_edit_is_refused_in_the_services_words(org: Any) -> None:
    device = factories.configured(org)
    other = factories.organization("org-b")
    foreign = factories.template(other)
    factories.fleet_of(other, device_limit=None)
    for changes in (
        {"name": "not a name"}, {"mac_address": "x"}, {"group": factories.group(other)}, {"organization": other},
        {"config": {"templates": [foreign]}}, {"config": {"backend": "x"}}, {"config": {"context": [1]}},
    ):  # fmt: skip
        with pytest.raises(ValidationError) as told:
            device_preview(device, changes)
        with pytest.raises(ValidationError) as done:
            configs.managed_device_update(Device.objects.get(pk=device.pk), **changes)
        assert told.value.message_dict == done.value.message_dict
    configs.device_deactivate(device)
    with pytest.raises(Forbidden):
        device_preview(device, {"notes": "x"})


def test_a_limit_says_how_many_are_too_many_before_anything_is_computed(org: Any) -> None:
    template = factories.template(org, default=True)
    fleet(org, 3)
    with pytest.raises(preview.TooMany) as many:
        preview.template_preview(template, {"config": timezone()}, limit=2)
    assert many.value.count == 3
    assert preview.template_preview(template, {"config": timezone()}, limit=3).total == 3


def test_a_preview_takes_no_lock_and_as_many_queries_for_ten_devices_as_for_two(org: Any) -> None:
    template = factories.template(org, default=True)
    counts = []
    for more in (2, 8):
        fleet(org, more)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            preview.template_preview(template, {"config": timezone()})
        counts.append(len(asked))
        words = ("INSERT", "UPDATE", "DELETE", "BEGIN", "FOR NO KEY", "ADVISORY")
        assert not [q for q in asked.captured_queries if any(word in q["sql"].upper() for word in words)]
    assert counts[0] == counts[1] <= 14


def test_a_secret_is_hidden_also_where_only_a_part_of_a_key_changed(org: Any) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n{}\nsame\n-----END PRIVATE KEY-----\n"
    file = {"path": "/etc/x.pem", "mode": "0600", "contents": key.format("old-line")}
    script = {"path": "/etc/run.sh", "mode": "0700", "contents": "join {{ wifi_password }}\n"}
    template = factories.template(
        org,
        config={"files": [file, script]},
        default=True,
        default_values={"wifi_password": "hunter-two-old"},
    )
    fleet(org, 1)
    edit = {
        "config": {"files": [{**file, "contents": key.format("new-line")}, script]},
        "default_values": {"wifi_password": "hunter-two-new"},
    }
    (group,) = preview.template_preview(template, edit).groups
    for secret in ("old-line", "new-line", "hunter-two-old", "hunter-two-new"):
        assert secret in group.diff and secret not in group.hidden
    assert group.hidden.count("redacted:") == 4
    assert "hunter" not in repr(group)
