"""Searching and ordering lists, always in a stable order."""

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters


class StableOrdering(filters.OrderingFilter):
    """`ordering=name,-created`; equal rows stay in the order of their ids."""

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Order the rows."""
        if not value:
            return qs
        return qs.order_by(*(self.get_ordering_value(name) for name in value), "pk")


class Search(filters.CharFilter):
    """`search=words`: every word stands in one of the columns."""

    def __init__(self, *columns: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = columns

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Keep the rows in which every word occurs."""
        for word in str(value or "").split()[:8]:
            found = Q()
            for column in self.columns:
                found |= Q(**{f"{column}__icontains": word})
            qs = qs.filter(found)
        return qs
