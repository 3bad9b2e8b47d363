"""How states look: the colour of a status, whether a device is online, how long ago something was."""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from config_merge.models import Config, Status
from core.ages import ago
from core.clock import now
from core.redaction import redacted_text
from tenancy.admin_base import badge_classes

STATUS_TONES = {
    Status.APPLIED.value: "success",
    Status.MODIFIED.value: "warning",
    Status.ERROR.value: "danger",
    Status.DEACTIVATING.value: "info",
    Status.DEACTIVATED.value: "plain",
}
MISSED_POLLS = 2.5


def online_since() -> datetime:
    """Return since when a device must have been heard to count as online: 2.5 poll intervals."""
    return now() - timedelta(seconds=MISSED_POLLS * settings.MUSTER.poll_seconds)


def status_badge(config: Config | None) -> SafeString:
    """Return the badge of a status, with a second one while it is computed or when that fails."""
    if config is None:
        return format_html('<span class="mu-badge mu-badge--none">{}</span>', "no configuration")
    mark = "being computed" if config.is_stale else "cannot be computed" if config.problem else ""
    return format_html(
        '<span class="{}" title="{}">{}</span>{}',
        badge_classes(STATUS_TONES, config.status),
        redacted_text(config.error_reason or config.problem),
        config.get_status_display(),
        format_html(
            ' <span class="mu-badge mu-badge--{}">{}</span>', "info" if config.is_stale else "danger", mark
        )
        if mark
        else "",
    )


def seen_badge(last_seen: datetime | None) -> SafeString:
    """Return when a device was last heard, with a dot that is green while it is online."""
    if last_seen is None:
        return format_html('<span class="mu-seen"><span class="mu-dot"></span>{}</span>', "never")
    online = last_seen >= online_since()
    return format_html(
        '<span class="mu-seen" title="{}"><span class="mu-dot{}"></span>{}</span>',
        last_seen.strftime("%Y-%m-%d %H:%M:%S UTC"),
        " mu-dot--on" if online else "",
        ago(last_seen, at=now()),
    )
