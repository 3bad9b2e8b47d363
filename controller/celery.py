"""The Celery application: broker, beat schedule and delivery rules.

Why it exists: messages are doorbells, the rows are the truth. Invariant: a task may be delivered twice, late
or never, and nothing is lost; JSON only; no results are kept; no schedule file exists, since every periodic
job is due at once after a restart.
"""

import logging
import os
from typing import Any

from celery import Celery, signals
from kombu.exceptions import OperationalError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controller.settings")

from django.conf import settings

from controller import trace  # noqa: F401 - connects to the tasks

logger = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 5.0
SWEEP_SECONDS = 2.0
HOUSEKEEPING_SECONDS = 3600.0
EXCHANGE_SECONDS = 60.0


def configuration(*, redis_url: str) -> dict[str, Any]:
    """Celery's settings; an empty `redis_url` means the broker is this process's own memory."""
    if redis_url:
        transport: dict[str, Any] = {
            "visibility_timeout": 3600,
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            "health_check_interval": 30,
        }
    else:
        # kombu's default of one second between looks would be the latency of every task.
        transport = {"polling_interval": 0.01}
    return {
        "broker_url": redis_url or "memory://localhost/",
        "broker_transport_options": transport,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 2,
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_default_queue": "muster",
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_always_eager": False,
        "timezone": "UTC",
        "enable_utc": True,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": 1,
        "beat_schedule": beat_schedule(),
    }


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Every periodic job. A message nobody took within one period is dropped: the next one says the same."""
    return {
        "heartbeat": {
            "task": "controller.tasks.heartbeat",
            "schedule": HEARTBEAT_SECONDS,
            "options": {"expires": HEARTBEAT_SECONDS},
        },
        "recompute sweep": {
            "task": "config_merge.tasks.sweep",
            "schedule": SWEEP_SECONDS,
            "options": {"expires": SWEEP_SECONDS},
        },
        "job sweep": {
            "task": "config_merge.job_tasks.sweep_jobs",
            "schedule": SWEEP_SECONDS,
            "options": {"expires": SWEEP_SECONDS},
        },
        "sign-in housekeeping": {
            "task": "tenancy.tasks.sign_in_housekeeping",
            "schedule": HOUSEKEEPING_SECONDS,
            "options": {"expires": HOUSEKEEPING_SECONDS},
        },
        "exchange sweep": {
            "task": "config_merge.exchange.tasks.sweep",
            "schedule": EXCHANGE_SECONDS,
            "options": {"expires": EXCHANGE_SECONDS},
        },
        "counts merge": {
            "task": "config_merge.tasks.merge_counts",
            "schedule": SWEEP_SECONDS,
            "options": {"expires": SWEEP_SECONDS},
        },
        "audit seal": {
            "task": "tenancy.tasks.seal_audit",
            "schedule": SWEEP_SECONDS,
            "options": {"expires": SWEEP_SECONDS},
        },
        "link sweep": {
            "task": "devices.tasks.sweep_links",
            "schedule": SWEEP_SECONDS,
            "options": {"expires": SWEEP_SECONDS},
        },
        "delivery sweep": {
            "task": "config_merge.delivery_tasks.sweep",
            "schedule": SWEEP_SECONDS,
            "options": {"expires": SWEEP_SECONDS},
        },
        "delivery prune": {
            "task": "config_merge.delivery_tasks.prune",
            "schedule": HOUSEKEEPING_SECONDS,
            "options": {"expires": HOUSEKEEPING_SECONDS},
        },
        "image collection": {
            "task": "boot.tasks.collect_images",
            "schedule": HOUSEKEEPING_SECONDS,
            "options": {"expires": HOUSEKEEPING_SECONDS},
        },
        "upload sweep": {
            "task": "boot.job_tasks.sweep_uploads",
            "schedule": HEARTBEAT_SECONDS,
            "options": {"expires": HEARTBEAT_SECONDS},
        },
        "boot housekeeping": {
            "task": "boot.tasks.housekeeping",
            "schedule": HOUSEKEEPING_SECONDS,
            "options": {"expires": HOUSEKEEPING_SECONDS},
        },
        "webhook sweep": {
            "task": "tenancy.webhook_tasks.sweep",
            "schedule": HEARTBEAT_SECONDS,
            "options": {"expires": HEARTBEAT_SECONDS},
        },
    }


@signals.setup_logging.connect
def keep_logging(**_options: object) -> None:
    """Django's LOGGING stands; being connected is what keeps Celery from installing its own."""


@signals.beat_init.connect
def ring_everything_once(**_options: object) -> None:
    """Start every periodic job as soon as the schedule does, instead of one period later."""
    for entry in beat_schedule().values():
        try:
            app.send_task(entry["task"], retry=False, **entry["options"])
        except (OperationalError, OSError) as error:
            logger.warning("broker unreachable, the schedule will ring again: %s", type(error).__name__)
            return


app = Celery("muster")
app.config_from_object(configuration(redis_url=settings.MUSTER.redis_url))
app.autodiscover_tasks()
app.autodiscover_tasks(related_name="job_tasks")
app.autodiscover_tasks(related_name="delivery_tasks")
