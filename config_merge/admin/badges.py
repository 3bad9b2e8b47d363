"""How states look: the colour of a status, whether a device is online, how long ago something was."""

from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from config_merge.models import Config, ConfigTask, Drift, Status
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


TASK_TONES = {
    ConfigTask.State.PENDING.value: "warning",
    ConfigTask.State.SENT.value: "info",
    ConfigTask.State.RUNNING.value: "info",
    ConfigTask.State.APPLIED.value: "success",
    ConfigTask.State.FAILED.value: "danger",
    ConfigTask.State.ROLLED_BACK.value: "danger",
    ConfigTask.State.EXPIRED.value: "danger",
    ConfigTask.State.SUPERSEDED.value: "plain",
    ConfigTask.State.CANCELLED.value: "plain",
}
DRIFT_TONES = {Drift.MATCHES.value: "success", Drift.DIFFERS.value: "danger", Drift.UNKNOWN.value: "plain"}


def state_badge(task: ConfigTask) -> SafeString:
    """Return the badge of a task's state, as a part that stays current."""
    return live_part(f"state:{task.pk}", state_text(task))


def state_text(task: ConfigTask) -> SafeString:
    """Return the content of `state_badge`: the state, and how often it was tried where that is more than once."""
    tries = f" ({task.attempt} attempts)" if task.attempt > 1 else ""
    return format_html(
        '<span class="{}">{}</span>{}',
        badge_classes(TASK_TONES, task.state),
        task.get_state_display(),
        format_html(' <span class="mu-muted">{}</span>', tries.strip()) if tries else "",
    )


def drift_badge(config: Config) -> SafeString:
    """Return `drift_text` as a part that stays current."""
    return live_part(f"drift:{config.device_id}", drift_text(config))


def drift_text(config: Config | None) -> SafeString:
    """Return the badge of whether a device has what it confirmed; nothing for one without a configuration."""
    if config is None:
        return SafeString("")
    words = {Drift.MATCHES.value: "as applied", Drift.DIFFERS.value: "edited on the device"}
    return format_html(
        '<span class="{}">{}</span>',
        badge_classes(DRIFT_TONES, config.drift),
        words.get(config.drift, "unknown"),
    )


def revision_badge(config: Config) -> SafeString:
    """Return `revision_text` as a part that stays current."""
    return live_part(f"revision:{config.device_id}", revision_text(config))


def revision_text(config: Config | None) -> SafeString:
    """Return the number of a device's current revision, as a link, and its checksum."""
    if config is None or not config.revision_id:
        return format_html('<span class="mu-muted">{}</span>', "none yet")
    link = reverse("admin:devices_device_revision", args=[config.device_id, config.revision_number])
    return format_html(
        '<a class="mu-link" href="{}">{}</a> <code class="mu-aside">{}</code>',
        link,
        config.revision_number,
        config.checksum,
    )


def config_badge(device: Any, config: Config | None) -> SafeString:
    """Return `status_badge` of a device's configuration as a part that stays current."""
    return live_part(f"status:{device.pk}", status_badge(config))


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


def seen_badge(device: Any) -> SafeString:
    """Return when a device was last heard, with a dot that is green while it is online, as a part that stays current.

    `device` was read `with_presence`. A device with a link is heard all the time, so no time is told.
    """
    return live_part(f"seen:{device.pk}", seen_text(device))


def seen_text(device: Any) -> SafeString:
    """Return the content of `seen_badge`; it changes when the device comes or goes, and now and then."""
    last_seen = device.last_seen
    if device.is_linked:
        told, words = "It holds a link, and is reached at once", "linked"
    elif last_seen is None:
        told, words = "It never called", "never"
    else:
        told, words = last_seen.strftime("%Y-%m-%d %H:%M:%S UTC"), ago(last_seen, at=now())
    return format_html(
        '<span class="mu-seen" title="{}"><span class="mu-dot{}"></span>{}</span>',
        told,
        " mu-dot--on" if device.is_online else "",
        words,
    )


def live_part(name: str, content: str) -> SafeString:
    """Return content that the page's live socket replaces when it changes (`presence.js`)."""
    return format_html('<span data-live-part="{}">{}</span>', name, content)
