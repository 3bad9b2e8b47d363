"""Ordering, search and counts of lists: they tell what a plain reading of all rows would, only sooner."""

import itertools
import random
from datetime import timedelta
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction

import config_merge.listing
import devices.listing
from config_merge.api import listing
from config_merge.listing import COUNTS as CONFIG_COUNTS
from config_merge.models import Config, ConfigCount, Template
from config_merge.queries import configs_counted
from config_merge.services import configs
from config_merge.services.counts import counts_merge
from core import triggers
from core.clock import now
from devices.listing import COUNTS as DEVICE_COUNTS
from devices.models import Device, DeviceCount, DeviceGroup, DeviceText
from devices.queries import devices_counted
from tenancy.models import Organization, Role
from tests import factories
from tests.config_merge.api.conftest import Api, api_as

LISTS = ("device/", "template/", "group/")


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.json()
    return [item["name"] for item in answer.json()["results"]]


# --- ordering ---------------------------------------------------------------------------------------------------------


def test_devices_are_ordered_by_every_column_both_ways(operator: Api, org: Organization) -> None:
    for name, model in (("b", "m1"), ("a", "m2"), ("c", "m1")):
        factories.device(org, name=name, model=model)
    assert names(operator.get("device/")) == ["c", "a", "b"]
    assert names(operator.get("device/", ordering="name")) == ["a", "b", "c"]
    assert names(operator.get("device/", ordering="-name")) == ["c", "b", "a"]
    assert names(operator.get("device/", ordering="created")) == ["b", "a", "c"]
    assert names(operator.get("device/", ordering="model,-name")) == ["c", "b", "a"]
    assert names(operator.get("device/", ordering=" -model , name ")) == ["a", "b", "c"]
    assert names(operator.get("device/", ordering="mac_address")) == ["b", "a", "c"]
    assert names(operator.get("device/", ordering="")) == ["c", "a", "b"]


def test_what_is_empty_comes_before_everything_on_every_database(operator: Api, org: Organization) -> None:
    factories.device(org, name="without")
    factories.configured(org, name="modified")
    seen = factories.device(org, name="seen", management_ip="10.0.0.1")
    Device.objects.filter(pk=seen.pk).update(last_seen=now())
    for column in ("last_seen", "management_ip"):
        assert names(operator.get("device/", ordering=column))[-1] == "seen"
        assert names(operator.get("device/", ordering=f"-{column}"))[0] == "seen"
    assert names(operator.get("device/", ordering="status"))[-1] == "modified"
    assert names(operator.get("device/", ordering="-config__status"))[0] == "modified"


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "value", ["nonsense", "name,key", "--name", "-", "organization__name", "\x00", "é" * 99]
)
def test_an_order_that_is_none_is_an_error(operator: Api, path: str, value: str) -> None:
    answer = operator.get(path, ordering=value)
    assert answer.status_code == 400
    assert list(answer.json()) == ["ordering"]


@pytest.mark.parametrize("ordering", ["model", "-model", "os,-model", "status", "-last_seen", "modified", ""])
def test_equal_rows_are_on_one_page_each(operator: Api, org: Organization, ordering: str) -> None:
    made = {factories.device(org, model="same").name for _ in range(11)}
    pages = [
        names(operator.get("device/", ordering=ordering, page=page, page_size=3)) for page in (1, 2, 3, 4)
    ]
    assert sorted(itertools.chain(*pages)) == sorted(made)


def test_the_links_to_other_pages_keep_what_was_asked(operator: Api, org: Organization) -> None:
    for number in range(4):
        factories.device(org, name=f"ap-{number}")
    answer = operator.get("device/", ordering="name", search="ap", page_size=2).json()
    assert answer["next"].endswith("?ordering=name&page=2&page_size=2&search=ap")


def test_templates_groups_and_revisions_are_ordered_too(operator: Api, org: Organization) -> None:
    for name in ("b", "a"):
        factories.template(org, name=name)
        factories.group(org, name=name)
    for path in ("template/", "group/"):
        assert names(operator.get(path, ordering="name")) == ["a", "b"]
        assert names(operator.get(path, ordering="-name")) == ["b", "a"]
    device = factories.configured(org)
    operator.patch(f"device/{device.pk}/", {"name": "renamed"})
    seen = operator.get(f"device/{device.pk}/revisions/", ordering="number").json()["results"]
    assert [item["number"] for item in seen] == [1, 2]
    assert operator.get(f"device/{device.pk}/revisions/", ordering="artefact").status_code == 400


