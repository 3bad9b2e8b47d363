"""Admin pages of API keys: one's own, and for those who manage an organization its members'.

Invariant: the text of a key is shown in the answer that makes it only.
"""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.decorators import display

from tenancy import api_keys as services
from tenancy.admin_base import ScopedAdmin
from tenancy.admin_filters import OrganizationFilter
from tenancy.authority import is_root
from tenancy.models import ApiKey, User

STORY = (
    "name", "organization", "user", "shown_id", "is_imported", "read_only", "created", "expires_at", "last_used",
)  # fmt: skip


@admin.register(ApiKey)
class ApiKeyAdmin(ScopedAdmin):
    """Keys to one organization each: made, renamed, switched to reading and back by who uses them, and revoked."""

    list_display = STORY
    list_filter = (OrganizationFilter, "read_only")
    list_select_related = ("organization", "user")
    search_fields = ("name", "key_id", "user__username")
    readonly_fields = ("shown_id", "is_imported", "created", "last_used")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A key that exists has a story; only superusers choose whose a new one is."""
        if obj is not None:
            return STORY
        user: Any = request.user
        return ("organization", *(("user",) if user.is_superuser else ()), "name", "read_only", "expires_at")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Leave out what was revoked."""
        return services.api_keys_visible_to(request.user).filter(revoked_at__isnull=True)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What a key opens, and for whom, never changes."""
        return self.readonly_fields if obj is None else (*self.readonly_fields, "organization", "user")

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """Ask the policy, and for a key who it belongs to."""
        if not super().may(request, action, obj):
            return False
        if obj is None or action not in ("change", "delete"):
            return True
        if action == "change":
            return obj.user_id == request.user.pk or is_root(request.user)
        return not services.obstacle_to_revoking(request.user, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """A superuser who names nobody makes a key of their own."""
        if db_field.name != "user":
            return super().formfield_for_foreignkey(db_field, request, **kwargs)
        kwargs["queryset"] = User.objects.order_by("username")
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        field.required, field.help_text = False, "Yourself, when empty."
        return field

    @display(description="Id", ordering="key_id")
    def shown_id(self, obj: Any) -> str:
        """The part before the period, to tell keys apart."""
        return format_html("<code>{}</code>", obj.key_id)

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> ApiKey:
        """Change the key, or make one and keep its text for this answer."""
        values, by = form.values(), request.user
        if change:
            return services.api_key_update(obj, by=by, **values)  # type: ignore[arg-type]
        user = values.pop("user", None) or by
        row, text = services.api_key_create(by=by, user=user, **values)  # type: ignore[arg-type]
        request.muster_secret = text  # type: ignore[attr-defined]
        return row

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key here and now: a message would travel in a cookie."""
        context = {"secret": request.muster_secret, "back": self.link("changelist")}  # type: ignore[attr-defined]
        title = f"API key {obj.name}"
        response = self.page(request, "admin/tenancy/api_key_issued.html", title=title, **context)
        response["Cache-Control"] = "no-store"
        return response

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """To delete a key is to revoke it."""
        by: Any = request.user
        services.api_key_revoke(obj, by=by)
