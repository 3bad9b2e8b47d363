"""What the crash test of jobs does inside the data directory of a server: seed, verify. Run as a child process."""

import json
import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "controller.settings"
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db.models import Count  # noqa: E402

from benchmarks import fleet  # noqa: E402
from config_merge.models import Config, ConfigRevision, ConfigTemplate, Job, JobItem  # noqa: E402
from config_merge.services import jobs, recompute  # noqa: E402
from config_merge.services.templates import template_create  # noqa: E402
from devices.models import Device  # noqa: E402
from tenancy.models import AuditEvent  # noqa: E402
from tenancy.services import user_create  # noqa: E402


def seed(count: int) -> dict[str, str]:
    """Make a fleet, and a job that gives every device one more template."""
    call_command("migrate", verbosity=0)
    made = fleet.seed("crash", devices=count)
    recompute.drain()
    more = template_create(
        organization=made.organization, name="more", config={"general": {"description": "more"}}
    )
    job = jobs.job_create(
        kind=Job.Kind.ASSIGN_TEMPLATE,
        devices=Device.objects.all(),
        organization_id=made.organization.pk,
        creator=user_create(username="ops", password=None, is_superuser=True),
        parameters={"template": str(more.pk)},
    )
    return {"job": str(job.pk)}


def verify() -> dict[str, int]:
    """Count what was done, done twice, or left."""
    outcomes = JobItem.objects.values_list("outcome").annotate(Count("pk"))
    repeated = Config.objects.exclude(revision_number=2).count()
    return {
        "repeated": repeated,
        "revisions": ConfigRevision.objects.filter(cause="templates").count(),
        "assigned": ConfigTemplate.objects.filter(template__name="more").count(),
        "finished": Job.objects.filter(state=Job.State.FINISHED).count(),
        "told": AuditEvent.objects.filter(action="job.finished").count(),
        **dict(outcomes),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(seed(int(sys.argv[2])) if sys.argv[1] == "seed" else verify()) + "\n")
