"""What the tenant wall brings to the program when it starts: its doorbells and its numbers. Imported once."""

from core import metrics
from tenancy import webhook_tasks  # noqa: F401 - Celery learns of its tasks here
from tenancy.queries import webhook_deliveries_by_state

metrics.gauge(
    "muster_webhook_deliveries",
    "Messages to webhooks in the delivery log, by state.",
    webhook_deliveries_by_state,
    labels=("state",),
)
