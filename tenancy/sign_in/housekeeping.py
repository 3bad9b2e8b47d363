"""What signing in leaves and nobody needs any more is dropped every hour.

It stands apart from `sessions` and `lockout`, which write the audit trail: the trail rings the tasks that call this.
"""

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.sessions.models import Session

from core.clock import now
from tenancy.sign_in.models import SignInSession


def drop_expired() -> None:
    """Delete sessions and counts of failures that are over. Safe to run anywhere, any time."""
    moment = now()
    SignInSession.objects.filter(expires_at__lt=moment).delete()
    Session.objects.filter(expire_date__lt=moment).delete()
    AccessAttempt.objects.filter(attempt_time__lt=moment - settings.AXES_COOLOFF_TIME).delete()
