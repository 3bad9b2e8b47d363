"""Pushing again reaches every device, also one that only polls; taking a push back lasts."""

import hashlib
import io
import tarfile
from typing import Any

import pytest

from config_merge.delivery import again, queue, sweep
from config_merge.models import Cause, Config, ConfigRevision, ConfigTask, Site, Status
from config_merge.services import configs, places, recompute
from config_merge.services.revisions import revision_restore
from core.errors import Conflict
from devices.models import Device
from tenancy.models import Organization
from tests import factories
from tests.config_merge.agent.conftest import Agent, django_door
from tests.config_merge.delivery.conftest import config_of, placed, set_site, tasks_of


def files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]


def agent_of(device: Device) -> Agent:
    """Return an agent that polls as this device, and has applied what there is."""
    agent = Agent(django_door, device.organization, id=device.pk.hex, key=device.key)
    assert agent.get("checksum").status == 200
    assert agent.post("report-status", status="applied").status == 200
    return agent


def test_a_device_that_only_polls_is_made_to_apply_the_same_files_once_more(site: Site) -> None:
    (place,) = placed(site)
    agent = agent_of(place.device)
    before, held = agent.get("checksum").body.decode(), agent.get("download-config").body
    task = again.push_again(place.device)
    assert (task.kind, task.state, config_of(place).status) == ("resync", "pending", Status.MODIFIED)
    checksum, archive = agent.get("checksum").body.decode(), agent.get("download-config").body
    assert checksum != before
    assert hashlib.md5(archive).hexdigest() == checksum
    assert files(archive) == files(held)
    agent.post("report-status", status="applied")
    assert tasks_of(place) == [(1, "applied"), (2, "applied")]
    assert config_of(place).status == Status.APPLIED
    assert agent.get("checksum").body.decode() == checksum


def test_what_was_issued_anew_is_not_computed_away(site: Site) -> None:
    (place,) = placed(site)
    agent_of(place.device)
    again.push_again(place.device)
    checksum = config_of(place).checksum
    set_site(site, "2")
    changed = config_of(place).checksum
    set_site(site, "1")
    assert config_of(place).checksum == checksum != changed
    fresh = placed(site)[0]
    assert config_of(fresh).checksum != checksum


def test_templates_are_issued_anew_too(organization: Organization) -> None:
    device = factories.configured(organization)
    config = Config.objects.get(device=device)
    for issue in (1, 2):
        seen = Config.objects.get(pk=config.pk).checksum
        task = again.push_again(device)
        row = Config.objects.get(pk=config.pk)
        assert (row.issue, row.revision_number) == (issue, 1 + issue)
        assert (task.checksum, task.revision_id) == (row.checksum, row.revision_id)
        assert row.checksum != seen
        # Computing it once more finds just these bytes.
        Config.objects.filter(pk=config.pk).update(generation=row.generation + 1)
        recompute.recompute_one(config.pk)
        assert Config.objects.get(pk=config.pk).revision_number == 1 + issue
    assert ConfigRevision.objects.filter(config=config, cause=Cause.AGAIN).count() == 2


def test_a_revision_restored_after_it_was_issued_anew_is_the_same(organization: Organization) -> None:
    device = factories.configured(organization)
    again.push_again(device)
    assert revision_restore(device, number=1).identical
    config = Config.objects.get(device=device)
    configs.config_update(config, config={"general": {"description": "other"}})
    named = configs.managed_device_update(device, name="renamed")
    assert not revision_restore(named, number=1).identical


def test_an_error_is_tried_again(site: Site) -> None:
    (place,) = placed(site)
    agent = agent_of(place.device)
    set_site(site, "2")
    agent.get("checksum")
    agent.post("report-status", status="error", error_reason="no")
    assert config_of(place).status == Status.ERROR
    again.push_again(place.device)
    config = config_of(place)
    assert (config.status, config.error_reason) == (Status.MODIFIED, "")


# --- taking back ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sweeping(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sweep as often as wanted."""

    def run() -> None:
        monkeypatch.setattr(sweep, "_looked_at", float("-inf"))
        sweep.run()

    return run


def test_what_a_person_took_back_is_not_written_again(site: Site, sweeping: Any) -> None:
    (place,) = placed(site)
    agent_of(place.device)
    set_site(site, "2")
    queue.cancel(ConfigTask.objects.get(state="pending"))
    sweeping()
    assert tasks_of(place) == [(1, "applied"), (2, "cancelled")]
    set_site(site, "3")
    assert tasks_of(place)[-1] == (3, "pending")


def test_what_a_suspension_took_back_is_written_again_when_it_ends(site: Site, sweeping: Any) -> None:
    (place,) = placed(site)
    agent_of(place.device)
    set_site(site, "2")
    places.place_update(place, is_suspended=True)
    sweeping()
    assert tasks_of(place) == [(1, "applied"), (2, "cancelled")]
    places.place_update(place, is_suspended=False)
    assert tasks_of(place)[-1] == (2, "pending")


def test_there_must_be_something_to_push(organization: Organization) -> None:
    with pytest.raises(Conflict):
        again.push_again(factories.device(organization))
