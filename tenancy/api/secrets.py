"""Secrets in request and answer bodies: printed as marks for who may not see them, put back when the marks return."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import exceptions
from rest_framework.request import Request

from core.redaction import Names, is_mark, mark_of, restored
from tenancy.disclosure import Disclosure, disclosure_of

NOT_ALLOWED = "You may not see the secrets of this organization."


def disclosure_in(serializer: Any) -> Disclosure:
    """Return the disclosure of the request a serializer works for."""
    return disclosure_of(serializer.context["request"])


def put_back(sent: dict[str, Any], field: str, *, stored: Any, names: Names = frozenset()) -> None:
    """Replace the marks in `sent[field]` by the secrets of `stored`. Raises DRF's ValidationError under `field`."""
    if field not in sent:
        return
    try:
        sent[field] = restored(sent[field], stored=stored, names=names)
    except ValidationError as error:
        raise exceptions.ValidationError({field: error.messages}) from error


def put_back_value(sent: dict[str, Any], field: str, *, stored: str) -> None:
    """Drop `sent[field]` when it is the mark of what is stored. Raises DRF's ValidationError for another mark."""
    if not is_mark(sent.get(field)):
        return
    if not stored or sent[field] != mark_of(stored):
        raise exceptions.ValidationError({field: ["This mark stands for no secret that is stored here."]})
    del sent[field]


STAYS = "It holds secrets that you may not take to another organization."
NO_KEY = "Without the right to reveal secrets, a key cannot be chosen."


def refuse_to_take_along(serializer: Any, sent: dict[str, Any], *, carries: Callable[[], bool]) -> None:
    """Refuse to move an object with secrets out of an organization whose secrets the caller may not see.

    Raises DRF's ValidationError under `organization`.
    """
    instance = serializer.instance
    if "organization" not in sent or instance is None:
        return
    target = sent["organization"].pk if sent["organization"] is not None else None
    stays = target == instance.organization_id or disclosure_in(serializer).may(instance.organization_id)
    if not stays and carries():
        raise exceptions.ValidationError({"organization": [STAYS]})


def require_reveal(request: Request, organization_id: Any) -> None:
    """Refuse who may not see the secrets of an organization. Raises PermissionDenied."""
    if not disclosure_of(request).may(organization_id):
        raise exceptions.PermissionDenied(NOT_ALLOWED)
