"""People over REST: accounts, passwords, the address of each, roles, and members' tokens (OpenWISP spec, 1B.10)."""

from typing import Any, ClassVar

from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from django.http import Http404
from django_filters import rest_framework as filters
from rest_framework import mixins, status
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from core.wake import ring
from tenancy import people, services, tasks
from tenancy.api import base, entry
from tenancy.api import people_serializers as shapes
from tenancy.api.filters import visible_organizations
from tenancy.api.list_filters import Search, StableOrdering
from tenancy.api.permissions import TenantPermission
from tenancy.api.problems import worded_for
from tenancy.api.throttling import AddressThrottle
from tenancy.authority import (
    MEMBER_TOKEN,
    memberships_managed_by,
    people_visible_to,
    tokens_of_member,
)
from tenancy.links import link_path, may_send
from tenancy.models import ApiToken, Organization, Role, User

ASKED = "If this account exists and has an e-mail address, a link to set a new password is on its way."
_CHANGED = base.said("The password was changed.")
_LOCKED = base.said("Too many wrong passwords from this address.")


def _kept(request: Request) -> ApiToken | None:
    """Return the token a request came with: the one that outlives a change of one's own password."""
    token: Any = request.auth
    return token if isinstance(token, ApiToken) else None


def _stay_signed_in(request: Request, person: Any) -> None:
    """Let the session of this request go on after a change of one's own password."""
    if request.auth is None:
        update_session_auth_hash(request, person)


class AccountPermission(TenantPermission):
    """Asks the policy whether one may at all; the services decide about the person."""

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        """Leave it to `tenancy.authority`, which every service asks."""
        return True


class PeopleView(base.TenantView):
    """The people of the organizations the caller manages."""

    model: Any = User
    permission_classes = (IsAuthenticated, AccountPermission)
    serializer_class: Any = shapes.PersonSerializer

    def get_queryset(self) -> QuerySet[User]:
        """Return them newest first."""
        return people_visible_to(self.request.user).order_by("-date_joined", "id")

    def answer(self, person: User, *, code: int = status.HTTP_200_OK, **more: Any) -> Response:
        """Print a person as the database has them now; who just left has nothing more to show."""
        fresh = User.objects.prefetch_related("memberships__organization").get(pk=person.pk)
        body = shapes.PersonSerializer(fresh, context=self.get_serializer_context()).data
        return Response(
            {**body, **more}, status=code, headers={"Cache-Control": "no-store"} if more else None
        )


class PersonFilter(filters.FilterSet):
    """What people look for among people."""

    organization = filters.ModelChoiceFilter(queryset=visible_organizations, method="in_organization")
    role = filters.ChoiceFilter(choices=Role.choices, method="in_role")
    is_active = filters.BooleanFilter()
    is_staff = filters.BooleanFilter()
    is_superuser = filters.BooleanFilter()
    username = filters.CharFilter()
    # Not the address: that of some people is not for everyone who may list them.
    search = Search("username", "first_name", "last_name")
    ordering = StableOrdering(fields=("username", "first_name", "last_name", "date_joined"))

    def _members(self, people_: QuerySet[User], **wanted: Any) -> QuerySet[User]:
        user: Any = self.request.user
        rows = memberships_managed_by(user).filter(**wanted)
        return people_.filter(pk__in=rows.values("user_id"))

    def in_organization(self, queryset: QuerySet[User], name: str, value: Organization) -> QuerySet[User]:
        """Keep the members of an organization the caller manages."""
        return self._members(queryset, organization=value)

    def in_role(self, queryset: QuerySet[User], name: str, value: str) -> QuerySet[User]:
        """Keep who has a role in an organization the caller manages."""
        return self._members(queryset, role=value)


