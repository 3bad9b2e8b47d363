"""Memberships over REST: who works in which organization, as what."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from rest_framework import mixins, status
from rest_framework.request import Request
from rest_framework.response import Response

from tenancy import people
from tenancy.api import base
from tenancy.api import people_serializers as shapes
from tenancy.api.filters import TenantFilter
from tenancy.api.list_filters import Search, StableOrdering
from tenancy.api.problems import worded_for
from tenancy.authority import memberships_managed_by, people_visible_to
from tenancy.models import Membership, Organization, Role
from tenancy.queries import organizations_visible_to


def _people(request: Any) -> Any:
    return people_visible_to(request.user).prefetch_related(None)


class MembershipFilter(TenantFilter):
    """What people look for among memberships."""

    user = filters.ModelChoiceFilter(queryset=_people)
    role = filters.ChoiceFilter(choices=Role.choices)
    can_reveal = filters.BooleanFilter()
    username = filters.CharFilter(field_name="user__username")
    search = Search("user__username", "user__first_name", "user__last_name")
    ordering = StableOrdering(fields=("created", "modified", "role", ("user__username", "username")))


class _Memberships(base.TenantView):
    """The memberships of the organizations the caller manages."""

    model = Membership
    serializer_class: Any = shapes.MembershipSerializer

    def get_queryset(self) -> QuerySet[Membership]:
        """Return them newest first."""
        return memberships_managed_by(self.request.user).order_by("-created", "id")

    def create(self, sent: dict[str, Any]) -> Response:
        """Add a member and print the membership."""
        with worded_for(Membership):
            row = people.member_add(by=self.request.user, **sent)  # type: ignore[arg-type]
        return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)

    def change(self, row: Membership) -> Response:
        """Give a member another role and print the membership."""
        partial = self.request.method == "PATCH"
        context = self.get_serializer_context()
        sent = self.valid(
            shapes.MembershipChangeSerializer(row, data=self.request.data, partial=partial, context=context)
        )
        with worded_for(Membership):
            row = people.member_set(
                by=self.request.user,  # type: ignore[arg-type]
                user=row.user,
                organization=row.organization,
                role=sent.get("role", row.role),
                can_reveal=sent.get("can_reveal"),
            )
        return Response(self.get_serializer(row).data)

    def end(self, row: Membership) -> Response:
        """Take a member out at once."""
        people.member_remove(row, by=self.request.user)  # type: ignore[arg-type]
        return Response(status=status.HTTP_204_NO_CONTENT)


class MembershipListView(_Memberships, mixins.ListModelMixin):
    """Memberships."""

    filterset_class: Any = MembershipFilter

    @base.operation("users_membership_list", {200: shapes.MembershipSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List memberships, newest first."""
        return self.list(request)

    @base.operation("users_membership_create", {201: shapes.MembershipSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Make somebody one knows a member of an organization one manages."""
        return self.create(self.valid(self.get_serializer(data=request.data)))


class MembershipDetailView(_Memberships):
    """One membership."""

    @base.operation("users_membership_read", {200: shapes.MembershipSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one membership."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation(
        "users_membership_partial_update",
        {200: shapes.MembershipSerializer, **base.WRITE_ONE},
        request=shapes.MembershipChangeSerializer,
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change the role, or the right to reveal."""
        return self.change(self.get_object())

    @base.operation("users_membership_delete", {204: None, 400: base.INVALID, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Take a member out of the organization at once."""
        return self.end(self.get_object())


class _Members(_Memberships):
    """The members of the organization in the path."""

    serializer_class = shapes.MemberSerializer

    def organization(self) -> Organization:
        """Return it, if the caller's role there is strong enough."""
        found = get_object_or_404(organizations_visible_to(self.request.user), pk=self.kwargs["pk"])
        self.check_object_permissions(self.request, found)
        return found

    def get_queryset(self) -> QuerySet[Membership]:
        """Return its memberships, newest first."""
        return super().get_queryset().filter(organization_id=self.kwargs.get("pk"))

    def member(self) -> Membership:
        """Return the membership in the path."""
        organization = self.organization()
        return get_object_or_404(self.get_queryset(), organization=organization, pk=self.kwargs["membership"])


class MemberListView(_Members, mixins.ListModelMixin):
    """Members of an organization."""

    filterset_class: Any = MembershipFilter

    @base.operation("users_member_list", {200: shapes.MemberSerializer, **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List the members of an organization, newest first."""
        self.organization()
        return self.list(request)

    @base.operation("users_member_create", {201: shapes.MemberSerializer, **base.WRITE_ONE})
    def post(self, request: Request, pk: str) -> Response:
        """Make somebody one knows a member of the organization."""
        organization = self.organization()
        sent = self.valid(self.get_serializer(data=request.data))
        return self.create({**sent, "organization": organization})


class MemberDetailView(_Members):
    """A member of an organization."""

    @base.operation("users_member_read", {200: shapes.MemberSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str, membership: str) -> Response:
        """Show a member of the organization."""
        return Response(self.get_serializer(self.member()).data)

    @base.operation(
        "users_member_partial_update",
        {200: shapes.MemberSerializer, **base.WRITE_ONE},
        request=shapes.MembershipChangeSerializer,
    )
    def patch(self, request: Request, pk: str, membership: str) -> Response:
        """Change the role of a member, or the right to reveal."""
        return self.change(self.member())

    @base.operation("users_member_delete", {204: None, 400: base.INVALID, **base.READ_ONE})
    def delete(self, request: Request, pk: str, membership: str) -> Response:
        """Take a member out of the organization at once."""
        return self.end(self.member())
