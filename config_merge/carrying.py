"""What secrets an object takes along: asked before it is copied or moved to where other people may see them."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q

from config_merge.models import Template
from core.redaction import Names, secrets_in, variables_of_secrets


def carries_secrets(template: Template, *, names: Names = frozenset()) -> bool:
    """Tell whether a template holds a secret, be it a default value that ends up at a secret place.

    `names` are the variables that other templates use at such places (`secret_names_of`).
    """
    secret = variables_of_secrets(template.config) | names
    return bool(secrets_in(template.config) or secrets_in(template.default_values, names=secret))


def secret_names_of(organization_ids: Iterable[UUID | None]) -> frozenset[str]:
    """Return the variables that templates of these organizations, or shared ones, use at secret places (one query)."""
    ids = {pk for pk in organization_ids if pk is not None}
    usable = Template.objects.filter(Q(organization_id__in=ids) | Q(organization_id__isnull=True)).only(
        "config"
    )
    return frozenset().union(*(variables_of_secrets(template.config) for template in usable))
