"""Copies of templates, also into another organization."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from config_merge.carrying import carries_secrets, secret_names_of
from config_merge.models import Template
from config_merge.services import assignment, stale
from config_merge.services.templates import template_create
from tenancy import audit
from tenancy.models import Organization
from tenancy.queries import may_reveal

LONGEST = 64


def clone_name(name: str, taken: frozenset[str]) -> str:
    """Return the name of the next copy, shortened to fit.

    >>> clone_name("wifi", frozenset()), clone_name("wifi", frozenset({"wifi (Clone)"}))
    ('wifi (Clone)', 'wifi (Clone 2)')
    """
    number = 1
    while True:
        suffix = " (Clone)" if number == 1 else f" (Clone {number})"
        found = f"{name[: LONGEST - len(suffix)]}{suffix}"
        if found not in taken:
            return found
        number += 1


def _may_leave(template: Template, *, user: Any) -> bool:
    """Tell whether `user` may take a template out of its organization: they see its secrets, or it has none."""
    owner = template.organization_id
    return may_reveal(user, owner) or not carries_secrets(template, names=secret_names_of([owner]))


@transaction.atomic
def template_clone(template: Template, *, organization: Organization | None, user: Any) -> Template:
    """Copy a template into an organization, or among the shared ones; nobody gets the copy by itself.

    Whoever may not see the original's secrets cannot take them to where they may. Raises ValidationError.
    """
    target: UUID | None = organization.pk if organization is not None else None
    if target != template.organization_id and not _may_leave(template, user=user):
        raise ValidationError(
            {"organization": "The template contains secrets that you may not take to another organization."}
        )
    stale.reading_templates()
    known = Template.objects.filter(assignment.usable_by(target)) if target else Template.objects.all()
    taken = known.filter(name__startswith=template.name[:40]).values_list("name", flat=True)
    copy = template_create(
        organization=organization,
        name=clone_name(template.name, frozenset(taken)),
        type=template.type,
        backend=template.backend,
        auto_cert=template.auto_cert,
        notes=template.notes,
        default_values=template.default_values,
        config=template.config,
        default=False,
        required=False,
        tags=template.tag_rows.values_list("name", flat=True),
        actor_id=user.pk,
    )
    changes = {"from": (None, str(template.pk))}
    audit.record("template.cloned", copy, organization_id=target, changes=changes)
    return copy
