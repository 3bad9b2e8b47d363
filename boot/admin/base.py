"""What the pages of this room share: the ways between them, and what an empty list says."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from tenancy.admin_base import ScopedAdmin
from tenancy.models import ApiKey
from tenancy.queries import roles_of

Ways = list[tuple[str, str, bool]]


def key_shown(key: ApiKey) -> str:
    """Return an API key's name, and how it is told from another one of that name."""
    over = ' <span class="mu-badge mu-badge--none">revoked</span>' if key.revoked_at is not None else ""
    return format_html('<span title="{}">{}</span>{}', f"API key {key.key_id}", key.name, mark_safe(over))  # noqa: S308


class BootAdmin(ScopedAdmin):
    """The base of the lists: `ways` lead to the neighbouring pages, `empty_title` and `empty_text` say what to do."""

    list_before_template = "admin/boot/_list_head.html"
    empty_title = ""
    empty_text = ""
    add_label = ""

    class Media:
        css = {"all": ("boot/boot.css",)}

    def ways(self, request: HttpRequest) -> list[tuple[str, str, str]]:
        """Return the neighbouring pages this person may open: name, title, address."""
        return []

    def nav(self, request: HttpRequest, here: str) -> Ways:
        """Return them with the mark of the page one is on."""
        return [(title, link, name == here) for name, title, link in self.ways(request)]

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        """Leave out the organization for who has only one."""
        user: Any = request.user
        several = user.is_superuser or len(roles_of(user)) > 1
        return [name for name in super().get_list_display(request) if several or name != "organization"]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Add the ways, and what an empty list says."""
        own = {
            "nav": self.nav(request, "list"),
            "empty_title": self.empty_title,
            "empty_text": self.empty_text,
            "may_add": self.has_add_permission(request),
            "add_label": self.add_label or f"Add {self.opts.verbose_name}",
        }
        return super().changelist_view(request, {**own, **(extra_context or {})})
