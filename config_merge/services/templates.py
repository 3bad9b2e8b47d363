"""Every write to templates. A change reaches the devices as stale marks in the same transaction."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from config_merge.engine import EngineError, render, resolve, validate
from config_merge.inputs import template_layer, template_variables
from config_merge.models import ConfigTemplate, Template, TemplateTag
from config_merge.services import assignment, stale
from core.changes import changed_row, store

RENDERED = ("config", "default_values", "backend")


def _check_name(template: Template) -> None:
    """A shared name is taken for everyone, and a shared template needs a name nobody has (spec 2.4)."""
    others = Template.objects.exclude(pk=template.pk).filter(name=template.name)
    if template.organization_id is not None:
        others = others.filter(organization__isnull=True)
    if others.exists():
        raise ValidationError({"name": "A template with this name exists already in another scope."})


def _check_type(template: Template) -> None:
    """A VPN template names its server; until one is named there is nothing to connect to."""
    if template.type == Template.Type.VPN:
        raise ValidationError({"vpn": "A VPN must be selected when the template type is VPN."})


def _check_config(template: Template) -> None:
    if not template.config:
        raise ValidationError({"config": "The configuration field cannot be empty."})
    try:
        effective = resolve(
            backend=template.backend,
            layers=[template_layer(template)],
            variables=[template_variables(template)],
            hostname=None,
        )
        validate(backend=template.backend, tree=effective.tree)
        # The schema does not know everything the renderer refuses (an IPv4 mask of 99, for one).
        render(backend=template.backend, tree=effective.tree)
    except EngineError as error:
        raise ValidationError({NON_FIELD_ERRORS: [str(error)]}) from error


def check(template: Template) -> None:
    """Bring a template into its stored form and validate it whole. Raises ValidationError."""
    template.name = (template.name or "").strip()
    if template.required:
        template.default = True
    template.auto_cert = template.auto_cert and template.type == Template.Type.VPN
    template.full_clean()
    _check_name(template)
    _check_type(template)
    _check_config(template)


def _write_tags(template: Template, tags: Iterable[str]) -> None:
    names = {tag.strip().strip(",") for tag in tags} - {""}
    if any(len(name) > 64 or any(letter.isspace() or letter == "," for letter in name) for name in names):
        raise ValidationError({"tags": "A tag is one word of at most 64 characters."})
    TemplateTag.objects.filter(template=template).exclude(name__in=names).delete()
    known = set(TemplateTag.objects.filter(template=template).values_list("name", flat=True))
    TemplateTag.objects.bulk_create(
        [TemplateTag(template=template, name=name) for name in sorted(names - known)]
    )


@transaction.atomic
def template_create(
    *, tags: Iterable[str] | None = None, actor_id: UUID | None = None, **fields: Any
) -> Template:
    """Create a template; a default one is assigned to every device it fits. Raises ValidationError."""
    template = Template(**fields)
    check(template)
    template.save(force_insert=True)
    _write_tags(template, tags or ())
    if template.default:
        assignment.attach_to_everyone(template, actor_id=actor_id)
    return template


@transaction.atomic
def template_update(
    template: Template, *, tags: Iterable[str] | None = None, actor_id: UUID | None = None, **changes: Any
) -> Template:
    """Change the named fields; users of the template turn stale when its content changed. Raises ValidationError."""
    row, before = changed_row(template, changes)
    check(row)
    _check_move(row, before)
    store(row, before=before, onto=template)
    if tags is not None:
        _write_tags(template, tags)
    if any(getattr(template, name) != getattr(before, name) for name in RENDERED):
        stale.mark_template_users([template.pk], actor_id=actor_id)
    reach = ("default", "required", "backend", "organization_id")
    if template.default:
        assignment.leave_groups(template)
    if template.default and any(getattr(template, name) != getattr(before, name) for name in reach):
        assignment.attach_to_everyone(template, actor_id=actor_id)
    return template


def _check_move(template: Template, before: Template) -> None:
    """A template may move to an organization only if no device elsewhere uses it."""
    if template.organization_id in (None, before.organization_id):
        return
    used = ConfigTemplate.objects.filter(template_id=template.pk)
    if used.exclude(config__device__organization_id=template.organization_id).exists():
        raise ValidationError({"organization": "Devices of other organizations use this template."})
    grouped = template.group_templates.exclude(group__organization_id=template.organization_id)
    if grouped.exists():
        raise ValidationError({"organization": "Device groups of other organizations use this template."})


@transaction.atomic
def template_delete(template: Template, *, actor_id: UUID | None = None) -> None:
    """Delete a template; the devices that used it are computed anew without it."""
    stale.mark_template_users([template.pk], actor_id=actor_id)
    template.delete()
