"""Roles over REST, in the shape of groups with permissions (OpenWISP spec, 1B.10)."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from tenancy.api import base
from tenancy.api import people_serializers as shapes
from tenancy.models import Organization, Role
from tenancy.policy import ACTIONS, allows, labels


def role_groups() -> list[dict[str, Any]]:
    """Return the roles with everything they may do ("devices.change_device")."""
    return [
        {"id": number, "name": Role(role).label, "permissions": _permissions(role)}
        for role, number in shapes.GROUP_IDS.items()
    ]


def _permissions(role: str) -> list[str]:
    rules = ((label.partition("."), action) for label in labels() for action in ACTIONS)
    return sorted(
        f"{app}.{action}_{model}"
        for (app, dot, model), action in rules
        if allows(role, action, f"{app}{dot}{model}")
    )


class _Groups(base.TenantView):
    """Roles: they are part of the product and the same everywhere."""

    model = Organization
    serializer_class = shapes.RoleGroupSerializer

    def get_queryset(self) -> QuerySet[Organization]:
        """Return nothing: roles are no rows."""
        return Organization.objects.none()


class GroupListView(_Groups):
    """Roles, in the shape of groups."""

    @base.operation("users_group_list", {200: shapes.RoleGroupSerializer(many=True), **base.LIST})
    def get(self, request: Request) -> Response:
        """List roles, the strongest first."""
        rows: Any = role_groups()
        return self.get_paginated_response(self.paginate_queryset(rows))


class GroupDetailView(_Groups):
    """One role."""

    @base.operation("users_group_read", {200: shapes.RoleGroupSerializer, **base.READ_ONE})
    def get(self, request: Request, number: str) -> Response:
        """Show one role."""
        for group in role_groups():
            if group["id"] == int(number):
                return Response(group)
        raise Http404
