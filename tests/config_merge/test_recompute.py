"""Shared changes: marked in one statement, computed in the background, told exactly."""

import io
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config_merge import inputs
from config_merge.models import Backend, Cause, Config, ConfigRevision, Status, Template
from config_merge.services import assignment, configs, groups, recompute, reports, templates
from core.db import uuid_parameter
from devices.models import Device
from devices.services import fleet_settings_update
from tenancy.models import Notification, Organization
from tenancy.services import organization_create

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization() -> Organization:
    """An organization."""
    return organization_create(slug="acme", name="Acme")


@pytest.fixture
def template(organization: Organization) -> Template:
    """A template nobody gets by itself."""
    return templates.template_create(
        organization=organization,
        name="tz",
        default_values={"tz": "UTC"},
        config={"general": {"timezone": "{{ tz }}"}},
    )


def fleet(
    organization: Organization, count: int, *chosen: Template, prefix: str = "ap", **fields: Any
) -> list[Device]:
    """Create devices that have applied their configuration."""
    made = [
        configs.managed_device_create(
            organization=organization,
            name=f"{prefix}{number}",
            mac_address=f"02:00:00:{len(prefix):02X}:{number // 256:02X}:{number % 256:02X}",
            config={"templates": list(chosen), "context": {"n": str(number)}},
            **fields,
        )
        for number in range(count)
    ]
    settle()
    return made


def settle() -> None:
    """Compute everything and let every active device say that it applied it."""
    recompute.drain()
    for config in Config.objects.exclude(status__in=(Status.DEACTIVATING, Status.DEACTIVATED)):
        Config.objects.filter(pk=config.pk).update(status=Status.APPLIED, applied_checksum=config.checksum)


def statuses(devices: list[Device]) -> list[str]:
    """Return the statuses of the devices, in order."""
    found = dict(Config.objects.filter(device__in=devices).values_list("device_id", "status"))
    return [found[device.pk] for device in devices]


def test_a_template_edit_marks_its_users_in_a_constant_number_of_statements(
    organization: Organization, template: Template
) -> None:
    fleet(organization, 3, template)
    with CaptureQueriesContext(connection) as few:
        templates.template_update(template, default_values={"tz": "Asia/Tokyo"})
    recompute.drain()
    fleet(organization, 30, template, prefix="more")
    with CaptureQueriesContext(connection) as many:
        templates.template_update(template, default_values={"tz": "Europe/Rome"})
    assert len(few) == len(many)
    assert recompute.stale_configs().count() == 33


def test_only_devices_whose_bytes_change_turn_modified(
    organization: Organization, template: Template
) -> None:
    users = fleet(organization, 2, template)
    own = configs.managed_device_create(
        organization=organization,
        name="own",
        mac_address="02:00:00:00:00:99",
        config={"templates": [template], "config": {"general": {"timezone": "Asia/Tokyo"}}},
    )
    strangers = fleet(organization, 2, prefix="other")
    settle()
    templates.template_update(template, default_values={"tz": "Europe/Rome"})
    assert statuses(users) == [Status.APPLIED] * 2
    recompute.drain()
    assert statuses([*users, own, *strangers]) == [Status.MODIFIED] * 2 + [Status.APPLIED] * 3
    assert Config.objects.get(device=own).revision_number == 1
    assert not recompute.stale_configs().exists()


def test_a_change_taken_back_before_the_device_saw_it_is_applied_again(
    organization: Organization, template: Template
) -> None:
    devices = fleet(organization, 1, template)
    for zone in ("Europe/Rome", "UTC"):
        templates.template_update(template, default_values={"tz": zone})
        recompute.drain()
    assert statuses(devices) == [Status.APPLIED]
    assert Config.objects.get().revision_number == 3


def test_notes_and_tags_of_a_template_mark_nothing(organization: Organization, template: Template) -> None:
    fleet(organization, 1, template)
    templates.template_update(template, notes="words", tags=["mesh"], name="renamed")
    assert not recompute.stale_configs().exists()


