"""Rows that are deleted together take along what cascades from them, and nothing else."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config_merge.models import Config, ConfigRevision, ConfigTask, ConfigTemplate, Site, SiteDevice
from config_merge.services import places, sites
from core.deleting import delete_together
from devices.models import Device, Link
from tests import factories

pytestmark = pytest.mark.django_db
TABLES = (Device, Config, ConfigRevision, ConfigTask, ConfigTemplate, SiteDevice, Link)


def test_what_cascades_goes_along_and_the_others_stay() -> None:
    org = factories.organization()
    template = factories.template(org, default=True)
    site = sites.site_create(organization=org, name="site")
    made = [factories.configured(org, config={"templates": [template]}) for _ in range(3)]
    for device in made[:2]:
        places.device_join(device, site)
    kept = made[0]
    with CaptureQueriesContext(connection) as few:
        delete_together(Device, [made[1].pk])
    assert Device.objects.count() == 2
    with CaptureQueriesContext(connection) as many:
        delete_together(Device, [made[2].pk])
    assert len(few) == len(many)
    assert [table.objects.count() for table in TABLES] == [1, 1, 1, 1, 1, 1, 0]  # type: ignore[attr-defined]
    assert Device.objects.get() == kept and Config.objects.get().device == kept
    delete_together(Device, [])


def test_what_would_have_to_be_asked_first_is_refused() -> None:
    site = sites.site_create(organization=factories.organization(), name="site")
    with pytest.raises(TypeError, match="neither deleted nor emptied"):
        delete_together(Site, [site.pk])
