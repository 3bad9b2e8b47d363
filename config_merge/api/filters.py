"""Filters of devices, templates and groups (OpenWISP spec, sections 1B.1, 1B.2 and 1B.4)."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field

from config_merge.models import Backend, Status, Template
from config_merge.queries import templates_visible_to
from devices.models import Device, DeviceGroup
from devices.queries import groups_visible_to
from tenancy.api.filters import MomentFilter, TenantFilter


def visible_templates(request: Any) -> QuerySet[Template]:
    """Return the templates a request may filter by."""
    return templates_visible_to(request.user) if request is not None else Template.objects.none()


def visible_groups(request: Any) -> QuerySet[DeviceGroup]:
    """Return the groups a request may filter by."""
    return groups_visible_to(request.user) if request is not None else DeviceGroup.objects.none()


@extend_schema_field({"type": "string"})
class PlaceFilter(filters.ChoiceFilter):
    """The id of a place. No device has one yet, so every id is unknown."""

    def __init__(self) -> None:
        super().__init__(choices=())


class DeviceFilter(TenantFilter):
    """What people look for among devices; all given filters apply together."""

    name = filters.CharFilter(lookup_expr="icontains")
    mac_address = filters.CharFilter(method="by_mac_address")
    config__status = filters.ChoiceFilter(choices=Status.choices)
    config__backend = filters.ChoiceFilter(choices=Backend.choices)
    config__templates = filters.ModelChoiceFilter(queryset=visible_templates)
    group = filters.ModelChoiceFilter(queryset=visible_groups)
    group__isnull = filters.BooleanFilter(field_name="group", lookup_expr="isnull")
    is_deactivated = filters.BooleanFilter()
    model = filters.CharFilter()
    os = filters.CharFilter()
    last_seen__gte = MomentFilter(field_name="last_seen", lookup_expr="gte")
    last_seen__lt = MomentFilter(field_name="last_seen", lookup_expr="lt")
    with_geo = filters.BooleanFilter(method="by_having_a_place")
    location = PlaceFilter()
    location__name = filters.CharFilter(method="by_name_of_place")
    floorplan = PlaceFilter()

    def by_having_a_place(self, queryset: QuerySet[Device], _name: str, value: bool) -> QuerySet[Device]:
        """Find nothing among devices with a place, and all among those without."""
        return queryset.none() if value else queryset

    def by_name_of_place(self, queryset: QuerySet[Device], _name: str, _value: str) -> QuerySet[Device]:
        """Find nothing."""
        return queryset.none()

    def by_mac_address(self, queryset: QuerySet[Device], _name: str, value: str) -> QuerySet[Device]:
        """Find a part of a MAC address, written with colons, with dashes or with neither."""
        return queryset.filter(text__mac__contains=value.lower().replace("-", ":"))


class TemplateFilter(TenantFilter):
    """What people look for among templates."""

    backend = filters.ChoiceFilter(choices=Backend.choices)
    type = filters.ChoiceFilter(choices=Template.Type.choices)
    default = filters.BooleanFilter()
    required = filters.BooleanFilter()


class GroupFilter(TenantFilter):
    """What people look for among groups; `empty` ones have no devices."""

    empty = filters.BooleanFilter(field_name="devices", lookup_expr="isnull", distinct=True)