# --- search -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lighthouse(org: Organization) -> Device:
    factories.device(org, name="harbour", mac_address="02:11:22:33:44:55", model="Other")
    return factories.device(
        org, name="Lighthouse-ad-12", mac_address="02:AA:BB:CC:DD:EE", model="Archer C7", os="OpenWrt 23.05 Ünïx",
        system="Qualcomm", last_ip="10.20.30.40", management_ip="fd00::77",
    )  # fmt: skip


@pytest.mark.parametrize("narrow", [0, 5000])
@pytest.mark.parametrize(
    "text",
    [
        "lightho", "LIGHTHO", "archer", "C7 Archer", "23.05", "qualc", "10.20.30.40", "fd00::77", "gh", "ad-12",
        "02:aa:bb", "02-AA-BB", "02aabb", "aabbccddee", "dd:ee light", "bb-cc", "Ünïx",
    ],
)  # fmt: skip
def test_a_device_is_found_by_its_words(
    operator: Api, lighthouse: Device, monkeypatch: pytest.MonkeyPatch, text: str, narrow: int
) -> None:
    monkeypatch.setattr(listing, "NARROW", narrow)
    answer = operator.get("device/", search=text)
    assert names(answer) == [lighthouse.name]
    assert answer.json()["count"] == 1


@pytest.mark.parametrize("narrow", [0, 5000])
@pytest.mark.parametrize(
    "text",
    [
        "%",
        "_",
        "\\",
        '"',
        "harbour archer",
        "* OR *",
        "lighthouse*",
        "name:light",
        "x" * 5000,
        "' OR 1",
        "/32",
    ],
)
def test_a_word_that_occurs_nowhere_finds_nothing(
    operator: Api, lighthouse: Device, monkeypatch: pytest.MonkeyPatch, text: str, narrow: int
) -> None:
    monkeypatch.setattr(listing, "NARROW", narrow)
    answer = operator.get("device/", search=text)
    assert (answer.status_code, answer.json()["count"]) == (200, 0)
    for name in ("name", "mac_address"):
        assert operator.get("device/", **{name: text}).json()["count"] == 0


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("text", ["a\x00b", " ".join("abcdefghijk")])
def test_a_search_that_cannot_be_is_an_error(operator: Api, path: str, text: str) -> None:
    answer = operator.get(path, search=text)
    assert answer.status_code == 400
    assert list(answer.json()) == ["search"]


@pytest.mark.parametrize(
    "part", ["aa:bb", "AA-BB", "aabb", "02-aa", "ee", "02:AA:BB:CC:DD:EE", "02AABBCCDDEE"]
)
def test_a_mac_address_is_found_with_colons_dashes_or_neither(
    operator: Api, org: Organization, part: str
) -> None:
    for number, written in enumerate(("02:aa:bb:cc:dd:ee", "02-AA-BB-CC-DD-EF")):
        factories.device(org, name=f"ap{number}", mac_address=written)
    factories.device(org, mac_address="04:00:00:00:00:01")
    found = names(operator.get("device/", mac_address=part))
    assert "ap0" in found
    assert ("ap1" in found) == (not part.lower().endswith("ee"))


def test_templates_and_groups_are_searched(operator: Api, org: Organization) -> None:
    factories.template(org, name="Alpha", tags=["mesh", "mesh2"], notes="for the roof")
    factories.template(org, name="beta")
    factories.group(org, name="Alpha", description="on the roof")
    factories.group(org, name="beta")
    for text in ("alph", "roof", "alpha roof"):
        for path in ("template/", "group/"):
            assert names(operator.get(path, search=text)) == ["Alpha"]
    assert names(operator.get("template/", search="mesh")) == ["Alpha"]


def test_search_follows_every_change(
    operator: Api, root: Api, org: Organization, other: Organization
) -> None:
    device = factories.device(org, name="before", model="")
    assert names(operator.get("device/", search="before")) == ["before"]
    operator.patch(f"device/{device.pk}/", {"name": "after", "model": "Archer"})
    assert names(operator.get("device/", search="before")) == []
    assert names(operator.get("device/", search="arch after")) == ["after"]
    Device.objects.filter(pk=device.pk).update(os="OpenWrt")
    assert names(operator.get("device/", search="openwrt")) == ["after"]
    root.patch(f"device/{device.pk}/", {"organization": str(other.pk)})
    assert names(operator.get("device/", search="after")) == []
    assert names(root.get("device/", search="after")) == ["after"]
    Device.objects.all().delete()
    assert not DeviceText.objects.exists()


