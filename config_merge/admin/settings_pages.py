"""The editor of settings, for sites and for devices: what is shown, what was sent, what it would do, saving it.

Invariant: a page names the version it was made from; when that is not the current one, nothing is applied, what others
changed is told, and what the person has changed stays in the editor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse

from config_merge.admin.effect import MOST_DEVICES, NOTHING, SHOWN_GROUPS, shown_groups
from config_merge.api.sites import version_of
from config_merge.engine import InvalidSettings
from config_merge.services import job_previews, jobs
from config_merge.services.preview import Preview, TooMany
from config_merge.settings_shown import Entries, settings_sent
from core.admin import parse_json
from tenancy.admin_base import Refused, refusals
from tenancy.disclosure import disclosure_of

MOST_ERRORS = 50
Check = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """What a page sent: `changes` with stored secrets in place of their marks, as text, and what is wrong by key."""

    changes: dict[str, Any] = field(repr=False)
    text: str = field(repr=False)
    version: str
    errors: dict[str, str]
    base: dict[str, Any] = field(repr=False)


def sent_by(request: HttpRequest, *, own: Entries, inherited: Entries, check: Check) -> Sent:
    """Return what was posted; `check` raises InvalidSettings for changes that cannot be."""
    text = request.POST.get("changes", "") or "{}"
    errors: dict[str, str] = {}
    changes: dict[str, Any] = {}
    try:
        given = parse_json(text)
        if not isinstance(given, dict):
            raise ValidationError("The changes must be an object of keys.")
        changes = settings_sent(given, own=own, inherited=inherited)
        errors = errors_of(changes, check)
    except ValidationError as error:
        errors = {"": " ".join(error.messages)}
    return Sent(changes, text, request.POST.get("version", ""), errors, _base(request))


def _base(request: HttpRequest) -> dict[str, Any]:
    """Return what the page was made from, as it says itself; it is only shown to the person who sent it."""
    try:
        base = parse_json(request.POST.get("base", "") or "{}")
    except ValidationError:
        return {}
    return base if isinstance(base, dict) else {}


def errors_of(changes: Mapping[str, Any], check: Check) -> dict[str, str]:
    """Return what is wrong, by key ("" for the whole): the first mistake, then those that are left without it."""
    left, errors = dict(changes), dict[str, str]()
    while len(errors) < MOST_ERRORS:
        try:
            check(left)
        except InvalidSettings as error:
            errors[error.path if error.path in left else error.path or ""] = error.message
            if left.pop(error.path, None) is None:
                return errors
        else:
            return errors
    return errors


def effect_answer(
    request: HttpRequest,
    sent: Sent,
    *,
    of: Any,
    organization_id: Any,
    preview: Callable[[dict[str, Any]], Preview],
    more: Callable[[dict[str, Any]], dict[str, Any]] = lambda _changes: {},
    proposed: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> JsonResponse:
    """Say what the changes would do, as JSON with the words to show.

    `more` is what the template shows beside, `proposed` what a job needs to compute it for more devices than one waits
    for.
    """
    try:
        answer = _effect(request, sent, of=of, organization_id=organization_id, preview=preview, more=more)
    except TooMany as many:
        answer = _later(
            request,
            count=many.count,
            organization_id=organization_id,
            proposal=proposed(sent.changes) if proposed is not None else None,
            more=more(sent.changes),
        )
    response = JsonResponse(answer)
    response["Cache-Control"] = "no-store"
    return response


def _effect(
    request: HttpRequest, sent: Sent, *, of: Any, organization_id: Any, preview: Any, more: Any
) -> dict[str, Any]:
    if sent.errors:
        lines = [f"{key}: {text}" if key else text for key, text in sent.errors.items()]
        return _told(request, outcome="invalid", errors=lines, by_key=sent.errors)
    if not sent.changes:
        return _told(request, outcome="ok", preview=NOTHING, untouched=True)
    try:
        with refusals():
            found = preview(sent.changes)
    except Refused as refused:
        return _told(request, outcome="invalid", errors=refused.error.messages)
    disclosure = disclosure_of(request)
    stored = job_previews.as_json(found)
    shown = job_previews.shown(stored, disclosure)
    job_previews.looks_noted(disclosure, shown.owners, of=of, organization_id=organization_id)
    disclosure.write()
    texts = [group["diff"] for group in shown.body["groups"]]
    return _told(
        request,
        outcome="ok",
        preview=shown.body,
        failures=shown.body["failures"],
        groups=shown_groups(shown),
        rest=sum(group["count"] for group in shown.body["groups"][SHOWN_GROUPS:]),
        hidden=texts != [group["diff"] for group in stored["groups"]],
        **more(sent.changes),
    )


def _later(
    request: HttpRequest,
    *,
    count: int,
    organization_id: Any,
    proposal: dict[str, Any] | None,
    more: dict[str, Any],
) -> dict[str, Any]:
    """Have the effect computed in the background if that was asked for; else only say how many it concerns."""
    if proposal is None or request.GET.get("background") != "yes":
        return _told(request, outcome="too_many", count=count, most=MOST_DEVICES, **more)
    job = jobs.preview_job_create(
        proposal=proposal, organization_id=organization_id, creator=request.user, total=count
    )
    return {
        **_told(request, outcome="job", count=count, job=job, **more),
        "progress": reverse("admin:config_merge_job_progress", args=[job.pk]),
        "result": reverse("admin:config_merge_job_effect", args=[job.pk]),
    }


def _told(request: HttpRequest, *, by_key: Mapping[str, str] | None = None, **context: Any) -> dict[str, Any]:
    found: Mapping[str, Any] = context.get("preview", NOTHING)
    return {
        "outcome": context["outcome"],
        "changed": found["changed"],
        "failed": found["failed"],
        "errors": dict(by_key or {}),
        "html": render_to_string("admin/config_merge/settings_effect.html", context, request=request),
    }


def check_answer(sent: Sent) -> HttpResponse:
    """Say what is wrong, by key, while a person types."""
    response = JsonResponse({"errors": sent.errors})
    response["Cache-Control"] = "no-store"
    return response


__all__ = ["Sent", "check_answer", "effect_answer", "errors_of", "sent_by", "version_of"]