def test_revisions_say_why_and_who(
    organization: Organization, template: Template, django_user_model: Any
) -> None:
    person = django_user_model.objects.create(username="p")
    fleet(organization, 1, template)
    templates.template_update(template, default_values={"tz": "Europe/Rome"}, actor_id=person.pk)
    recompute.drain()
    last = ConfigRevision.objects.first()
    assert (last.number, last.cause, last.actor) == (2, Cause.TEMPLATE, person)
    assert last.size == len(bytes(last.artefact))


def test_organization_and_group_variables_reach_their_devices(
    organization: Organization, template: Template
) -> None:
    group = groups.managed_group_create(organization=organization, name="g")
    inside, outside = (
        fleet(organization, 2, template, group=group),
        fleet(organization, 2, template, prefix="out"),
    )
    stranger = fleet(organization_create(slug="other"), 1)
    groups.managed_group_update(group, context={"tz": "Asia/Tokyo"})
    recompute.drain()
    assert statuses([*inside, *outside, *stranger]) == [Status.MODIFIED] * 2 + [Status.APPLIED] * 3
    settle()
    fleet_settings_update(organization.fleet_settings, context={"tz": "Europe/Rome"})
    recompute.drain()
    assert statuses([*inside, *outside, *stranger]) == [Status.APPLIED] * 2 + [Status.MODIFIED] * 2 + [
        Status.APPLIED
    ]


def test_a_new_default_template_is_attached_to_active_devices_of_its_backend(
    organization: Organization,
) -> None:
    devices = fleet(organization, 2)
    wisp = configs.managed_device_create(
        organization=organization, name="w", mac_address="02:00:00:00:00:98",
        config={"backend": Backend.OPENWISP},
    )  # fmt: skip
    retired = fleet(organization, 1, prefix="retired")[0]
    configs.device_deactivate(retired)
    stranger = fleet(organization_create(slug="other"), 1)
    settle()
    added = templates.template_create(
        organization=organization, name="new", required=True, config={"general": {"timezone": "Asia/Tokyo"}}
    )
    recompute.drain()
    having = set(Device.objects.filter(config__templates=added))
    assert having == set(devices)
    assert statuses(devices) == [Status.MODIFIED] * 2
    assert wisp not in having and stranger[0] not in having
    shared = templates.template_create(name="all", default=True, config={"general": {"timezone": "UTC"}})
    assert set(Device.objects.filter(config__templates=shared)) == {*devices, *stranger}
    order = [row.template.name for row in Config.objects.get(device=devices[0]).config_templates.all()]
    assert order == ["new", "all"]


def test_deleting_a_template_computes_its_users_without_it(
    organization: Organization, template: Template
) -> None:
    devices = fleet(organization, 2, template)
    templates.template_delete(template)
    recompute.drain()
    assert statuses(devices) == [Status.MODIFIED] * 2
    assert not Config.objects.get(device=devices[0]).templates.exists()


def test_group_templates_follow_membership_and_edits(organization: Organization, template: Template) -> None:
    group = groups.managed_group_create(organization=organization, name="g", templates=[template])
    device = configs.managed_device_create(
        organization=organization, name="ap", mac_address="02:00:00:00:00:01", group=group
    )
    names = lambda: list(Config.objects.get(device=device).templates.values_list("name", flat=True))  # noqa: E731
    assert names() == ["tz"]
    extra = templates.template_create(
        organization=organization, name="extra", config={"general": {"description": "x"}}
    )
    groups.managed_group_update(group, templates=[extra])
    assert names() == ["extra"]
    configs.managed_device_update(device, group=None)
    assert names() == []
    configs.managed_device_update(device, group=group)
    assert names() == ["extra"]
    groups.managed_group_delete(group)
    device.refresh_from_db()
    assert (names(), device.group) == ([], None)


def test_required_templates_come_back_in_front(organization: Organization, template: Template) -> None:
    config = {"general": {"timezone": "UTC"}}
    first = templates.template_create(organization=organization, name="b", required=True, config=config)
    second = templates.template_create(organization=organization, name="a", required=True, config=config)
    device = fleet(organization, 1)[0]
    configs.managed_device_update(device, config={"templates": [template]})
    assert assignment.current_ids(Config.objects.get().pk) == [second.pk, first.pk, template.pk]
    configs.managed_device_update(device, config={"templates": []})
    assert assignment.current_ids(Config.objects.get().pk) == [second.pk, first.pk]


