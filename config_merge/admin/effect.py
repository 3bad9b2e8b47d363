"""What an edit would do to the fleet, shown on the page on which it is made, before it is saved.

Invariant: nothing of the edit is written here. What it is comes from the very form that saves it, what it does from
`services.preview`; secrets in differences are marks for who may not see them. More devices than one waits for are
computed by a job, when that was asked for, and the page follows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse

from config_merge.admin.shown import diff_lines
from config_merge.services import job_previews, jobs
from config_merge.services.preview import Preview, TooMany
from tenancy.admin_base import Refused, ScopedAdmin, refusals
from tenancy.disclosure import disclosure_of

# As many as can be computed while a person waits; the same bound as over REST.
MOST_DEVICES = 1_000
SHOWN_GROUPS = 20
SHOWN_DIFF = 20_000
NOTHING = {"total": 0, "changed": 0, "unchanged": 0, "failed": 0}


@dataclass(frozen=True, slots=True)
class ShownGroup:
    """Devices to which the same happens, as the page shows them."""

    count: int
    devices: Sequence[Any]
    lines: list[tuple[str, str]]
    is_cut: bool

    @property
    def unnamed(self) -> int:
        """How many devices are counted without their names."""
        return self.count - len(self.devices)


def shown_groups(shown: job_previews.Shown) -> list[ShownGroup]:
    """Return the biggest groups with coloured differences."""
    return [
        ShownGroup(
            group["count"],
            group["devices"],
            diff_lines(group["diff"][:SHOWN_DIFF]),
            len(group["diff"]) > SHOWN_DIFF,
        )
        for group in shown.body["groups"][:SHOWN_GROUPS]
    ]


def told(request: HttpRequest, *, outcome: str, **context: Any) -> dict[str, Any]:
    """Return the words to show, with what the page's script has to know of them."""
    found: Mapping[str, Any] = context.get("preview", NOTHING)
    return {
        "outcome": outcome,
        "changed": found["changed"],
        "failed": found["failed"],
        "html": render_to_string(
            "admin/config_merge/effect.html", {**context, "outcome": outcome}, request=request
        ),
    }


def told_of(
    request: HttpRequest, stored: Mapping[str, Any], *, of: models.Model | None, organization_id: UUID | None
) -> dict[str, Any]:
    """Do so for a preview (`job_previews.as_json`), as far as the reader may see it; which secrets is written down."""
    disclosure = disclosure_of(request)
    shown = job_previews.shown(stored, disclosure)
    job_previews.looks_noted(disclosure, shown.owners, of=of, organization_id=organization_id)
    disclosure.write()
    texts = [group["diff"] for group in shown.body["groups"]]
    return told(
        request,
        outcome="ok",
        preview=shown.body,
        failures=shown.body["failures"],
        groups=shown_groups(shown),
        rest=sum(group["count"] for group in shown.body["groups"][SHOWN_GROUPS:]),
        hidden=any(text != group["diff"] for text, group in zip(texts, stored["groups"], strict=True)),
    )


class EffectPanel(ScopedAdmin):
    """Adds the panel to a change form.

    Subclasses set `effect_fields`, compute `effect` and return as `proposed` what a job needs to compute it.
    """

    change_form_after_template = "admin/config_merge/effect_panel.html"
    # The form's fields that reach devices; editing others changes nothing for them.
    effect_fields: frozenset[str] = frozenset()
    effect_of_new = False

    def effect(self, request: HttpRequest, obj: Any, form: Any) -> Preview:
        """Return what the valid form would do. Raises ValidationError as saving would, TooMany."""
        raise LookupError("a page with this panel must compute the effect")

    def proposed(self, obj: Any, form: Any) -> dict[str, Any]:
        """Return what the valid form would do, as a job keeps it (`job_previews.packed`)."""
        raise LookupError("a page with this panel must say what a job would compute")

    def get_urls(self) -> list[URLPattern]:
        """Add what the panel asks for."""
        view = self.admin_site.admin_view(self.effect_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_effect"
        return [
            path("effect/", view, name=f"{name}_of_new"),
            path("<uuid:pk>/effect/", view, name=name),
            *super().get_urls(),
        ]

    def effect_view(self, request: HttpRequest, pk: UUID | None = None) -> HttpResponse:
        """Say what the posted form would do, as JSON with the words to show."""
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        original = None
        if pk is None:
            if not (self.effect_of_new and self.has_add_permission(request)):
                raise PermissionDenied
        else:
            original = self.get_object(request, str(pk))
            if original is None:
                return self.missing(request, pk)
            self.require(request, "change", original)
        response = JsonResponse(self._answer(request, original))
        response["Cache-Control"] = "no-store"
        return response

    def _answer(self, request: HttpRequest, original: Any) -> dict[str, Any]:
        form_class = self.get_form(request, original, change=original is not None)
        # Validation fills the instance it is given; the preview needs the stored one.
        instance = None if original is None else self.get_object(request, str(original.pk))
        form = form_class(request.POST, request.FILES, instance=instance)
        if not form.is_valid():
            return told(request, outcome="invalid", errors=_form_errors(form))
        if original is not None and not self.effect_fields.intersection(form.changed_data):
            return told(request, outcome="ok", untouched=True, preview=NOTHING)
        try:
            with refusals():
                preview = self.effect(request, original, form)
        except Refused as refused:
            return told(request, outcome="invalid", errors=refused.error.messages)
        except TooMany as many:
            return self._later(request, original, form, count=many.count)
        organization_id = self.organization_id_of(original) if original is not None else None
        return told_of(request, job_previews.as_json(preview), of=original, organization_id=organization_id)

    def _later(self, request: HttpRequest, original: Any, form: Any, *, count: int) -> dict[str, Any]:
        """Have the effect computed in the background if that was asked for; else only say how many it concerns."""
        if request.GET.get("background") != "yes":
            return told(request, outcome="too_many", count=count, most=MOST_DEVICES)
        job = jobs.preview_job_create(
            proposal=self.proposed(original, form),
            # Whoever the object belongs to afterwards: what becomes shared concerns devices of others.
            organization_id=self.organization_id_of(form.instance),
            creator=request.user,
            total=count,
        )
        return {
            **told(request, outcome="job", count=count, job=job),
            "progress": reverse("admin:config_merge_job_progress", args=[job.pk]),
            "result": reverse("admin:config_merge_job_effect", args=[job.pk]),
        }

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Tell the panel whom to ask; without the right to save there is nothing to ask."""
        original = context.get("original")
        if original is None:
            context["effect_link"] = self.link("effect_of_new") if self.effect_of_new else ""
        elif self.has_change_permission(request, original):
            context["effect_link"] = self.link("effect", original.pk)
        return super().render_change_form(request, context, *args, **kwargs)


def _form_errors(form: Any) -> list[str]:
    """Return a form's errors as lines, each with the label of its field."""
    return [
        text if name == NON_FIELD_ERRORS else f"{form.fields[name].label or name}: {text}"
        for name, texts in form.errors.items()
        for text in texts
    ]
