"""What secrets an object takes along: asked before it is copied or moved to where other people may see them."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q, QuerySet

from config_merge.models import Template
from core.redaction import Names, secrets_in, variables_of_secrets


def carries_secrets(template: Template, *, names: Names = frozenset()) -> bool:
    """Tell whether a template holds a secret, be it a default value that ends up at a secret place.

    `names` are the variables that other templates use at such places (`secret_names_of`).
    """
    secret = variables_of_secrets(template.config) | names
    return bool(secrets_in(template.config) or secrets_in(template.default_values, names=secret))


def secret_default_values(template: Template) -> frozenset[str]:
    """Return the variables that a template or others of its organization use at secret places (one query)."""
    return variables_of_secrets(template.config) | secret_names_of([template.organization_id])


def secret_names_of(organization_ids: Iterable[UUID | None]) -> frozenset[str]:
    """Return the variables that templates of these organizations, or shared ones, use at secret places (one query)."""
    return frozenset().union(*_secret_names(organization_ids).values())


def secret_names_by(organization_ids: Iterable[UUID]) -> dict[UUID, frozenset[str]]:
    """Return for each organization the variables its templates, or shared ones, use at secret places (one query)."""
    ids = set(organization_ids)
    found = _secret_names(ids)
    return {pk: found.get(None, frozenset()) | found.get(pk, frozenset()) for pk in ids}


def _secret_names(organization_ids: Iterable[UUID | None]) -> dict[UUID | None, frozenset[str]]:
    ids = {pk for pk in organization_ids if pk is not None}
    usable = Template.objects.filter(Q(organization_id__in=ids) | Q(organization_id__isnull=True))
    names: dict[UUID | None, frozenset[str]] = defaultdict(frozenset)
    for owner, config in _readable(usable.values_list("organization_id", "config")):
        names[owner] |= variables_of_secrets(config)
    return names


def _readable(rows: "QuerySet[Template, tuple[UUID | None, Any]]") -> list[tuple[UUID | None, Any]]:
    """Return the rows; one that cannot be decrypted is left out and must not hide what the others say."""
    try:
        return list(rows)
    except (ImproperlyConfigured, ValueError):
        ids = list(rows.values_list("pk", flat=True))
        return [row for pk in ids for row in _readable(rows.filter(pk=pk))] if len(ids) > 1 else []
