"""What the crash tests of delivery do beside a server, in its environment: seed, change, look, verify."""

import json
import os
import sys
from collections import Counter
from uuid import UUID

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "controller.settings"
django.setup()

from django.core.management import call_command  # noqa: E402

from config_merge.delivery.states import OPEN  # noqa: E402
from config_merge.models import Config, ConfigTask, Site, SiteDevice  # noqa: E402
from config_merge.services import places, sites  # noqa: E402
from controller.provisioning import provision  # noqa: E402
from devices.link import calls  # noqa: E402
from devices.models import Link  # noqa: E402
from tenancy.models import Organization  # noqa: E402


def seed(count: int) -> dict[str, object]:
    """Make a site with devices; returns how they prove themselves, and a key to change the site with."""
    call_command("migrate", verbosity=0)
    printed = provision(
        slug="crash", name="", username="ops", password="", role="owner", api_key=True, site="here"
    )
    site = Site.objects.get(organization=Organization.objects.get(slug="crash"))
    sites.site_settings_change(site, {"locale/code": {"value": "0"}}, version=None)
    devices = []
    for number in range(count):
        mac = ":".join(f"{byte:02X}" for byte in (0x02_00_00_00_00_00 + number).to_bytes(6, "big"))
        place = places.place_create(site, serial=f"{number:07}", mac_address=mac)
        devices.append({"id": str(place.device_id), "key": place.device.key})
    secret = printed["organization"]["shared_secret"]
    return {
        "devices": devices,
        "secret": secret,
        "api_key": printed["api_key"],
        "site": printed["site"]["id"],
    }


def look() -> dict[str, object]:
    """Return how far the latest change is."""
    states = Counter(ConfigTask.objects.values_list("state", flat=True))
    applied = Config.objects.filter(status="applied").count()
    return {"states": dict(states), "applied": applied, "links": Link.objects.count()}


def verify() -> dict[str, object]:
    """Return what every device should have, and whether anything is left to do."""
    wanted = {
        str(device): checksum for device, checksum in Config.objects.values_list("device_id", "checksum")
    }
    latest = ConfigTask.objects.order_by("device_id", "-created").values_list(
        "device_id", "state", "checksum"
    )
    last: dict[str, list[str]] = {}
    for device, state, checksum in latest:
        last.setdefault(str(device), [state, checksum])
    return {
        "wanted": wanted,
        "unapplied": Config.objects.exclude(status="applied").count(),
        "open": ConfigTask.objects.filter(state__in=OPEN).count(),
        "unproved": sum(1 for device, c in wanted.items() if last.get(device) != ["applied", c]),
        "places": SiteDevice.objects.count(),
    }


def ask(device: str) -> dict[str, object]:
    """Ask a linked device from this process, which holds no link."""
    return {"answer": calls.call(UUID(device), "config.read", {})}


if __name__ == "__main__":
    steps = {
        "seed": lambda: seed(int(sys.argv[2])),
        "look": look,
        "verify": verify,
        "ask": lambda: ask(sys.argv[2]),
    }
    print(json.dumps(steps[sys.argv[1]]()))
