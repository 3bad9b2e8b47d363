"""The audit trail in the admin: to read only, with each change as a line of before and after."""

import json
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from tenancy.admin_base import ScopedAdmin
from tenancy.admin_filters import OrganizationFilter
from tenancy.models import AuditEvent
from tenancy.queries import audit_events_visible_to

NOTHING = "–"


def value_text(value: Any) -> str:
    """Return a stored value for reading.

    >>> value_text(None), value_text(True), value_text("a"), value_text({"b": 1})
    ('–', 'true', 'a', '{"b": 1}')
    """
    if value in (None, ""):
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def changes_table(changes: Any) -> SafeString | str:
    """Return changes as a table; whatever stands in the column is shown as text."""
    if not isinstance(changes, dict) or not changes:
        return NOTHING
    pairs = (
        (name, pair if isinstance(pair, list) and len(pair) == 2 else [None, pair])
        for name, pair in changes.items()
    )
    rows = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td class="mu-audit__before">{}</td><td class="mu-audit__after">{}</td></tr>',
        ((name, value_text(before), value_text(after)) for name, (before, after) in pairs),
    )
    head = '<thead><tr><th scope="col">Field</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>'
    return format_html('<div class="mu-audit"><table>' + head + "<tbody>{}</tbody></table></div>", rows)


@admin.register(AuditEvent)
class AuditEventAdmin(ScopedAdmin):
    """Who did what, newest first."""

    list_display = ("created", "actor_name", "action", "target", "organization", "via", "sealed")
    list_display_links = ("created", "action")
    list_filter = (OrganizationFilter,)
    list_select_related = ("organization",)
    search_fields = ("actor_name", "action", "target_name", "reason", "request_id")
    ordering = ("-created", "id")
    actions = None
    fieldsets = (
        (None, {"fields": ("created", "action", "target", "target_id", "organization", "reason")}),
        ("Changes", {"fields": ("shown_changes",)}),
        ("Who", {"fields": ("actor_name", "actor_id", "via", "address", "request_id")}),
        ("Chain", {"fields": ("sequence", "shown_seal")}),
    )
    readonly_fields = ("target", "shown_changes", "shown_seal")

    class Media:
        css = {"all": ("tenancy/audit.css",)}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return what happened where the user may read the trail."""
        return audit_events_visible_to(request.user).order_by(*self.ordering)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only services write it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """It stays as it was written."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """It stays."""
        return False

    @display(description="Object", ordering="target_name")
    def target(self, obj: Any) -> str:
        """What it was done to, by the name it had then."""
        return f"{obj.target_type} {obj.target_name}".strip() or NOTHING

    @display(description="Sealed", boolean=True)
    def sealed(self, obj: Any) -> bool:
        """Whether the chain holds it."""
        return obj.sequence is not None

    @display(description="Seal")
    def shown_seal(self, obj: Any) -> SafeString | str:
        """What ties it to the event before; long, so it may break."""
        return format_html('<code class="mu-audit__seal">{}</code>', obj.seal) if obj.seal else NOTHING

    @display(description="Changes")
    def shown_changes(self, obj: Any) -> SafeString | str:
        """Before and after, by field."""
        return changes_table(obj.changes)
