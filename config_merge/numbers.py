"""What the metrics say of configurations; each is one query that an index answers."""

from datetime import timedelta

from django.db.models import Count

from config_merge.delivery.states import OPEN
from config_merge.models import Config, ConfigRevision, ConfigTask, Job, Status
from config_merge.services.recompute import stale_configs
from core.clock import now
from core.metrics import Values


def configurations_by_status() -> Values:
    """Count configurations by status."""
    rows = Config.objects.order_by().values_list("status").annotate(count=Count("pk"))
    counts = dict.fromkeys(Status.values, 0) | dict(rows)
    return {(status,): count for status, count in counts.items()}


def stale_configurations() -> Values:
    """Count the configurations that wait to be computed."""
    return {(): stale_configs().count()}


def recent_revisions() -> Values:
    """Count the revisions of the last hour, whichever process wrote them."""
    return {(): ConfigRevision.objects.filter(created__gt=now() - timedelta(hours=1)).count()}


def jobs_by_state() -> Values:
    """Count batch jobs by state."""
    rows = Job.objects.order_by().values_list("state").annotate(count=Count("pk"))
    return {(state,): count for state, count in (dict.fromkeys(Job.State.values, 0) | dict(rows)).items()}


def open_tasks() -> Values:
    """Count the configuration tasks that have not ended, by state."""
    rows = (
        ConfigTask.objects.filter(state__in=OPEN).order_by().values_list("state").annotate(count=Count("pk"))
    )
    counts = dict.fromkeys((str(state) for state in OPEN), 0) | dict(rows)
    return {(state,): count for state, count in counts.items()}
