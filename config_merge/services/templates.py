"""Every write to templates. A change reaches the devices as stale marks in the same transaction."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from config_merge.engine import EngineError, render, resolve, validate
from config_merge.hiding import template_words
from config_merge.inputs import template_layer, template_variables
from config_merge.models import ConfigTemplate, Template, TemplateTag
from config_merge.services import assignment, stale
from core.changes import changed_row, proposed_row, store
from tenancy import audit

RENDERED = ("config", "default_values", "backend")
EMPTY = "The configuration field cannot be empty."
REACH = ("default", "required", "backend", "organization_id")


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


def check_content(template: Template) -> None:
    """Refuse a configuration that is empty or cannot be merged, validated and rendered. Raises ValidationError."""
    if not template.config:
        raise ValidationError({"config": EMPTY})
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
        raise ValidationError({NON_FIELD_ERRORS: [template_words(template, str(error))]}) from error


def check(template: Template) -> None:
    """Bring a template into its stored form and validate it whole. Raises ValidationError."""
    template.name = (template.name or "").strip()
    if template.required:
        template.default = True
    template.auto_cert = template.auto_cert and template.type == Template.Type.VPN
    template.full_clean()
    _check_name(template)
    _check_type(template)
    check_content(template)


def _checked_tags(tags: Iterable[str]) -> set[str]:
    names = {tag.strip().strip(",") for tag in tags} - {""}
    if any(len(name) > 64 or any(letter.isspace() or letter == "," for letter in name) for name in names):
        raise ValidationError({"tags": "A tag is one word of at most 64 characters."})
    return names


def _write_tags(template: Template, tags: Iterable[str]) -> None:
    names = _checked_tags(tags)
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
    told = audit.contents(template) | ({"tags": ([], tag_names(template))} if tags else {})
    _record("template.created", template, changes=told)
    return template


def tag_names(template: Template) -> list[str]:
    """Return a template's tags, by name."""
    return list(TemplateTag.objects.filter(template=template).values_list("name", flat=True))


def _record(action: str, template: Template, *, changes: audit.Changes | None = None) -> None:
    audit.record(action, template, organization_id=template.organization_id, changes=changes)


@transaction.atomic
def template_update(
    template: Template, *, tags: Iterable[str] | None = None, actor_id: UUID | None = None, **changes: Any
) -> Template:
    """Change the named fields; users of the template turn stale when its content changed. Raises ValidationError."""
    row, before = changed_row(template, changes)
    check(row)
    _check_move(row, before)
    store(row, before=before, onto=template)
    changes = audit.difference(before, row)
    if tags is not None:
        held = tag_names(template)
        _write_tags(template, tags)
        if held != (names := tag_names(template)):
            changes["tags"] = (held, names)
    if any(getattr(template, name) != getattr(before, name) for name in RENDERED):
        stale.mark_template_users([template.pk], actor_id=actor_id)
    if template.default:
        assignment.leave_groups(template)
    if template.default and any(getattr(template, name) != getattr(before, name) for name in REACH):
        assignment.attach_to_everyone(template, actor_id=actor_id)
    if changes:
        audit.record_change("template", before, template, changes=changes)
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
    gone = copy.copy(template)
    template.delete()
    _record("template.deleted", gone)


def proposed_template(
    template: Template | None, changes: Mapping[str, Any]
) -> tuple[Template, Template | None]:
    """Return the row an update (or, for None, a creation) would store, and the stored one; writes and locks nothing.

    Raises ValidationError as the service would.
    """
    fields = dict(changes)
    _checked_tags(fields.pop("tags", None) or ())
    before: Template | None
    if template is None:
        row, before = Template(**fields), None
    else:
        row, before = proposed_row(template, fields)
    check(row)
    if before is not None:
        _check_move(row, before)
    return row, before
