"""Admin page of jobs: how far they are, and what became of each device. Jobs are asked for elsewhere."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from unfold.decorators import display

from config_merge.admin.effect import told, told_of
from config_merge.models import Job, JobItem
from config_merge.queries import job_progress, job_results
from config_merge.services import jobs
from core.errors import Conflict
from tenancy.admin_base import ScopedAdmin, badge_classes
from tenancy.admin_filters import OrganizationFilter

STATE_TONES = {"queued": "info", "running": "warning", "finished": "success", "cancelled": "plain"}
OUTCOME_TONES = {"pending": "info", "done": "success", "failed": "danger", "skipped": "plain"}
PER_PAGE = 50


def progress_of(job: Job) -> dict[str, Any]:
    """Return how far a job is, as the page's script reads it."""
    counts = job_progress([job])[job.pk]
    return {
        **counts,
        "total": job.total,
        "worked": job.total - counts["pending"],
        "state": job.state,
        "ended": job.state in (Job.State.FINISHED, Job.State.CANCELLED),
    }


def found_by(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Return what a job's preview has found, as far as the reader may see it; words instead while there is nothing."""
    if job.result:
        return told_of(request, job.result, of=job, organization_id=job.organization_id)
    return told(request, outcome="nothing", problem=job.problem)


@admin.register(Job)
class JobAdmin(ScopedAdmin):
    """Batch operations and long previews."""

    list_display = (
        "shown_kind",
        "shown_state",
        "total",
        "organization",
        "creator_name",
        "created",
        "finished",
    )
    list_display_links = ("shown_kind",)
    list_select_related = ("organization",)
    list_deferred = ("proposal", "result")
    list_filter = (OrganizationFilter, "kind", "state", "dry_run")
    search_fields = ("creator_name", "reason")
    fields = (
        "shown_kind", "shown_state", "dry_run", "organization", "creator_name", "reason", "problem", "created",
        "started", "finished",
    )  # fmt: skip
    readonly_fields = ("shown_kind", "shown_state", "created")
    change_form_outer_before_template = "admin/config_merge/job_head.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They are asked for over REST and from the pages of what they are about."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was asked for stays as it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They stay."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Add what the progress bar asks for."""
        wrap = self.admin_site.admin_view
        own = [
            path("<uuid:pk>/progress/", wrap(self.progress_view), name="config_merge_job_progress"),
            path("<uuid:pk>/effect/", wrap(self.effect_view), name="config_merge_job_effect"),
            path("<uuid:pk>/cancel/", wrap(self.cancel_view), name="config_merge_job_cancel"),
        ]
        return [*own, *super().get_urls()]

    @display(description="Action", ordering="kind")
    def shown_kind(self, obj: Any) -> str:
        """What is done to the devices."""
        words = str(obj.get_kind_display())
        return f"{words} (dry run)" if obj.dry_run and obj.kind != Job.Kind.PREVIEW else words

    @display(description="State", ordering="state")
    def shown_state(self, obj: Any) -> str:
        """A coloured badge."""
        return format_html(
            '<span class="{}">{}</span>', badge_classes(STATE_TONES, obj.state), obj.get_state_display()
        )

    def progress_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say how far a job is, as JSON for the page's script."""
        return self._said(request, pk, progress_of)

    def effect_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say what a preview has found, as JSON with the words to show."""
        return self._said(request, pk, lambda job: found_by(request, job))

    def cancel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Stop a job: devices whose turn has not come are skipped."""
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        job: Any = self.get_object(request, str(pk))
        if job is None:
            return self.missing(request, pk)
        self.require(request, "add", job)
        try:
            jobs.job_cancel(job)
        except Conflict as error:
            messages.warning(request, str(error))
        else:
            messages.success(request, "The job was cancelled.")
        return redirect("admin:config_merge_job_change", pk)

    def _said(self, request: HttpRequest, pk: UUID, say: Callable[[Job], dict[str, Any]]) -> HttpResponse:
        job: Any = self.get_object(request, str(pk))
        if job is None:
            return self.missing(request, pk)
        self.require(request, "view", job)
        response = JsonResponse(say(job))
        response["Cache-Control"] = "no-store"
        return response

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        """Add progress and results."""
        original = context.get("original")
        if original is not None:
            outcome = request.GET.get("outcome", "")
            results: QuerySet[JobItem] = job_results(original)
            if outcome in JobItem.Outcome.values:
                results = results.filter(outcome=outcome)
            page = Paginator(results, PER_PAGE).get_page(request.GET.get("page"))
            context["progress"] = progress_of(original)
            context["progress_link"] = self.link("progress", original.pk)
            if not context["progress"]["ended"] and self.may(request, "add", original):
                context["cancel_link"] = self.link("cancel", original.pk)
            if original.kind == Job.Kind.PREVIEW:
                context["effect_html"] = found_by(request, original)["html"]
            context["outcome"] = outcome
            context["outcomes"] = JobItem.Outcome.choices
            context["results"] = page
            context["rows"] = [(item, badge_classes(OUTCOME_TONES, item.outcome)) for item in page]
        return super().render_change_form(request, context, *args, **kwargs)
