"""Accepting edits made on a device: proposed without a write, accepted as seen, or refused with a reason."""

import hashlib
from typing import Any

import pytest

from config_merge.delivery import adopt
from config_merge.engine import measure
from config_merge.models import Config, ConfigTask, Managed, Site, SiteDevice
from config_merge.queries import files_in
from config_merge.services import configs, places, recompute, reports, sites
from core.errors import Conflict, Forbidden
from devices.models import Device
from tenancy.models import AuditEvent, Organization
from tests import factories

pytestmark = pytest.mark.django_db
WIFI = "wireless/1000000001"


def confirmed(device: Device) -> Config:
    """Let a device say that it applied what it should be."""
    config = factories.config_of(device)
    reports.take(reports.Report(config.pk, device.pk, "applied", checksum=config.checksum))
    return factories.config_of(device)


def files_of(device: Device) -> dict[str, str | None]:
    """Return what a device downloads."""
    config = Config.objects.select_related("revision").get(device=device)
    assert config.revision is not None
    return {file.path: file.contents.decode() for file in files_in(bytes(config.revision.artefact))}


def found(files: dict[str, str | None]) -> adopt.Found:
    """Return what a device with exactly these files says."""
    lines = [
        f"{hashlib.sha256(text.encode()).hexdigest() if text is not None else '-'}  {path}\n"
        for path, text in sorted(files.items())
    ]
    return adopt.Found(files, hashlib.sha256("".join(lines).encode()).hexdigest())


def edited(device: Device, path: str, old: str, new: str) -> adopt.Found:
    files = files_of(device)
    text = files[path]
    assert text is not None and old in text
    return found({**files, path: text.replace(old, new)})


@pytest.fixture
def org() -> Organization:
    return factories.organization()


@pytest.fixture
def site(org: Organization) -> Site:
    site = sites.site_create(organization=org, name="Vilnius")
    changes = {
        "ntp/server": {"value": "one"}, f"{WIFI}/ssid": {"value": "Office"}, f"{WIFI}/key": {"value": "sitepass1"},
    }  # fmt: skip
    sites.site_settings_change(site, changes, version=None)
    return site


@pytest.fixture
def place(site: Site) -> SiteDevice:
    place = places.place_create(site, serial="1", mac_address=factories.mac(), name="ap")
    confirmed(place.device)
    return place


def test_the_digest_is_the_one_that_devices_measure(place: SiteDevice) -> None:
    config = Config.objects.select_related("revision").get(device=place.device)
    assert config.revision is not None
    whole = found(files_of(place.device))
    assert whole.actual == config.revision.digest == measure(files_in(bytes(config.revision.artefact)))
    assert adopt.is_whole(whole)
    assert not adopt.is_whole(adopt.Found(whole.files, "0" * 64))


def test_an_edit_on_a_site_managed_device_becomes_its_own_setting(place: SiteDevice) -> None:
    edit = edited(place.device, "etc/config/ntp", "'one'", "'two'")
    proposal = adopt.propose(place.device, edit)
    assert (proposal.preview.changed, proposal.adopted.left_out) == (1, ())
    assert "option server 'two'" in proposal.preview.groups[0].diff
    assert SiteDevice.objects.get().settings == {}, "nothing is written"
    before = ConfigTask.objects.count()
    adopt.accept(place.device, edit, seen=proposal.actual)
    assert SiteDevice.objects.get().settings == {"ntp/server": {"value": "two", "origin": "site-device"}}
    assert files_of(place.device) == edit.files
    assert ConfigTask.objects.count() == before + 1
    event = AuditEvent.objects.get(action="config.drift_accepted")
    assert event.organization_id == place.device.organization_id


def test_an_entity_goes_whole_and_its_secret_stays_hidden(place: SiteDevice) -> None:
    edit = edited(place.device, "etc/config/wireless", "'sitepass1'", "'handmade-secret'")
    proposal = adopt.propose(place.device, edit)
    (group,) = proposal.preview.groups
    assert "handmade-secret" in group.diff
    assert "handmade-secret" not in group.hidden and "sitepass1" not in group.hidden
    assert "handmade-secret" not in repr(proposal) and "handmade-secret" not in repr(edit)
    adopt.accept(place.device, edit, seen=proposal.actual)
    own = SiteDevice.objects.get().settings
    assert own[f"{WIFI}/key"] == {"value": "handmade-secret", "origin": "site-device"}
    assert own[f"{WIFI}/ssid"] == {"value": "Office", "origin": "site-device"}
    assert files_of(place.device) == edit.files
    assert "handmade-secret" not in str(list(AuditEvent.objects.values_list("changes", flat=True)))


