"""Tokens, organizations and notifications over REST (OpenWISP spec, sections 0 and 1B.10)."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework import mixins, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from tenancy import services
from tenancy.api import base, entry, serializers
from tenancy.api.filters import NotificationFilter
from tenancy.api.problems import worded_for
from tenancy.api.throttling import AddressThrottle
from tenancy.models import ApiToken, Notification, Organization
from tenancy.organizations import organization_remove
from tenancy.queries import api_tokens_of, notifications_visible_to, organizations_visible_to
from tenancy.sign_in.tokens import sign_in_token_issue


class TokenView(base.ApiView):
    """Sign in by username or e-mail address and get a bearer token."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (AddressThrottle,)
    throttle_scope = "token"
    serializer_class = serializers.SignInSerializer

    @base.operation(
        "users_token_create",
        {
            200: serializers.TokenSerializer,
            **{code: base.WRITE[code] for code in (400, 413, 415)},
            429: base.said("Too many attempts from this address, or too many failures."),
        },
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Issue a token; wrong credentials are told as `non_field_errors`, a code that is missing or wrong as `otp`."""
        credentials = self.valid(self.get_serializer(data=request.data))
        user = entry.let_in(request, credentials)
        return Response({"token": sign_in_token_issue(user=user)})


class _OwnTokens(base.ApiView):
    """A person's own tokens; other people's do not exist for them, whatever their role."""

    model: ClassVar = ApiToken

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Return the caller's tokens that were not revoked."""
        if self.request is None or not self.request.user.is_authenticated:
            return ApiToken.objects.none()
        return api_tokens_of(self.request.user)


class ApiTokenListView(_OwnTokens, mixins.ListModelMixin):
    """The caller's API tokens."""

    serializer_class = serializers.ApiTokenSerializer

    @base.operation("users_api_token_list", {200: serializers.ApiTokenSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List the caller's tokens, newest first."""
        return self.list(request)

    @base.operation(
        "users_api_token_create",
        {201: serializers.IssuedTokenSerializer, **base.WRITE},
        request=serializers.ApiTokenSerializer,
    )
    def post(self, request: Request) -> Response:
        """Create a token; its secret is in this answer and nowhere else."""
        sent = self.valid(self.get_serializer(data=request.data))
        user: Any = request.user
        with worded_for(ApiToken):
            token, secret = services.token_issue(user=user, **sent)
        body = {**serializers.ApiTokenSerializer(token).data, "token": secret}
        return Response(body, status=status.HTTP_201_CREATED)


class ApiTokenDetailView(_OwnTokens):
    """One of the caller's API tokens."""

    serializer_class = serializers.TokenNameSerializer

    @base.operation("users_api_token_read", {200: serializers.ApiTokenSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one token."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("users_api_token_rename", {200: serializers.ApiTokenSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Rename a token; its expiry is fixed."""
        token = self.get_object()
        sent = self.valid(self.get_serializer(token, data=request.data, partial=True))
        with worded_for(ApiToken):
            services.token_rename(token, name=sent.get("name", token.name))
        return Response(self.get_serializer(token).data)

    @base.operation("users_api_token_revoke", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """Revoke a token at once."""
        services.token_revoke(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class OrganizationListView(base.TenantView, mixins.ListModelMixin):
    """The organizations the caller belongs to."""

    model = Organization
    serializer_class = serializers.OrganizationSerializer
    search_fields: ClassVar = ("name", "slug", "description", "email")
    ordering_fields: ClassVar[dict[str, str]] = {
        name: name for name in ("name", "slug", "created", "modified")
    }

    def get_queryset(self) -> QuerySet[Organization]:
        """Return them newest first."""
        return organizations_visible_to(self.request.user).order_by("-created", "id")

    @base.operation("users_organization_list", {200: serializers.OrganizationSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List organizations."""
        return self.list(request)

    @base.operation("users_organization_create", {201: serializers.OrganizationSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Create an organization (superusers)."""
        sent = self.valid(self.get_serializer(data=request.data))
        with worded_for(Organization):
            organization = services.organization_create(**sent)
        return Response(self.get_serializer(organization).data, status=status.HTTP_201_CREATED)


class OrganizationDetailView(base.TenantView):
    """One organization."""

    model = Organization
    serializer_class = serializers.OrganizationDetailSerializer

    def get_queryset(self) -> QuerySet[Organization]:
        """Return the organizations the caller belongs to."""
        return organizations_visible_to(self.request.user)

    @base.operation(
        "users_organization_read", {200: serializers.OrganizationDetailSerializer, **base.READ_ONE}
    )
    def get(self, request: Request, pk: str) -> Response:
        """Show one organization."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation(
        "users_organization_update", {200: serializers.OrganizationDetailSerializer, **base.WRITE_ONE}
    )
    def put(self, request: Request, pk: str) -> Response:
        """Change an organization (owners and superusers)."""
        return self._change(request, partial=False)

    @base.operation(
        "users_organization_partial_update", {200: serializers.OrganizationDetailSerializer, **base.WRITE_ONE}
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Change some fields of an organization (owners and superusers)."""
        return self._change(request, partial=True)

    @base.operation(
        "users_organization_delete",
        {204: None, 400: base.INVALID, **base.READ_ONE},
        parameters=[OpenApiParameter("force", bool, description="also with devices that are still active")],
    )
    def delete(self, request: Request, pk: str) -> Response:
        """Delete an organization with everything in it (superusers)."""
        organization_remove(self.get_object(), force=request.query_params.get("force") == "true")
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, *, partial: bool) -> Response:
        organization = self.get_object()
        sent = self.valid(self.get_serializer(organization, data=request.data, partial=partial))
        with worded_for(Organization):
            services.organization_update(organization, **sent)
        return Response(self.get_serializer(organization).data)


class _Notifications(base.TenantView):
    """The notifications of the caller's organizations."""

    model = Notification
    serializer_class = serializers.NotificationSerializer

    def get_queryset(self) -> QuerySet[Notification]:
        """Return them newest first."""
        return notifications_visible_to(self.request.user).select_related(None)


class NotificationListView(_Notifications, mixins.ListModelMixin):
    """Notifications, newest first."""

    filterset_class: Any = NotificationFilter
    search_fields: ClassVar = ("message", "kind")
    ordering_fields: ClassVar[dict[str, str]] = {
        name: name for name in ("created", "modified", "level", "kind", "is_read")
    }

    @base.operation("users_notification_list", {200: serializers.NotificationSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List notifications."""
        return self.list(request)


class NotificationDetailView(_Notifications):
    """One notification."""

    @base.operation("users_notification_read", {200: serializers.NotificationSerializer, **base.READ_ONE})
    def get(self, request: Request, pk: str) -> Response:
        """Show one notification."""
        return Response(self.get_serializer(self.get_object()).data)

    @base.operation("users_notification_mark", {200: serializers.NotificationSerializer, **base.WRITE_ONE})
    def patch(self, request: Request, pk: str) -> Response:
        """Mark a notification read or unread, for everyone of the organization."""
        notification = self.get_object()
        sent = self.valid(self.get_serializer(notification, data=request.data, partial=True))
        if "is_read" in sent:
            services.notifications_mark(Notification.objects.filter(pk=notification.pk), **sent)
            notification.refresh_from_db()
        return Response(self.get_serializer(notification).data)