def test_a_configuration_that_cannot_be_merged_keeps_its_last_revision(
    organization: Organization, template: Template
) -> None:
    device = fleet(organization, 1, template)[0]
    before = Config.objects.get(device=device)
    Config.objects.filter(pk=before.pk).update(config={"general": ["not", "an", "object"]})
    templates.template_update(template, default_values={"tz": "Europe/Rome"})
    recompute.drain()
    after = Config.objects.get(device=device)
    assert after.problem
    assert (after.checksum, after.revision_number, after.is_stale) == (before.checksum, 1, False)
    assert (after.status, "cannot be computed" in after.error_reason) == (Status.ERROR, True)
    assert Notification.objects.filter(kind="config_problem", target_id=device.pk).count() == 1
    templates.template_update(template, default_values={"tz": "UTC"})
    recompute.drain()
    assert Notification.objects.filter(kind="config_problem").count() == 1
    configs.managed_device_update(device, config={"config": {}})
    mended = Config.objects.get(device=device)
    assert (mended.problem, mended.error_reason, mended.status) == ("", "", Status.APPLIED)


def test_a_row_that_cannot_be_read_does_not_stop_the_others(
    organization: Organization, template: Template
) -> None:
    broken, sound = fleet(organization, 2, template)
    with connection.cursor() as cursor:
        row = uuid_parameter(Config.objects.only("pk").get(device=broken).pk)
        cursor.execute("UPDATE config_merge_config SET context = 'garbage' WHERE id = %s", [row])
    templates.template_update(template, default_values={"tz": "Europe/Rome"})
    recompute.drain()
    assert not recompute.stale_configs().exists()
    assert statuses([sound, broken]) == [Status.MODIFIED, Status.ERROR]


def test_a_template_that_becomes_everyones_leaves_its_groups_but_not_their_members(
    organization: Organization, template: Template
) -> None:
    group = groups.managed_group_create(organization=organization, name="g", templates=[template])
    device = fleet(organization, 1, group=group)[0]
    templates.template_update(template, required=True)
    groups.managed_group_update(group, name="renamed")
    groups.managed_group_update(group, templates=[])
    configs.managed_device_update(device, group=None)
    groups.managed_group_delete(group)
    assert assignment.current_ids(Config.objects.get(device=device).pk) == [template.pk]


def test_the_order_of_a_groups_templates_is_its_members_order(
    organization: Organization, template: Template
) -> None:
    second, third = (
        templates.template_create(
            organization=organization, name=name, config={"general": {"description": name}}
        )
        for name in ("second", "third")
    )
    group = groups.managed_group_create(organization=organization, name="g", templates=[template, second])
    device = fleet(organization, 1, third, group=group)[0]
    groups.managed_group_update(group, templates=[second, template])
    held = assignment.current_ids(Config.objects.get(device=device).pk)
    assert held == [second.pk, template.pk, third.pk]


def test_an_error_about_a_checksum_that_is_not_wanted_any_more_changes_nothing(
    organization: Organization, template: Template
) -> None:
    device = fleet(organization, 1, template)[0]
    config = Config.objects.get(device=device)
    late = reports.Report(config.pk, device.pk, "error", "too late", "0" * 32)
    assert reports.take(late) == Config.objects.get(pk=config.pk).status == Status.APPLIED
    templates.template_update(template, default_values={"tz": "Asia/Tokyo"})
    recompute.drain()
    for _ in range(3):
        reports.take(reports.Report(config.pk, device.pk, "error", "no space left"))
    assert Config.objects.get(pk=config.pk).status == Status.ERROR
    assert Notification.objects.filter(kind="config_error").count() == 1


def test_a_device_that_moves_leaves_its_history_behind(
    organization: Organization, template: Template
) -> None:
    device = fleet(organization, 1, template)[0]
    other = organization_create(slug="other")
    templates.template_create(
        organization=other, name="required", required=True, config={"general": {"timezone": "UTC"}}
    )
    templates.template_create(
        organization=other, name="default", default=True, config={"general": {"timezone": "UTC"}}
    )
    configs.managed_device_update(device, organization=other)
    config = Config.objects.get(device=device)
    assert [row.number for row in config.revisions.all()] == [2]
    assert (config.revision.checksum, config.is_stale) == (config.checksum, False)
    assert [row.template.name for row in config.config_templates.all()] == ["required"]