def test_an_edit_on_a_template_managed_device_becomes_its_own_configuration(org: Organization) -> None:
    template = factories.template(
        org,
        config={"general": {"timezone": "{{ zone }}", "description": "roof"}},
        default_values={"zone": "UTC"},
    )
    device = factories.device(
        org, name="ap-7", config={"templates": [template], "config": factories.interface()}
    )
    confirmed(device)
    edit = edited(device, "etc/config/system", "'roof'", "'cellar'")
    proposal = adopt.propose(device, edit)
    assert proposal.adopted.left_out == ()
    assert factories.config_of(device).config == factories.interface()
    adopt.accept(device, edit, seen=proposal.actual)
    assert factories.config_of(device).config == {
        **factories.interface(), "general": {"description": "cellar"},
    }  # fmt: skip
    assert files_of(device) == edit.files


def test_what_is_accepted_is_what_was_seen(place: SiteDevice) -> None:
    edit = edited(place.device, "etc/config/ntp", "'one'", "'two'")
    later = edited(place.device, "etc/config/ntp", "'one'", "'three'")
    proposal = adopt.propose(place.device, edit)
    with pytest.raises(Conflict, match="something else by now"):
        adopt.accept(place.device, later, seen=proposal.actual)
    with pytest.raises(Conflict, match="nothing to accept"):
        same = found(files_of(place.device))
        adopt.accept(place.device, same, seen=same.actual)
    assert SiteDevice.objects.get().settings == {}


def test_a_device_that_is_yet_to_get_its_files_has_nothing_to_accept(place: SiteDevice, site: Site) -> None:
    edit = edited(place.device, "etc/config/ntp", "'one'", "'two'")
    sites.site_settings_change(site, {"ntp/server": {"value": "new"}}, version=None)
    with pytest.raises(Conflict, match="yet to get"):
        adopt.propose(place.device, edit)
    recompute.drain()
    with pytest.raises(Conflict, match="yet to get"):
        adopt.propose(place.device, edit)


@pytest.mark.parametrize("flag", ["is_suspended", "is_blocked", "is_retired"])
def test_held_and_deactivated_devices_are_refused(place: SiteDevice, flag: str, org: Organization) -> None:
    edit = edited(place.device, "etc/config/ntp", "'one'", "'two'")
    places.place_update(place, **{flag: True})
    with pytest.raises(Forbidden):
        adopt.propose(Device.objects.get(pk=place.device_id), edit)
    off = factories.configured(org)
    configs.device_deactivate(off)
    with pytest.raises(Forbidden):
        adopt.propose(off, edit)
    with pytest.raises(Conflict, match="no configuration"):
        adopt.propose(factories.device(org), edit)


def test_edits_that_cannot_be_said_are_named_and_the_rest_is_accepted(place: SiteDevice) -> None:
    files = files_of(place.device)
    text = (files["etc/config/ntp"] or "").replace("'one'", "'two'")
    edit = found({**files, "etc/config/ntp": f"{text}\tlist pool 'a'\n\tlist pool 'b'\n"})
    proposal = adopt.propose(place.device, edit)
    assert [place for place, _ in proposal.adopted.left_out] == ["ntp/pool"]
    adopt.accept(place.device, edit, seen=proposal.actual)
    assert SiteDevice.objects.get().settings == {"ntp/server": {"value": "two", "origin": "site-device"}}


@pytest.mark.parametrize(
    "told",
    [None, [], {}, {"files": []}, {"files": {"a": 1}}, {"files": {str(n): "" for n in range(1001)}}],
)
def test_an_answer_that_cannot_be_understood_says_so(told: Any) -> None:
    with pytest.raises(adopt.Silent, match="cannot be understood"):
        adopt._checked(told)


def test_a_device_without_a_link_says_so(place: SiteDevice) -> None:
    with pytest.raises(adopt.Silent, match="not linked"):
        adopt.ask(place.device)


def test_the_other_managers_settings_are_left_alone(place: SiteDevice, org: Organization) -> None:
    places.device_manage(place.device, by=Managed.TEMPLATES)
    configs.config_update(factories.config_of(place.device), config={"general": {"timezone": "UTC"}})
    confirmed(place.device)
    edit = edited(place.device, "etc/config/system", "'UTC'", "'CET-1CEST,M3.5.0,M10.5.0/3'")
    proposal = adopt.propose(place.device, edit)
    adopt.accept(place.device, edit, seen=proposal.actual)
    assert SiteDevice.objects.get().settings == {}
    assert files_of(place.device) == edit.files
