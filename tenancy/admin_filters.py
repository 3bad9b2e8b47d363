"""Filters of lists whose choices are rows: those that the user may see, and no others.

Invariant: a value that is no choice finds nothing, so that it does not tell whether it exists.
"""

from typing import Any

from django.db import models
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from tenancy.queries import organizations_visible_to


class ScopedChoiceFilter(DropdownFilter):
    """A filter whose choices are rows the user may see; any other value finds nothing."""

    field_name = ""

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the rows to choose from."""
        raise LookupError("a filter must name its rows")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return keys and names."""
        return [(str(row.pk), str(row)) for row in self.rows(request)]

    def has_output(self) -> bool:
        """Without choices there is nothing to show, but a value in the address still counts."""
        return bool(self.lookup_choices) or bool(self.value())

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Keep the rows that point at the chosen one."""
        value = self.value()
        if not value:
            return queryset
        if value not in {key for key, _ in self.lookup_choices}:
            return queryset.none()
        return queryset.filter(**{self.field_name: value})


class OrganizationFilter(ScopedChoiceFilter):
    """By organization; pointless, so absent, for who has only one."""

    title = "organization"
    parameter_name = "organization"
    field_name = "organization"

    def rows(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Return the user's organizations."""
        return organizations_visible_to(request.user)

    def has_output(self) -> bool:
        """One organization is no choice."""
        return len(self.lookup_choices) > 1 or bool(self.value())