def test_a_computation_that_was_overtaken_writes_nothing(
    organization: Organization, template: Template
) -> None:
    device = fleet(organization, 1, template)[0]
    config = Config.objects.get(device=device)
    templates.template_update(template, default_values={"tz": "Europe/Rome"})
    stale = Config.objects.get(pk=config.pk)
    old = recompute.Computation(config.pk, stale.generation, None, "late")
    recompute.drain()
    assert recompute.store([old]) == 0
    assert not Config.objects.get(pk=config.pk).problem


def test_a_change_during_a_computation_leaves_the_row_stale(
    organization: Organization, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet(organization, 1, template)
    templates.template_update(template, default_values={"tz": "Europe/Rome"})
    compute: Callable[..., Any] = recompute.compute

    def meanwhile(item: Any) -> Any:
        monkeypatch.setattr(recompute, "compute", compute)
        done = compute(item)
        templates.template_update(template, default_values={"tz": "Asia/Tokyo"})
        return done

    monkeypatch.setattr(recompute, "compute", meanwhile)
    recompute.recompute_chunk()
    assert recompute.stale_configs().count() == 1
    recompute.drain()
    assert b"Asia/Tokyo" in _system(Config.objects.get())


def _system(config: Config) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(bytes(config.revision.artefact))) as archive:
        return archive.extractfile("etc/config/system").read()


def test_loading_a_chunk_costs_the_same_queries_for_one_and_for_many(
    organization: Organization, template: Template, django_assert_max_num_queries: Any
) -> None:
    fleet(organization, 25, template)
    templates.template_update(template, default_values={"tz": "Asia/Tokyo"})
    with CaptureQueriesContext(connection) as captured:
        recompute.recompute_chunk(100)
    assert len([q for q in captured if q["sql"].startswith("SELECT")]) <= 10


def test_precedence_of_variables(organization: Organization, template: Template) -> None:
    group = groups.managed_group_create(organization=organization, name="g", context={"tz": "group"})
    fleet_settings_update(organization.fleet_settings, context={"tz": "organization"})
    template2 = templates.template_create(
        organization=organization, name="v", default_values={"tz": "template"},
        config={"files": [{"path": "/tz", "mode": "0644", "contents": "{{ tz }} {{ name }} {{ unknown }}"}]},
    )  # fmt: skip
    device = configs.managed_device_create(
        organization=organization, name="ap", mac_address="02:00:00:00:00:01", group=group,
        config={"templates": [template2], "context": {"tz": "device", "name": "mine"}},
    )  # fmt: skip

    def contents() -> str:
        return inputs.load([Config.objects.get(device=device)])[0].effective().tree["files"][0]["contents"]

    assert contents() == "device mine {{ unknown }}"
    configs.managed_device_update(device, config={"context": {}})
    assert contents() == "group ap {{ unknown }}"
    configs.managed_device_update(device, group=None)
    assert contents() == "organization ap {{ unknown }}"
    fleet_settings_update(organization.fleet_settings, context={})
    assert contents() == "template ap {{ unknown }}"


def test_deactivation_keeps_what_people_wrote(organization: Organization, template: Template) -> None:
    own = {"general": {"description": "mine"}}
    device = configs.managed_device_create(
        organization=organization, name="ap", mac_address="02:00:00:00:00:01", management_ip="10.0.0.1",
        config={"templates": [template], "config": own, "context": {"a": "1"}},
    )  # fmt: skip
    configs.device_deactivate(device)
    config = Config.objects.get()
    assert (config.status, config.config, config.context) == (Status.DEACTIVATING, own, {"a": "1"})
    assert b"mine" not in _system(config)
    configs.device_activate(device)
    config.refresh_from_db()
    assert (config.status, config.config) == (Status.MODIFIED, own)


def test_an_already_empty_configuration_is_deactivated_at_once(organization: Organization) -> None:
    device = fleet(organization, 1)[0]
    Config.objects.update(context={})
    configs.device_deactivate(device)
    assert Config.objects.get().status == Status.DEACTIVATED
    configs.device_activate(device)
    assert Config.objects.get().status == Status.APPLIED
