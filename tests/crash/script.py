"""What the crash test does inside the data directory of a server: seed, look, verify. Run as a child process."""

import hashlib
import json
import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "controller.settings"
django.setup()

from django.core.management import call_command  # noqa: E402

from benchmarks import fleet  # noqa: E402
from config_merge import inputs  # noqa: E402
from config_merge.models import Config, Status  # noqa: E402
from config_merge.services import recompute  # noqa: E402
from controller.provisioning import provision  # noqa: E402


def seed(count: int) -> dict[str, str]:
    """Make a fleet that has applied what it should be; returns how to edit one of its templates."""
    call_command("migrate", verbosity=0)
    made = fleet.seed("crash", devices=count)
    recompute.drain()
    for config in Config.objects.only("checksum"):
        Config.objects.filter(pk=config.pk).update(status=Status.APPLIED, applied_checksum=config.checksum)
    member = provision(slug="crash", name="", username="ops", password="", role="operator")["user"]
    return {"template": str(made.templates[0].pk), "token": member["token"]}


def verify() -> dict[str, int]:
    """Compute every configuration once more and compare with what is stored."""
    wrong = repeated = 0
    for start in range(0, Config.objects.count(), 200):
        configs = list(Config.objects.select_related("revision").order_by("pk")[start : start + 200])
        computed = {item.config_id: recompute.compute(item).artefact for item in inputs.load(configs)}
        for config in configs:
            artefact = computed[config.pk]
            stored = hashlib.md5(bytes(config.revision.artefact)).hexdigest()
            wrong += not artefact.md5 == config.checksum == config.revision.checksum == stored
            numbers = sorted(config.revisions.values_list("number", flat=True))
            repeated += numbers != list(range(1, config.revision_number + 1)) or len(numbers) != 2
    counts = {status: Config.objects.filter(status=status).count() for status in Status.values}
    return {"wrong": wrong, "repeated": repeated, "stale": recompute.stale_configs().count()} | counts


if __name__ == "__main__":
    print(json.dumps(seed(int(sys.argv[2])) if sys.argv[1] == "seed" else verify()))
