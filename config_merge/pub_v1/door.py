"""Who comes in with which key, how often, and how a refusal is worded: plain text, never JSON.

Invariant: everything a view answers starts from the key's own organization, so what belongs to another is not found,
in the words for what does not exist.
"""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView, set_rollback

from core import rates
from core.net import client_address
from core.parsers import StrictJSONParser
from core.problems import translate
from tenancy.api_keys import api_key_of
from tenancy.models import ApiKey
from tenancy.policy import allows

BAD_KEY = "x-api-key header is not valid"
TOO_MANY = "Too Many Requests"
# 200 in any ten seconds, by the key and by where it comes from (seeds/003, "Timeouts and Errors").
LIMIT = rates.per_seconds(200, 10)
ACTIONS = {"POST": "change", "PUT": "change", "PATCH": "change", "DELETE": "delete"}


class KeyAuthentication(BaseAuthentication):
    """`x-api-key: <8 characters>.<secret>`."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey]:
        """Return the key and its user. Raises AuthenticationFailed in the same words for whatever is wrong."""
        key = api_key_of(request.headers.get("X-Api-Key", ""))
        if key is None:
            raise exceptions.AuthenticationFailed(BAD_KEY)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate, which turns a refusal into 401."""
        return "x-api-key"


class KeyScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document names it."""

    target_class = KeyAuthentication
    name = "cloudKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the security scheme."""
        return {"type": "apiKey", "in": "header", "name": "x-api-key"}


# What fields are called in this dialect.
MEMBERS = {"name": "name", "serial": "sn", "mac_address": "mac"}


class TooMany(exceptions.APIException):
    """The window is full; `wait` is in seconds."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    default_detail = TOO_MANY

    def __init__(self, wait: int) -> None:
        super().__init__()
        self.wait = wait


class KeyPermission(BasePermission):
    """Asks the policy what the key's user may do with the view's `kind`, now."""

    message = "You are not allowed to do this."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the role in the key's organization suffices; a read-only key only reads."""
        key: Any = request.auth
        if not hasattr(view, (request.method or "").lower()):
            return True  # for the view to answer 405
        action = view.actions.get(request.method, ACTIONS.get(request.method or "", "view"))
        return allows(key.role, action, view.kind) and not (key.read_only and action != "view")


def plain(status: int, text: str) -> HttpResponse:
    """Return an error as this dialect words it."""
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")


def answered(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Return the answer to what a view raised (DRF's exception handler); None is for what nobody expected."""
    set_rollback()
    if isinstance(error, ValidationError):
        return plain(400, _refusal(error))
    known = translate(error)
    if not isinstance(known, exceptions.APIException):
        return None
    answer = plain(known.status_code, _worded(known.detail))
    if wait := getattr(known, "wait", None):
        answer["Retry-After"] = str(wait)
    if header := getattr(known, "auth_header", None):
        answer["WWW-Authenticate"] = header
    return answer


def _refusal(error: ValidationError) -> str:
    """Name the member that is wrong, where the error is about one of this dialect's."""
    if not hasattr(error, "error_dict"):
        return "; ".join(error.messages)
    return "; ".join(
        f"{MEMBERS[field]}: {text}" if field in MEMBERS else text
        for field, texts in error.message_dict.items()
        for text in texts
    )


def _worded(detail: Any) -> str:
    if isinstance(detail, dict):
        return "; ".join(f"{name}: {_worded(each)}" for name, each in detail.items())
    return "; ".join(map(_worded, detail)) if isinstance(detail, list) else str(detail)


class AlwaysJson(BaseContentNegotiation):
    """What a client says it accepts changes nothing."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the parser for the body's type, None when there is none."""
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the only renderer."""
        return renderers[0], renderers[0].media_type


class CloudView(APIView):
    """A view of this dialect; `kind` is what the policy is asked for, `actions` what a method means beside its name."""

    authentication_classes = (KeyAuthentication,)
    permission_classes: tuple[type[BasePermission], ...] = (IsAuthenticated, KeyPermission)
    renderer_classes = (JSONRenderer,)
    parser_classes = (StrictJSONParser,)
    content_negotiation_class = AlwaysJson
    kind = "config_merge.site"
    actions: dict[str, str] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the call where it comes from, then by its key; refused calls of unknown keys count too."""
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        address = client_address(request.META.get("REMOTE_ADDR"), forwarded, settings.MUSTER.trusted_proxies)
        self._count("cloud-address", address or "")
        super().initial(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Find the key, and count the call for it."""
        super().perform_authentication(request)
        self._count("cloud-key", str(request.auth.pk))

    def _count(self, *who: str) -> None:
        wait = rates.wait_for(LIMIT, *who)
        if wait:
            raise TooMany(wait)

    def get_exception_handler(self) -> Any:
        """Return the dialect's own."""
        return answered

    @property
    def key(self) -> Any:
        """The key that opened the door."""
        return self.request.auth