# --- the same as a plain reading --------------------------------------------------------------------------------------


def _fleet(chance: random.Random) -> tuple[list[Organization], list[DeviceGroup], list[Template]]:
    organizations = [factories.organization() for _ in range(4)]
    shared = factories.template()
    groups = [factories.group(org) for org in organizations for _ in range(2)]
    templates = [
        shared,
        *(factories.template(org, config=factories.interface("eth3")) for org in organizations),
    ]
    for number in range(40):
        org = chance.choice(organizations[:3])
        usable = [template for template in templates if template.organization_id in (None, org.pk)]
        device = factories.device(
            org,
            name=f"{chance.choice(('ap', 'AP', 'gw'))}-{number}",
            model=chance.choice(("", "Archer", "Omnia")),
            group=chance.choice([None, *(group for group in groups if group.organization_id == org.pk)]),
            config=chance.choice([None, {"templates": chance.sample(usable, chance.randint(1, 2))}]),
        )
        if chance.random() < 0.2:
            configs.device_deactivate(device)
        elif chance.random() < 0.4:
            Config.objects.filter(device=device).update(status=chance.choice(("applied", "error")))
    return organizations, groups, templates


def _question(chance: random.Random, fleet: Any, seen: list[Any]) -> dict[str, Any]:
    organizations, groups, templates = fleet
    offered = {
        "organization": chance.choice(organizations).pk,
        "organization_slug": chance.choice(organizations).slug,
        "group": chance.choice(groups).pk,
        "group__isnull": chance.choice(("true", "false")),
        "is_deactivated": chance.choice(("true", "false")),
        "config__status": chance.choice(("applied", "modified", "error", "deactivated")),
        "config__backend": "netjsonconfig.OpenWrt",
        "config__templates": chance.choice(templates).pk,
        "name": chance.choice(("ap-", "A", "p-1", "gw-2")),
        "mac_address": chance.choice(("02:00", "0-0", "1")),
        "search": chance.choice(("ap", "archer ap-", "omn", "02-00", "w-")),
        "model": chance.choice(("Archer", "archer")),
        "created__lt": chance.choice(seen).isoformat(),
    }
    asked = {
        name: offered[name] for name in chance.sample(sorted(offered), chance.choice((0, 1, 1, 1, 2, 2, 3)))
    }
    order = chance.choice(
        ("", "name", "-name", "created", "-modified", "model,-name", "status", "-mac_address,model")
    )
    return {
        **asked,
        "ordering": order,
        "page_size": chance.choice((3, 100)),
        "page": chance.choice((1, 1, 2)),
    }


def _plainly(asked: dict[str, Any], rows: list[Device]) -> list[Device]:
    """Return what a question finds among `rows`, by reading each."""

    def fits(device: Device) -> bool:
        config = getattr(device, "config", None)
        used = {row.template_id for row in config.config_templates.all()} if config else set()
        mac = device.mac_address.lower()
        macs = f"{mac} {mac.replace(':', '')}"
        text = " ".join((device.name, macs, device.model)).lower()
        words = asked.get("search", "").split()
        tests = {
            "organization": lambda value: device.organization_id == value,
            "organization_slug": lambda value: device.organization.slug == value,
            "group": lambda value: device.group_id == value,
            "group__isnull": lambda value: (device.group_id is None) == (value == "true"),
            "is_deactivated": lambda value: device.is_deactivated == (value == "true"),
            "config__status": lambda value: config is not None and config.status == value,
            "config__backend": lambda value: config is not None and config.backend == value,
            "config__templates": lambda value: value in used,
            "name": lambda value: value.lower() in device.name.lower(),
            "mac_address": lambda value: value.replace("-", ":") in macs,
            "model": lambda value: device.model == value,
            "created__lt": lambda value: device.created.isoformat() < value,
            "search": lambda _: all(word in text or word.replace("-", ":") in macs for word in words),
        }
        return all(tests[name](value) for name, value in asked.items() if name in tests)

    found = sorted((device for device in rows if fits(device)), key=lambda device: device.pk)
    order = [name for name in asked["ordering"].split(",") if name] or ["-created"]
    last = order[-1]
    found.sort(key=lambda device: device.pk, reverse=last.startswith("-") != last.endswith("created"))
    for name in reversed(order):

        def value(device: Device, name: str = name.removeprefix("-")) -> Any:
            if name != "status":
                return getattr(device, name)
            return device.config.status if hasattr(device, "config") else ""

        found.sort(key=value, reverse=name.startswith("-"))
    return found


