"""`ordering` and `search` of REST lists.

Invariant: an order is total (the id is its last key), so that no row is on two pages or on none.
"""

from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from core.pages import Order, ordered
from core.search import LONGEST

MOST_WORDS = 10


def order_of(request: Request, fields: dict[str, str]) -> list[tuple[str, bool]]:
    """Return the order a request asks for as column and direction, empty for none. Raises ValidationError.

    `fields` gives the column of every name one may order by.
    """
    asked = [part.strip() for part in request.query_params.get("ordering", "").split(",")]
    order: dict[str, bool] = {}
    for name in filter(None, asked):
        column = fields.get(name.removeprefix("-"))
        if column is None:
            choices = ", ".join(fields)
            raise ValidationError({"ordering": [f"Lists are ordered by: {choices}; with “-” descending."]})
        order.setdefault(column, name.startswith("-"))
    return total(list(order.items())) if order else []


def total(order: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Add the id as last key, in the direction of the indexes: with the key before it, against it after `created`."""
    name, descends = order[-1]
    return [*order, ("id", descends != (name == "created"))]


def words_of(request: Request) -> list[str]:
    """Return the words of `search`, in lower case. Raises ValidationError."""
    text = request.query_params.get("search", "")
    if "\x00" in text:
        raise ValidationError({"search": ["Null characters are not allowed."]})
    words = list(dict.fromkeys(text.lower().split()))
    if len(words) > MOST_WORDS:
        raise ValidationError({"search": [f"Search for at most {MOST_WORDS} words."]})
    return words


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }


class OrderingBackend(BaseFilterBackend):
    """`?ordering=name,-created` by the view's `ordering_fields`, a mapping of names to columns."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        """Return the rows in the order asked for, or in the view's own."""
        fields = getattr(view, "ordering_fields", None)
        order: Order = order_of(request, fields) if fields else ()
        return ordered(queryset, order) if order else queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the documentation of the parameter."""
        fields = getattr(view, "ordering_fields", None)
        if not fields:
            return []
        return [
            _parameter(
                "ordering",
                f"Comma-separated, “-” for descending: {', '.join(f'`{name}`' for name in fields)}.",
            )
        ]


class SearchBackend(BaseFilterBackend):
    """`?search=one two`: every word in any of the view's `search_fields`, whatever the case."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        """Return the rows that have all words."""
        fields = getattr(view, "search_fields", ())
        for word in words_of(request) if fields else ():
            if len(word) > LONGEST:
                return queryset.none()
            either = Q(*((f"{name}__icontains", word) for name in fields), _connector=Q.OR)
            # By keys, since a row with several related rows would come several times.
            queryset = queryset.filter(pk__in=queryset.model._default_manager.filter(either).values("pk"))
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the documentation of the parameter."""
        fields = getattr(view, "search_shown", getattr(view, "search_fields", ()))
        if not fields:
            return []
        return [
            _parameter("search", f"Words that all occur in: {', '.join(f'`{name}`' for name in fields)}.")
        ]
