"""A person's own sessions over REST: where they are signed in, and ending that."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from tenancy.api import base
from tenancy.sign_in import sessions
from tenancy.sign_in.browsers import browser_in_words
from tenancy.sign_in.models import SignInSession


class SessionSerializer(serializers.ModelSerializer[SignInSession]):
    """A session, without anything that would open it."""

    browser = serializers.SerializerMethodField()
    current = serializers.SerializerMethodField()

    class Meta:
        model = SignInSession
        fields = ("id", "browser", "address", "current", "last_seen_at", "created")

    def get_browser(self, row: SignInSession) -> str:
        """Return the browser in words."""
        return browser_in_words(row.user_agent)

    def get_current(self, row: SignInSession) -> bool:
        """Tell whether the request came by this session."""
        return sessions.is_current(row, self.context["request"])


class SignOutSerializer(serializers.Serializer[Any]):
    """What "sign out everywhere" ends besides sessions."""

    tokens = serializers.BooleanField(default=False, help_text="Revoke all API tokens too.")


class SignedOutSerializer(serializers.Serializer[Any]):
    """How much has ended."""

    sessions = serializers.IntegerField(read_only=True)
    tokens = serializers.IntegerField(read_only=True)


class _OwnSessions(base.ApiView):
    """A person's own sessions; other people's do not exist for them, whatever their role."""

    model: ClassVar = SignInSession
    serializer_class: Any = SessionSerializer

    def get_queryset(self) -> QuerySet[SignInSession]:
        """Return where the caller is signed in, last used first."""
        if self.request is None or not self.request.user.is_authenticated:
            return SignInSession.objects.none()
        return sessions.sessions_of(self.request.user)


class SessionListView(_OwnSessions, mixins.ListModelMixin):
    """The caller's sessions in browsers."""

    @base.operation("users_session_list", {200: SessionSerializer, **base.LIST})
    def get(self, request: Request) -> Response:
        """List where the caller is signed in, last used first."""
        return self.list(request)


class SessionDetailView(_OwnSessions):
    """One of the caller's sessions."""

    @base.operation("users_session_revoke", {204: None, **base.READ_ONE})
    def delete(self, request: Request, pk: str) -> Response:
        """End a session at once."""
        sessions.session_revoke(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class SignOutView(_OwnSessions):
    """All of the caller's sessions."""

    serializer_class = SignOutSerializer

    @base.operation("users_session_sign_out_everywhere", {200: SignedOutSerializer, **base.WRITE})
    def post(self, request: Request) -> Response:
        """Sign out everywhere, of this session too; with `tokens`, revoke all API tokens as well."""
        sent = self.valid(self.get_serializer(data=request.data))
        user: Any = request.user
        ended, revoked = sessions.sign_out_everywhere(user=user, tokens=sent["tokens"])
        return Response({"sessions": ended, "tokens": revoked})
