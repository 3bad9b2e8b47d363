"""Admin pages of webhooks: the form, the log of deliveries, a test, and a new secret.

Invariant: the secret is shown in the answer that makes it only.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from unfold.decorators import display

from tenancy import webhook_services as services
from tenancy.admin_base import Refused, ScopedAdmin, ServiceForm, badge_classes, reason_of, refusals
from tenancy.admin_filters import OrganizationFilter
from tenancy.models import Webhook, WebhookDelivery
from tenancy.queries import webhook_deliveries_visible_to, webhooks_visible_to
from tenancy.webhook_models import EVENT_CHOICES

TONES = {"pending": "info", "delivered": "success", "failed": "danger"}
PER_PAGE = 25
EVENT_TEXTS = {
    "device.registered": "A device registered",
    "device.status_changed": "A configuration's status changed",
    "revision.created": "A device was given a new configuration",
    "job.finished": "A job on many devices ended",
    "webhook.test": "Test messages",
}


class WebhookForm(ServiceForm):
    """Events as boxes to tick."""

    events = forms.MultipleChoiceField(
        choices=[(event, f"{EVENT_TEXTS[event]} ({event})") for event, _ in EVENT_CHOICES],
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = Webhook
        fields = ("organization", "url", "description", "events", "is_active")


@admin.register(Webhook)
class WebhookAdmin(ScopedAdmin):
    """Where an organization wants to be told of events."""

    form = WebhookForm
    list_display = ("__str__", "organization", "shown_events", "shown_health", "last_delivered")
    list_filter = (OrganizationFilter, "is_active")
    list_select_related = ("organization",)
    list_deferred = ("secret",)
    search_fields = ("url", "description")
    fields = ("organization", "url", "description", "events", "is_active")
    change_form_outer_before_template = "admin/tenancy/webhook_head.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the rows of organizations where the user's role may see them; secrets stay where they are."""
        return webhooks_visible_to(request.user).defer("secret").order_by("-created", "id")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """A webhook stays in its organization."""
        return ("organization",) if obj else ()

    @display(description="Events")
    def shown_events(self, obj: Any) -> str:
        """Which events are sent."""
        return ", ".join(obj.events)

    @display(description="State")
    def shown_health(self, obj: Any) -> str:
        """Whether messages arrive."""
        tone, text = health_of(obj)
        return format_html('<span class="mu-badge mu-badge--{}">{}</span>', tone, text)

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's, whose last pattern matches everything."""
        pages: tuple[tuple[str, Any], ...] = (
            ("deliveries", self.deliveries_view),
            ("test", self.test_view),
            ("rotate-secret", self.rotate_view),
        )
        own = [
            path(f"<uuid:pk>/{name}/", self.admin_site.admin_view(view), name=f"tenancy_webhook_{name}")
            for name, view in pages
        ]
        return [*own, *super().get_urls()]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Give the form of an existing webhook its tabs."""
        found = self.get_object(request, object_id) if object_id else None
        head = self.head(request, found, tab="change") if found else {}
        return super().changeform_view(request, object_id, form_url, {**head, **(extra_context or {})})

    def head(self, request: HttpRequest, webhook: Webhook, *, tab: str) -> dict[str, Any]:
        """Return what the top of every page of a webhook shows."""
        tone, text = health_of(webhook)
        return {
            "tabs": [
                (title, self.link(page, webhook.pk), page == tab)
                for page, title in (("change", "Webhook"), ("deliveries", "Deliveries"))
            ],
            "webhook": webhook,
            "health_tone": tone,
            "health_text": text,
            "may_edit": self.may(request, "change", webhook),
        }

    def found(self, request: HttpRequest, pk: UUID, *, action: str) -> Webhook | None:
        """Return the webhook if this user may see it. Raises PermissionDenied."""
        webhook: Webhook | None = self.get_object(request, str(pk))
        if webhook is not None:
            self.require(request, action, webhook)
        return webhook

    def deliveries_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show what was sent; a POST with the id of a delivery sends it again."""
        webhook = self.found(request, pk, action="change" if request.method == "POST" else "view")
        if webhook is None:
            return self.missing(request, pk)
        rows = webhook_deliveries_visible_to(request.user).filter(webhook=webhook)
        if request.method == "POST":
            return self._replay(request, webhook, rows)
        state = request.GET.get("state", "")
        if state in WebhookDelivery.State.values:
            rows = rows.filter(state=state)
        shown = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
        for row in shown:
            row.badge = badge_classes(TONES, row.state)  # type: ignore[attr-defined]
        states = [("", "All"), *WebhookDelivery.State.choices]
        return self.page(
            request,
            "admin/tenancy/webhook_deliveries.html",
            original=webhook,
            title=f"Deliveries to {webhook}",
            deliveries=shown,
            states=[(value, label, value == state) for value, label in states],
            state=state,
            **self.head(request, webhook, tab="deliveries"),
        )

    def _replay(self, request: HttpRequest, webhook: Webhook, rows: models.QuerySet[Any]) -> HttpResponse:
        back = HttpResponseRedirect(self.link("deliveries", webhook.pk))
        try:
            row = rows.filter(pk=UUID(request.POST.get("delivery", ""))).first()
        except ValueError:
            row = None
        if row is None:
            messages.error(request, "There is no such delivery.")
            return back
        try:
            with refusals():
                services.webhook_delivery_replay(row)
        except Refused as refused:
            messages.error(request, reason_of(refused))
        else:
            messages.success(request, "The message is sent again.")
        return back

    def test_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Send a test message."""
        webhook = self.found(request, pk, action="change")
        if webhook is None:
            return self.missing(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            with refusals():
                services.webhook_test(webhook)
        except Refused as refused:
            messages.error(request, reason_of(refused))
        else:
            messages.success(request, "A test message is on its way.")
        return HttpResponseRedirect(self.link("deliveries", webhook.pk))

    def rotate_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Ask, then replace the secret and show the new one."""
        webhook = self.found(request, pk, action="change")
        if webhook is None:
            return self.missing(request, pk)
        if request.method != "POST":
            text = "Messages are signed with the new secret at once; whoever checks them needs it."
            title = "Replace the signing secret?"
            return self.confirm(request, original=webhook, title=title, text=text, button="Replace it")
        return self.secret_page(request, webhook, services.webhook_secret_rotate(webhook))

    def secret_page(self, request: HttpRequest, webhook: Webhook, secret: str) -> HttpResponse:
        """Show a secret here and now: a message would travel in a cookie."""
        context = {"secret": secret, "back": self.link("change", webhook.pk)}
        response = self.page(
            request,
            "admin/tenancy/webhook_secret.html",
            original=webhook,
            title="The webhook's secret",
            **context,
        )
        response["Cache-Control"] = "no-store"
        return response

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Webhook:
        """Create or change through the service; keep a new secret for this answer."""
        values = {**form.values(), "events": form.cleaned_data["events"]}
        if change:
            return services.webhook_update(obj, **values)
        if values.get("organization") is None:
            raise ValidationError({"organization": "Choose an organization."})
        webhook, secret = services.webhook_create(**values)
        request.muster_secret = secret  # type: ignore[attr-defined]
        return webhook

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret."""
        return self.secret_page(request, obj, request.muster_secret)  # type: ignore[attr-defined]

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        services.webhook_delete(obj)


def health_of(webhook: Webhook) -> tuple[str, str]:
    """Return the tone and the words for how a webhook does."""
    if not webhook.is_active:
        return "plain", "off"
    if webhook.failing_since:
        return "danger", f"failing since {webhook.failing_since:%Y-%m-%d %H:%M} UTC"
    return ("success", "arriving") if webhook.last_delivered else ("info", "nothing sent yet")
