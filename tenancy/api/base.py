"""What every REST view of tenant-owned objects is made of.

Invariant: a view names its `model`, whose policy the permission asks, and starts its queryset from a
`…_visible_to(user)`; so a foreign object is not found, in the same words as one that does not exist.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import models
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiResponse, extend_schema, inline_serializer
from rest_framework import generics, serializers
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request

from core.parsers import PARSERS
from tenancy.api import schema  # noqa: F401 - registers the bearer scheme
from tenancy.api.lists import OrderingBackend, SearchBackend
from tenancy.api.permissions import TenantPermission
from tenancy.disclosure import disclosure_of

Handler = TypeVar("Handler", bound=Callable[..., Any])

_Detail = inline_serializer("Detail", {"detail": serializers.CharField()})


INVALID = OpenApiResponse(
    {"type": "object", "additionalProperties": {}}, description="Messages by field, or `detail`."
)


def said(description: str) -> OpenApiResponse:
    """Return the documentation of an answer that only has a `detail`."""
    return OpenApiResponse(_Detail, description=description)


_UNAUTHENTICATED = {401: said("No valid credentials.")}
_LIMITS = {413: said("The body is too large."), 415: said("The body's type is not supported.")}
READ: dict[int, Any] = _UNAUTHENTICATED | {403: said("No role that may.")}
READ_ONE: dict[int, Any] = READ | {404: said("It does not exist, or not for you.")}
LIST: dict[int, Any] = READ | {400: INVALID, 404: said("There is no such page.")}
WRITE: dict[int, Any] = READ | _LIMITS | {400: INVALID}
WRITE_ONE: dict[int, Any] = READ_ONE | _LIMITS | {400: INVALID}


def operation(name: str, responses: dict[Any, Any], **options: Any) -> Callable[[Handler], Handler]:
    """Document a view's method in the OpenAPI schema under the operation id `name`."""
    return extend_schema(operation_id=name, responses=responses, **options)


class ApiView(generics.GenericAPIView[Any]):
    """A view whose input is always UTF-8 of bounded size."""

    parser_classes = PARSERS
    filter_backends = (DjangoFilterBackend, SearchBackend, OrderingBackend)
    permission_classes: tuple[type[BasePermission], ...] = (IsAuthenticated,)

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        """Wrap the request; the charset a client names must not choose how its query is decoded."""
        request.encoding = "utf-8"
        return super().initialize_request(request, *args, **kwargs)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Write down which secrets the answer shows before it leaves."""
        if response.status_code < 400:
            disclosure_of(request).write()
        return super().finalize_response(request, response, *args, **kwargs)

    def valid(self, serializer: serializers.BaseSerializer[Any]) -> dict[str, Any]:
        """Return what the caller sent, validated. Raises ValidationError."""
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class TenantView(ApiView):
    """A view of objects that belong to an organization."""

    model: type[models.Model]
    permission_classes = (IsAuthenticated, TenantPermission)
