"""Admin pages of API tokens.

Invariant: a token's secret is shown in the answer that creates it only.
"""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.decorators import display

from tenancy import services
from tenancy.admin_base import ScopedAdmin
from tenancy.models import ApiToken


@admin.register(ApiToken)
class ApiTokenAdmin(ScopedAdmin):
    """Bearer tokens: each person their own; superusers see everybody's, but not the secrets."""

    list_display = ("name", "user", "shown_prefix", "created", "expires_at", "last_used_at")
    search_fields = ("name", "prefix")
    fields = ("name", "expires_at")
    readonly_fields = ("user", "shown_prefix", "created", "last_used_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A token that exists has a story."""
        return (
            ("name", "user", "shown_prefix", "created", "expires_at", "last_used_at") if obj else self.fields
        )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Leave out what was revoked."""
        user: Any = request.user
        living = ApiToken.objects.select_related("user").filter(revoked_at__isnull=True)
        return living if user.is_superuser else living.filter(user=user)

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """Tokens belong to people: add, look at and revoke one's own; never change one."""
        user: Any = request.user
        if not (user.is_active and user.is_staff) or action == "change":
            return False
        return obj is None or user.is_superuser or obj.user_id == user.pk

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Everyone who may sign in here."""
        return self.may(request, "view")

    @display(description="Starts with", ordering="prefix")
    def shown_prefix(self, obj: Any) -> str:
        """The first digits, to tell tokens apart."""
        return format_html("<code>{}…</code>", obj.prefix)

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> ApiToken:
        """Issue through the service and keep the secret for this answer."""
        user: Any = request.user
        token, secret = services.token_issue(user=user, **form.values())
        request.muster_secret = secret  # type: ignore[attr-defined]
        return token

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret here and now: a message would travel in a cookie."""
        context = {"secret": request.muster_secret, "back": self.link("changelist")}  # type: ignore[attr-defined]
        response = self.page(
            request, "admin/tenancy/token_issued.html", title=f"API token {obj.name}", **context
        )
        response["Cache-Control"] = "no-store"
        return response

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """To delete a token is to revoke it."""
        services.token_revoke(obj)