@pytest.mark.parametrize(("few", "narrow"), [(2000, 5000), (0, 0), (2000, 0), (0, 5000)])
def test_lists_say_what_a_plain_reading_says(
    monkeypatch: pytest.MonkeyPatch, db: None, few: int, narrow: int
) -> None:
    """`few` and `narrow` force each way of reading."""
    monkeypatch.setattr(listing, "FEW", few)
    monkeypatch.setattr(listing, "NARROW", narrow)
    chance = random.Random(few + narrow)
    fleet = _fleet(chance)
    organizations = fleet[0]
    one, several = factories.operator(organizations[0]), factories.operator(organizations[0])
    for org in organizations[1:]:
        factories.tenancy.membership_set(user=several, organization=org, role=Role.VIEWER)
    scopes = [
        (api_as(one), {organizations[0].pk}),
        (api_as(several), {org.pk for org in organizations}),
        (api_as(factories.superuser()), {org.pk for org in organizations}),
    ]
    rows = list(
        Device.objects.select_related("organization", "config").prefetch_related("config__config_templates")
    )
    asked_anything = 0
    for _ in range(150):
        api, scope = chance.choice(scopes)
        asked = _question(chance, fleet, [device.created for device in rows])
        wanted = _plainly(asked, [device for device in rows if device.organization_id in scope])
        answer = api.get("device/", **asked)
        if answer.status_code == 400:
            continue  # it names another organization's object
        size, page = asked["page_size"], asked["page"]
        if page == 2 and len(wanted) <= size:
            assert answer.status_code == 404, asked
            continue
        assert answer.json()["count"] == len(wanted), asked
        expected = [device.name for device in wanted[(page - 1) * size : page * size]]
        assert names(answer) == expected, asked
        asked_anything += bool(expected)
    assert asked_anything > 40


# --- counts -----------------------------------------------------------------------------------------------------------


def _counted() -> tuple[dict[Any, int], dict[Any, int]]:
    """Return both counters' sums, without what is none."""
    sums: tuple[dict[Any, int], dict[Any, int]] = ({}, {})
    devices = DeviceCount.objects.values_list("organization_id", "group_id", "is_deactivated", "n")
    kinds = ConfigCount.objects.values_list("organization_id", "status", "backend", "n")
    for into, rows in zip(sums, (devices, kinds), strict=True):
        for *kind, n in rows:
            into[tuple(kind)] = into.get(tuple(kind), 0) + n
    return tuple({key: n for key, n in found.items() if n} for found in sums)  # type: ignore[return-value]


def _really() -> tuple[dict[Any, int], dict[Any, int]]:
    devices: dict[Any, int] = {}
    for org, group, retired in Device.objects.values_list("organization_id", "group_id", "is_deactivated"):
        key = (org, group or org, retired)
        devices[key] = devices.get(key, 0) + 1
    kinds: dict[Any, int] = {}
    for key in Config.objects.values_list("device__organization_id", "status", "backend"):
        kinds[key] = kinds.get(key, 0) + 1
    return devices, kinds


def test_counts_follow_every_write(org: Organization, other: Organization) -> None:
    chance = random.Random(7)
    groups = [factories.group(org), factories.group(org), None]
    root = api_as(factories.superuser())
    for number in range(60):
        rows = list(Device.objects.filter(is_deactivated=False))
        device = chance.choice(rows) if rows else factories.device(org)
        match number % 6:
            case 0:
                factories.configured(org, group=chance.choice(groups))
            case 1:
                root.patch(f"device/{device.pk}/", {"organization": str(other.pk), "group": None})
            case 2:
                Config.objects.filter(device=device).update(status=chance.choice(("applied", "error")))
            case 3:
                configs.device_deactivate(device)
            case 4:
                Device.objects.filter(organization=org).update(group=chance.choice(groups))
            case 5:
                configs.device_delete(device, force=True)
        assert _counted() == _really()
    for tally in (DEVICE_COUNTS, CONFIG_COUNTS):
        tally.merge(connection)
    assert _counted() == _really()
    assert devices_counted([org.pk]) == Device.objects.filter(organization=org).count()
    assert devices_counted(None) == Device.objects.count()
    assert configs_counted(None, status="applied") == Config.objects.filter(status="applied").count()


