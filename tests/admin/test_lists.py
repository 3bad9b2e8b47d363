"""Lists cost the same number of queries for one row as for many, and find what one looks for."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.models import Device
from tenancy.models import Organization
from tests import factories
from tests.admin.conftest import page

LISTS = ("devices_device", "devices_devicegroup", "config_merge_template", "tenancy_notification")
MOST = {"devices_device": 9, "devices_devicegroup": 7, "config_merge_template": 8, "tenancy_notification": 7}


def fill(org: Organization, count: int) -> None:
    """Add rows of every kind."""
    for _ in range(count):
        template = factories.template(org, tags=["a", "b"])
        group = factories.group(org, templates=[template])
        factories.configured(org, group=group)
        factories.notification(org)


def queries(client: Client, path: str) -> tuple[int, list[str]]:
    """Return how many statements a page costs when caches of the process are warm, and the statements."""
    client.get(path)
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == 200
    return len(caught), [query["sql"] for query in caught]


@pytest.mark.parametrize("name", LISTS)
def test_the_cost_of_a_list_does_not_grow_with_its_rows(
    operator: Client, org: Organization, name: str
) -> None:
    fill(org, 2)
    few, _ = queries(operator, page(f"{name}_changelist"))
    fill(org, 6)
    many, statements = queries(operator, page(f"{name}_changelist"))
    assert many == few, statements
    assert many <= MOST[name], statements


@pytest.mark.parametrize("name", LISTS)
def test_show_all_is_offered_only_where_something_is_left_out(
    operator: Client, org: Organization, name: str
) -> None:
    fill(org, 2)
    path = page(f"{name}_changelist")
    assert "Show all" not in operator.get(path).content.decode()
    assert "Show all" in operator.get(path, {"q": "nothing-like-it"}).content.decode()


def test_the_device_list_counts_nothing_and_decrypts_nothing(operator: Client, org: Organization) -> None:
    fill(org, 2)
    _, statements = queries(operator, page("devices_device_changelist"))
    rows = next(sql for sql in statements if '"devices_device"."mac_address"' in sql)
    assert '"devices_device"."key"' not in rows
    assert '"config_merge_config"."config"' not in rows and '"config_merge_config"."context"' not in rows
    assert not [sql for sql in statements if sql.startswith("SELECT COUNT") and '"devices_device"' in sql]
    assert len([sql for sql in statements if '"devices_devicecount"' in sql]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        "organization={org}",
        "status=modified",
        "status=none",
        "status=x",
        "q=ad",
        "organization=x",
        "model__exact=m",
        "status=modified&organization={org}",
        "o=1",
    ],
)
def test_the_number_of_devices_is_the_right_one(operator: Client, org: Organization, query: str) -> None:
    factories.configured(org, name="admiral", model="m")
    factories.device(org, name="harbour")
    factories.configured(name="admiral-of-others", model="m")
    answer = operator.get(f"{page('devices_device_changelist')}?{query.format(org=org.pk)}", follow=True)
    listed = answer.context["cl"]
    assert listed.result_count == listed.queryset.count()


def test_the_dashboard_costs_the_same_for_any_fleet(operator: Client, org: Organization) -> None:
    fill(org, 2)
    few, _ = queries(operator, reverse("admin:index"))
    fill(org, 6)
    many, statements = queries(operator, reverse("admin:index"))
    assert many == few, statements


@pytest.mark.parametrize("page_name", ["effective", "change", "files"])
def test_pages_of_a_device_cost_the_same_for_any_number_of_templates(
    operator: Client, org: Organization, page_name: str
) -> None:
    small = factories.device(org, config={"templates": [factories.template(org)]})
    chosen = [factories.template(org, config=factories.interface(f"eth{n}")) for n in range(8)]
    large = factories.device(org, config={"templates": chosen})
    few, _ = queries(operator, page(f"devices_device_{page_name}", small.pk))
    many, statements = queries(operator, page(f"devices_device_{page_name}", large.pk))
    assert many == few, statements


def found(client: Client, **query: str) -> set[str]:
    """Return the names of the devices a query of the list shows."""
    answer = client.get(page("devices_device_changelist"), query)
    return {device.name for device in answer.context["cl"].result_list}


def test_devices_are_found_by_name_mac_model_os_and_whole_key(operator: Client, org: Organization) -> None:
    device = factories.device(
        org, name="lighthouse", model="Archer C7", os="OpenWrt 23.05", mac_address="02:AA:BB:CC:DD:EE"
    )
    factories.device(org, name="harbour")
    for text in ("lightho", "archer", "23.05", "02:aa:bb", "C7 Archer", device.key):
        assert found(operator, q=text) == {"lighthouse"}, text
    assert found(operator, q=device.key[:-1]) == set(), "part of a key finds nothing"


def test_devices_are_filtered_by_status_group_template_backend(operator: Client, org: Organization) -> None:
    template, group = factories.template(org), factories.group(org)
    factories.device(org, name="with", group=group, config={"templates": [template]})
    factories.device(org, name="without")
    assert found(operator, template=str(template.pk)) == {"with"}
    assert found(operator, group=str(group.pk)) == {"with"}
    assert found(operator, status="modified") == {"with"}
    assert found(operator, status="none") == {"without"}
    assert found(operator, backend="netjsonconfig.OpenWisp") == set()
    assert found(operator, backend="netjsonconfig.OpenWrt", group=str(group.pk)) == {"with"}


def test_a_device_is_online_for_two_and_a_half_polls(
    operator: Client, org: Organization, settings: Any
) -> None:
    interval = settings.MUSTER.poll_seconds
    recent, late = factories.device(org, name="recent"), factories.device(org, name="late")
    moment = timezone.now()
    Device.objects.filter(pk=recent.pk).update(last_seen=moment - timedelta(seconds=2 * interval))
    Device.objects.filter(pk=late.pk).update(last_seen=moment - timedelta(seconds=3 * interval))
    text = operator.get(page("devices_device_changelist")).content.decode()
    assert text.count("mu-dot--on") == 1
    assert 'data-figure="online">1<' in operator.get(reverse("admin:index")).context["parts"]["cards"]
