"""Admin page of jobs: how far they are, and what became of each device. Jobs are asked for elsewhere."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from unfold.decorators import display

from config_merge.models import Job, JobItem
from config_merge.queries import job_counts, job_results
from tenancy.admin_base import OrganizationFilter, ScopedAdmin, badge_classes

STATE_TONES = {"queued": "info", "running": "warning", "finished": "success", "cancelled": "plain"}
OUTCOME_TONES = {"pending": "info", "done": "success", "failed": "danger", "skipped": "plain"}
PER_PAGE = 50


def progress_of(job: Job) -> dict[str, Any]:
    """Return how far a job is, as the page's script reads it."""
    counts = job_counts([job.pk])[job.pk]
    worked = job.looked_at if job.kind == Job.Kind.PREVIEW else job.total - counts["pending"]
    return {
        **counts,
        "total": job.total,
        "worked": worked,
        "state": job.state,
        "ended": job.state in (Job.State.FINISHED, Job.State.CANCELLED),
    }


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
        view = self.admin_site.admin_view(self.progress_view)
        return [path("<uuid:pk>/progress/", view, name="config_merge_job_progress"), *super().get_urls()]

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
        job = self.get_object(request, str(pk))
        if job is None:
            return self.missing(request, pk)
        self.require(request, "view", job)
        response = JsonResponse(progress_of(job))
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
            context["outcome"] = outcome
            context["outcomes"] = JobItem.Outcome.choices
            context["results"] = page
            context["rows"] = [(item, badge_classes(OUTCOME_TONES, item.outcome)) for item in page]
        return super().render_change_form(request, context, *args, **kwargs)
