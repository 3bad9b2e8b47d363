"""The filters of the device list.

Invariant: choices are what the user may see, and any other value finds nothing.
"""

from typing import Any

from django.db import models
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from config_merge.admin.forms import offered_templates
from config_merge.models import Backend, Status
from devices.queries import groups_visible_to
from tenancy.admin_filters import ScopedChoiceFilter

NO_CONFIG = "none"


class StatusFilter(DropdownFilter):
    """By the status of the configuration."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all statuses, and the lack of one."""
        return [*Status.choices, (NO_CONFIG, "No configuration")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Keep what matches; nothing matches an unknown value."""
        value = self.value()
        if not value:
            return queryset
        return (
            queryset.filter(config__isnull=True)
            if value == NO_CONFIG
            else queryset.filter(config__status=value)
        )


class BackendFilter(DropdownFilter):
    """By the renderer."""

    title = "backend"
    parameter_name = "backend"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return all backends."""
        return list(Backend.choices)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Keep what matches."""
        return queryset.filter(config__backend=self.value()) if self.value() else queryset


class GroupFilter(ScopedChoiceFilter):
    """By device group."""

    title = "group"
    parameter_name = "group"
    field_name = "group"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the groups one may see."""
        return groups_visible_to(request.user).only("pk", "name").select_related(None).order_by("name", "pk")


class TemplateFilter(ScopedChoiceFilter):
    """By template."""

    title = "template"
    parameter_name = "template"
    field_name = "config__templates"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the templates one may see."""
        return offered_templates(request.user).select_related(None)