class PersonListView(PeopleView, mixins.ListModelMixin):
    """People."""

    filterset_class: Any = PersonFilter

    def get_serializer_class(self) -> Any:
        """Read other fields than are shown."""
        return shapes.PersonCreateSerializer if self.request.method == "POST" else self.serializer_class

    @base.operation("users_user_list", {200: shapes.PersonSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List people, newest first."""
        return self.list(request)

    @base.operation(
        "users_user_create",
        {201: shapes.InvitedSerializer, **base.WRITE},
        request=shapes.PersonCreateSerializer,
    )
    def post(self, request: Request) -> Response:
        """Create a user; without a password the answer has the link by which they set one, and it is mailed."""
        sent = self.valid(self.get_serializer(data=request.data))
        wanted, password = sent.pop("organization_users", ()), sent.pop("password", None)
        caller: Any = request.user
        with worded_for(User):
            person = people.person_create(by=caller, memberships=wanted, password=password, **sent)
        link = None
        if password is None:
            link = request.build_absolute_uri(link_path(person))
            if person.email and may_send():
                ring(tasks.send_password_links, person.username)
        return self.answer(person, code=status.HTTP_201_CREATED, set_password_url=link)


class PersonDetailView(PeopleView):
    """One person."""

    @base.operation("users_user_read", {200: shapes.PersonSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one person."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation(
        "users_user_update",
        {200: shapes.PersonSerializer, **base.WRITE_ONE},
        request=shapes.PersonInputSerializer,
    )
    def put(self, request: Request, pk: str) -> Response:
        """Change a person."""
        return self._change(request, partial=False)

    @base.operation(
        "users_user_partial_update",
        {200: shapes.PersonSerializer, **base.WRITE_ONE},
        request=shapes.PersonInputSerializer,
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change some fields of a person; roles that are named are given, others stay."""
        return self._change(request, partial=True)

    @base.operation("users_user_delete", {204: None, 400: base.INVALID, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Delete a person with their memberships and tokens."""
        caller: Any = request.user
        people.person_delete(self.get_object(), by=caller)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, partial: bool) -> Response:
        person, caller = self.get_object(), request.user
        context = self.get_serializer_context()
        serializer = shapes.PersonInputSerializer(person, data=request.data, partial=partial, context=context)
        sent = self.valid(serializer)
        wanted = sent.pop("organization_users", ())
        with worded_for(User):
            people.person_update(person, by=caller, memberships=wanted, **sent)  # type: ignore[arg-type]
        return self.answer(person)


class PersonPasswordView(PeopleView):
    """The password of a person."""

    serializer_class = shapes.PasswordSerializer

    @base.operation("users_user_password", {200: _CHANGED, **base.WRITE_ONE, 429: _LOCKED})
    def put(self, request: Request, pk: str) -> Response:
        """Set somebody's password; their sessions and tokens end. One's own needs the current one."""
        person, caller = self.get_object(), request.user
        sent = self.valid(self.get_serializer(data=request.data))
        if person.pk == caller.pk:
            entry.own_password_check(request, sent.get("current_password") or "", field="old_password")
        with worded_for(User):
            people.password_set(
                person,
                by=caller,  # type: ignore[arg-type]
                password=sent["new_password"],
                old_password=sent.get("current_password"),
                keep=_kept(request) if person.pk == caller.pk else None,
            )
        if person.pk == caller.pk:
            _stay_signed_in(request, person)
        return Response({"detail": "The password was changed."})


class OwnPasswordView(base.ApiView):
    """The caller's own password."""

    model: ClassVar = User
    serializer_class = shapes.OwnPasswordSerializer

    @base.operation("users_password_change", {200: _CHANGED, **base.WRITE, 429: _LOCKED})
    def post(self, request: Request) -> Response:
        """Change one's own password; all other sessions and tokens end."""
        sent, caller = self.valid(self.get_serializer(data=request.data)), request.user
        entry.own_password_check(request, sent["old_password"], field="old_password")
        with worded_for(User):
            people.password_set(
                caller,  # type: ignore[arg-type]
                by=caller,  # type: ignore[arg-type]
                password=sent["new_password1"],
                field="new_password1",
                old_password=sent["old_password"],
                keep=_kept(request),
            )
        _stay_signed_in(request, caller)
        return Response({"detail": "The password was changed."})


_OPEN: dict[Any, Any] = {
    200: base.said("It was done, or nobody was there to do it for."),
    **{code: base.WRITE[code] for code in (400, 413, 415)},
    429: base.said("Too many attempts from this address."),
}


class _Open(base.ApiView):
    """What people need who cannot sign in."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)
    throttle_scope = "token"


class ResetView(_Open):
    """A link to set a new password."""

    serializer_class = shapes.ResetSerializer

    @base.operation("users_password_reset", _OPEN, auth=[])
    def post(self, request: Request) -> Response:
        """Ask for a link by e-mail; the answer does not tell whether the account exists."""
        sent = self.valid(self.get_serializer(data=request.data))
        ring(tasks.send_password_links, sent.get("input") or sent["email"])
        return Response({"detail": ASKED})


class ResetConfirmView(_Open):
    """The new password of who followed a link."""

    serializer_class = shapes.ResetConfirmSerializer

    @base.operation("users_password_reset_confirm", _OPEN, auth=[])
    def post(self, request: Request) -> Response:
        """Set the password with `uid` and `token` of a link; all sessions and tokens of the person end."""
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(User):
            people.password_confirm(uid=sent["uid"], token=sent["token"], password=sent["new_password1"])
        return Response({"detail": "The password was changed."})


class _MemberTokens(PeopleView):
    """The tokens of a member, for the owners of all organizations they work in."""

    model: Any = MEMBER_TOKEN
    serializer_class = shapes.MemberTokenSerializer

    def get_queryset(self) -> QuerySet[User]:
        """Return the people whose tokens the caller may look for."""
        return people_visible_to(self.request.user, label=MEMBER_TOKEN)

    def tokens(self) -> QuerySet[ApiToken]:
        """Return the tokens of the person in the path. Raises Forbidden."""
        return tokens_of_member(self.request.user, self.get_object())


class MemberTokenListView(_MemberTokens):
    """A member's tokens."""

    @base.operation("users_member_token_list", {200: shapes.MemberTokenSerializer(many=True), **base.LIST})
    def get(self, request: Request, pk: str) -> Response:
        """List names, first digits and last use of a member's tokens."""
        page = self.paginate_queryset(self.tokens())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class MemberTokenDetailView(_MemberTokens):
    """One token of a member."""

    @base.operation("users_member_token_revoke", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str, token: str) -> Response:
        """Revoke a member's token at once."""
        found = self.tokens().filter(pk=token).first()
        if found is None:
            raise Http404
        services.token_revoke(found)
        return Response(status=status.HTTP_204_NO_CONTENT)
