"""The audit trail over REST: to read only."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenancy.api import base
from tenancy.api.filters import MomentFilter, TenantFilter
from tenancy.api.list_filters import Search, StableOrdering
from tenancy.models import AuditEvent
from tenancy.queries import audit_events_visible_to


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    """What was done: `changes` has [before, after] by field; number and seal come a moment later."""

    organization = serializers.UUIDField(source="organization_id", read_only=True, allow_null=True)

    class Meta:
        model = AuditEvent
        fields = (
            "id", "created", "organization", "actor_id", "actor_name", "via", "address", "request_id", "reason",
            "action", "target_type", "target_id", "target_name", "changes", "sequence", "seal",
        )  # fmt: skip
        read_only_fields = fields


class AuditFilter(TenantFilter):
    """What people look for in the trail; `actor` is an id or a name."""

    created__lte = MomentFilter(field_name="created", lookup_expr="lte")
    actor = filters.CharFilter(method="by_actor")
    action = filters.CharFilter()
    target_type = filters.CharFilter()
    target_id = filters.CharFilter()
    request_id = filters.CharFilter()
    via = filters.CharFilter()
    search = Search("actor_name", "action", "target_name", "reason")
    ordering = StableOrdering(fields=("created", "action", "actor_name", "sequence"))

    def by_actor(self, queryset: QuerySet[AuditEvent], name: str, value: str) -> QuerySet[AuditEvent]:
        """Keep what one actor did."""
        try:
            return queryset.filter(actor_id=UUID(value))
        except ValueError:
            return queryset.filter(actor_name=value)


class _Events(base.TenantView):
    """What happened in the organizations whose trail the caller may read."""

    model = AuditEvent
    serializer_class = AuditEventSerializer

    def get_queryset(self) -> QuerySet[AuditEvent]:
        """Return it newest first."""
        return audit_events_visible_to(self.request.user)


class AuditListView(_Events, mixins.ListModelMixin):
    """The audit trail."""

    filterset_class: Any = AuditFilter

    @base.operation("users_audit_list", {200: AuditEventSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List what was done, newest first."""
        return self.list(request)


class AuditDetailView(_Events):
    """One event."""

    @base.operation("users_audit_read", {200: AuditEventSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one event."""
        return Response(self.get_serializer(self.get_object()).data)
