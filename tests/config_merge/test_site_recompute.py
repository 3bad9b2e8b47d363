"""A site's change for all its devices: what is shared is made once, and every device gets exactly its own."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config_merge import inputs
from config_merge.models import Config, ConfigRevision, ConfigTask, Managed, Site, SiteDevice
from config_merge.services import places, recompute, sites
from tests import factories

pytestmark = pytest.mark.django_db


def entry(value: str, origin: str = "site") -> dict[str, Any]:
    return {"value": value, "origin": origin}


@pytest.fixture
def site() -> Site:
    made = sites.site_create(organization=factories.organization(), name="here")
    sites.site_settings_change(made, {"locale/code": entry("LT"), "ntp/server": entry("a")}, version=None)
    return made


def placed(site: Site, count: int, **fields: Any) -> list[SiteDevice]:
    return [
        places.place_create(site, serial=f"sn-{uuid4().hex[:12]}", mac_address=factories.mac(), **fields)
        for _ in range(count)
    ]


def mixed(site: Site) -> list[SiteDevice]:
    """Devices without settings of their own, one with them, one that does not inherit, one suspended."""
    made = placed(site, 5)
    places.place_settings_change(made[1], {"ntp/server": entry("mine", "site-device")}, version=None)
    places.place_update(made[2], inherits=False)
    places.place_update(made[3], is_suspended=True)
    recompute.drain()
    return made


def test_reading_many_gives_what_reading_one_gives(site: Site) -> None:
    mixed(site)
    configs = list(Config.objects.all())
    many = {item.config_id: item for item in inputs.load_stored([config.pk for config in configs])}
    assert many.keys() == {config.pk for config in configs}
    for one in inputs.load(configs):
        other = many[one.config_id]
        assert (other.generation, other.backend, other.os, other.hostname) == (
            one.generation, one.backend, one.os, one.hostname,
        )  # fmt: skip
        assert (other.organization_id, other.owners, other.is_held, other.issue) == (
            one.organization_id, one.owners, one.is_held, one.issue,
        )  # fmt: skip
        assert (other.layers, other.variables, other.own()) == (one.layers, one.variables, one.own())
        assert other.artefact() == one.artefact()
        assert other.effective().tree == one.effective().tree


def test_every_device_gets_its_own_revision_and_task(site: Site) -> None:
    made = mixed(site)
    before = dict(Config.objects.values_list("device_id", "revision_number"))
    sites.site_settings_change(site, {"locale/code": entry("LV"), "ntp/server": entry("b")}, version=None)
    recompute.drain()
    after = {config.device_id: config for config in Config.objects.select_related("revision")}
    news = [after[place.device_id].revision_number - before[place.device_id] for place in made]
    assert news == [1, 1, 0, 0, 1]
    first, own, _, _, last = (after[place.device_id].revision for place in made)
    assert (first.checksum, first.digest, bytes(first.artefact)) == (
        last.checksum, last.digest, bytes(last.artefact),
    )  # fmt: skip
    assert first.inputs == last.inputs
    assert own.checksum != first.checksum
    assert own.inputs["settings"] == {"ntp/server": entry("mine", "site-device")}
    for place, new in zip(made, news, strict=True):
        config = after[place.device_id]
        waiting = ConfigTask.objects.filter(device_id=place.device_id, state="pending")
        if new:
            assert [(task.revision_id, task.site_id) for task in waiting] == [(config.revision_id, site.pk)]


def test_a_chunk_of_many_costs_the_statements_of_a_chunk_of_few(site: Site) -> None:
    counts = []
    for count, value in ((3, "b"), (20, "c")):
        placed(site, count)
        recompute.drain()
        sites.site_settings_change(site, {"ntp/server": entry(value)}, version=None)
        revisions = ConfigRevision.objects.count()
        with CaptureQueriesContext(connection) as captured:
            assert recompute.recompute_chunk(100) == Config.objects.count()
        assert ConfigRevision.objects.count() - revisions == Config.objects.count()
        counts.append(len([query for query in captured if " SAVEPOINT " not in f" {query['sql']} "]))
    assert counts == [12, 12]


def test_managed_by_a_site_and_in_none_is_computed_from_templates() -> None:
    device = factories.configured()
    Config.objects.filter(device=device).update(managed_by=Managed.SITE, generation=9)
    recompute.drain()
    config = Config.objects.get(device=device)
    assert (config.computed_generation, config.problem) == (9, "")
    assert config.checksum