def test_what_is_rolled_back_is_not_counted(org: Organization) -> None:
    factories.device(org)
    with transaction.atomic():
        factories.device(org)
        assert devices_counted([org.pk]) == 2
        transaction.set_rollback(True)
    assert devices_counted([org.pk]) == 1


@pytest.mark.parametrize("path", ["device/", "device/?config__status=modified", "device/?search=ap"])
def test_deep_pages_have_what_first_ones_do(operator: Api, org: Organization, path: str) -> None:
    for number in range(25):
        factories.configured(org, name=f"ap-{number}")
    joined = "&" if "?" in path else "?"
    found = [
        name
        for page in range(1, 6)
        for name in names(operator.get(f"{path}{joined}{urlencode({'page': page, 'page_size': 5})}"))
    ]
    assert found == [f"ap-{number}" for number in reversed(range(25))]


def test_further_filters(operator: Api, org: Organization) -> None:
    group = factories.group(org)
    inside = factories.device(org, name="inside", group=group, model="Archer", os="OpenWrt")
    configs.device_deactivate(factories.device(org, name="retired"))
    moment = now()
    Device.objects.filter(pk=inside.pk).update(last_seen=moment)
    early, late = (moment - timedelta(hours=1)).isoformat(), (moment + timedelta(hours=1)).isoformat()
    assert names(operator.get("device/", group__isnull="true")) == ["retired"]
    assert names(operator.get("device/", group__isnull="false")) == ["inside"]
    assert names(operator.get("device/", is_deactivated="true")) == ["retired"]
    assert names(operator.get("device/", is_deactivated="false")) == ["inside"]
    assert names(operator.get("device/", model="Archer", os="OpenWrt")) == ["inside"]
    assert names(operator.get("device/", last_seen__gte=early, last_seen__lt=late)) == ["inside"]
    assert names(operator.get("device/", last_seen__lt=early)) == []
    assert operator.get("device/", last_seen__gte="x").json().keys() == {"last_seen__gte"}


def test_no_device_has_a_place_so_filters_of_places_find_none(operator: Api, org: Organization) -> None:
    factories.device(org, name="somewhere")
    assert names(operator.get("device/", with_geo="true")) == []
    assert names(operator.get("device/", with_geo="false")) == ["somewhere"]
    assert names(operator.get("device/", with_geo="maybe")) == ["somewhere"]
    assert names(operator.get("device/", location__name="hall", name="some")) == []
    for name in ("location", "floorplan"):
        answer = operator.get("device/", **{name: str(org.pk)})
        assert (answer.status_code, list(answer.json())) == (400, [name])
        assert names(operator.get("device/", **{name: ""})) == ["somewhere"]


def test_folding_the_counters_leaves_one_row_of_each_kind_and_then_nothing_to_do(org: Organization) -> None:
    for _ in range(4):
        factories.configured(org)
    configs.device_delete(factories.device(org, group=factories.group(org)), force=True)
    counts_merge()
    assert [row.n for row in DeviceCount.objects.filter(organization_id=org.pk) if row.n] == [4]
    assert [row.n for row in ConfigCount.objects.filter(organization_id=org.pk) if row.n] == [4]
    assert counts_merge() == 0
    assert _counted() == _really()


def test_what_migrations_take_down_is_put_back_as_it_should_be(org: Organization) -> None:
    factories.configured(org, name="before")
    devices.listing.remove(connection)
    triggers.remove(connection, config_merge.listing.all_triggers(connection.vendor))
    factories.configured(org, name="meanwhile")
    for app in ("devices", "config_merge"):
        import_module(f"{app}.listing").after_migrations(using="default")
    factories.configured(org, name="afterwards")
    assert _counted() == _really()
    api = api_as(factories.operator(org))
    for name in ("before", "meanwhile", "afterwards"):
        assert names(api.get("device/", search=name, config__status="modified")) == [name]
    assert names(api.get("device/", config__status="modified")) == ["afterwards", "meanwhile", "before"]
