"""Filters every list of tenant-owned objects has. A value that names nothing the caller may see is a 400."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField

from tenancy.models import Notification, Organization
from tenancy.queries import organizations_visible_to


class MomentField(IsoDateTimeField):
    """An ISO 8601 moment that every database can hold."""

    def clean(self, value: Any) -> datetime | None:
        """Return the moment in UTC; raises ValidationError for what lies outside the calendar."""
        try:
            moment = super().clean(value)
            return moment.astimezone(UTC) if moment else None
        except (OverflowError, ValueError) as error:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from error


class MomentFilter(django_filters.IsoDateTimeFilter):
    """Compares a time stamp."""

    field_class = MomentField


def visible_organizations(request: Any) -> QuerySet[Organization]:
    """Return the organizations a request may filter by."""
    return organizations_visible_to(request.user) if request is not None else Organization.objects.none()


class TenantFilter(filters.FilterSet):
    """`organization`, `organization_slug`, `created`, `created__gte`, `created__lt`."""

    organization = filters.ModelChoiceFilter(queryset=visible_organizations)
    organization_slug = filters.CharFilter(field_name="organization__slug")
    created = MomentFilter(field_name="created")
    created__gte = MomentFilter(field_name="created", lookup_expr="gte")
    created__lt = MomentFilter(field_name="created", lookup_expr="lt")


class NotificationFilter(TenantFilter):
    """What people look for among notifications."""

    level = filters.ChoiceFilter(choices=Notification.Level.choices)
    kind = filters.CharFilter()
    is_read = filters.BooleanFilter()
