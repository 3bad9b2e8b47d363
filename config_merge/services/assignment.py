"""Which templates a configuration has, and in which order (spec sections 2.4 and 1B.4).

Changes to a whole fleet are single INSERT ... SELECT and DELETE statements; both databases speak this subset of SQL.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from config_merge.models import Cause, Config, ConfigTemplate, GroupTemplate, Template
from config_merge.services import stale
from core.db import bulk_insert_objects, bulk_set, in_turn, uuid_parameter
from devices.models import Device


def usable_by(organization_id: UUID) -> Q:
    """Return the condition for templates a device of the organization may use: its own and the shared ones."""
    return Q(organization_id=organization_id) | Q(organization_id__isnull=True)


def automatic_templates(*, organization_id: UUID, backend: str) -> QuerySet[Template]:
    """Return what a new configuration gets by itself: required ones by name, then default ones by name."""
    templates = Template.objects.filter(usable_by(organization_id), default=True, backend=backend)
    return templates.order_by("-required", "name", "pk")


def group_template_ids(group_id: UUID | None, *, backend: str) -> list[UUID]:
    """Return the templates of a group that fit the backend, in the group's order."""
    if group_id is None:
        return []
    rows = GroupTemplate.objects.filter(group_id=group_id, template__backend=backend).order_by(
        "position", "pk"
    )
    return list(rows.values_list("template_id", flat=True))


def current_ids(config_id: UUID) -> list[UUID]:
    """Return the ids of a configuration's templates, in merge order."""
    rows = ConfigTemplate.objects.filter(config_id=config_id).order_by("position", "pk")
    return list(rows.values_list("template_id", flat=True))


def unique(ids: Iterable[UUID]) -> list[UUID]:
    """Return `ids` without repetitions, keeping the first of each."""
    return list(dict.fromkeys(ids))


def write(config: Config, template_ids: Sequence[UUID]) -> bool:
    """Make `template_ids` the configuration's templates in this order; tells whether anything changed."""
    if current_ids(config.pk) == list(template_ids):
        return False
    rewrite({config.pk: template_ids})
    return True


def held_by(config_ids: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """Return the ids of the templates of configurations, in merge order; those without any are left out."""
    held: dict[UUID, list[UUID]] = defaultdict(list)
    rows = ConfigTemplate.objects.filter(config_id__in=list(config_ids)).order_by("position", "pk")
    for config_id, template_id in rows.values_list("config_id", "template_id"):
        held[config_id].append(template_id)
    return dict(held)


def rewrite(wanted: Mapping[UUID, Sequence[UUID]]) -> None:
    """Make the templates of each configuration these in this order, whatever they are now. Two statements."""
    if not wanted:
        return
    ConfigTemplate.objects.filter(config_id__in=list(wanted)).delete()
    bulk_insert_objects(
        [
            ConfigTemplate(config_id=config_id, template_id=template_id, position=position)
            for config_id, ids in wanted.items()
            for position, template_id in enumerate(ids)
        ]
    )


def with_required(device: Device, *, backend: str, template_ids: Sequence[UUID]) -> list[UUID]:
    """Return `template_ids` with the required templates it lacks put in front, in name order."""
    required = automatic_templates(organization_id=device.organization_id, backend=backend).filter(
        required=True
    )
    missing = [pk for pk in required.values_list("pk", flat=True) if pk not in set(template_ids)]
    return unique([*missing, *template_ids])


def starting_ids(device: Device, *, backend: str, chosen: Sequence[UUID] = ()) -> list[UUID]:
    """Return the templates of a new configuration: required, default, the group's, then those chosen."""
    automatic = automatic_templates(organization_id=device.organization_id, backend=backend)
    return unique(
        [
            *automatic.values_list("pk", flat=True),
            *group_template_ids(device.group_id, backend=backend),
            *chosen,
        ]
    )


def swap_group(ids: Sequence[UUID], *, old: Sequence[UUID], new: Sequence[UUID]) -> list[UUID]:
    """Return `ids` after a device left a group with `old` templates and joined one with `new`."""
    return unique([*(pk for pk in ids if pk not in set(old) or pk in set(new)), *new])


def leave_groups(template: Template) -> None:
    """Take a template that has become everyone's out of the groups that named it; their members keep it."""
    GroupTemplate.objects.filter(template=template).delete()


def reorder_members(group_id: UUID, order: Sequence[UUID]) -> None:
    """Bring a group's templates into its order within each member; the places they take stay the same."""
    rank = {template_id: number for number, template_id in enumerate(order)}
    rows = ConfigTemplate.objects.filter(
        config__device__group_id=group_id, config__device__is_deactivated=False, template_id__in=list(order)
    )
    placed: dict[UUID, list[tuple[int, int, UUID]]] = defaultdict(list)
    for config_id, pk, position, template_id in rows.values_list(
        "config_id", "pk", "position", "template_id"
    ):
        placed[config_id].append((position, pk, template_id))
    moved: list[tuple[int, list[int]]] = []
    for held in placed.values():
        positions = sorted(position for position, _, _ in held)
        wanted = sorted(held, key=lambda row: rank[row[2]])
        pairs = zip(wanted, positions, strict=True)
        moved += [(pk, [position]) for (now, pk, _), position in pairs if now != position]
    bulk_set(ConfigTemplate, ["position"], moved)


# --- whole fleets -----------------------------------------------------------------------------------------------------

_ATTACH = """
INSERT INTO config_merge_configtemplate (config_id, template_id, position)
SELECT c.id, %s, COALESCE(
    (SELECT MAX(t.position) + 1 FROM config_merge_configtemplate t WHERE t.config_id = c.id), 0)
FROM config_merge_config c JOIN devices_device d ON d.id = c.device_id
WHERE d.is_deactivated = %s AND c.backend = %s {where}
AND NOT EXISTS (SELECT 1 FROM config_merge_configtemplate t WHERE t.config_id = c.id AND t.template_id = %s)
"""


def _attach(template: Template, where: str, parameters: Sequence[Any]) -> int:
    in_turn(stale.FLEET)
    with connection.cursor() as cursor:
        cursor.execute(
            _ATTACH.format(where=where),
            [uuid_parameter(template.pk), False, template.backend, *parameters, uuid_parameter(template.pk)],
        )
        return cursor.rowcount


_START = """
INSERT INTO config_merge_configtemplate (config_id, template_id, position)
SELECT %s, t.id, ROW_NUMBER() OVER (ORDER BY t.required DESC, t."default" DESC, t.name, t.id) - 1
FROM config_merge_template t
WHERE (t.organization_id = %s OR t.organization_id IS NULL) AND ((t."default" = %s AND t.backend = %s) {tagged})
"""
_TAGGED = (
    "OR EXISTS (SELECT 1 FROM config_merge_templatetag g WHERE g.template_id = t.id AND g.name IN ({names}))"
)


def start(config: Config, *, organization_id: UUID, tags: Sequence[str] = ()) -> None:
    """Give a new configuration its required and default templates, and those that carry one of `tags`.

    One statement: what a registering device costs counts.
    """
    tagged = _TAGGED.format(names=", ".join(["%s"] * len(tags))) if tags else ""
    parameters = [uuid_parameter(config.pk), uuid_parameter(organization_id), True, config.backend, *tags]
    with connection.cursor() as cursor:
        cursor.execute(_START.format(tagged=tagged), parameters)


def reached_by(template: Template) -> Q:
    """Return the condition for the configurations `attach_to_everyone` gives the template to."""
    condition = Q(backend=template.backend)
    if template.organization_id is not None:
        condition &= Q(device__organization_id=template.organization_id)
    return condition


def attach_to_everyone(template: Template, *, actor_id: UUID | None = None) -> int:
    """Append a default template to every active configuration of its backend and organization that lacks it."""
    if template.organization_id is None:
        attached = _attach(template, "", [])
    else:
        attached = _attach(template, "AND d.organization_id = %s", [uuid_parameter(template.organization_id)])
    if attached:
        stale.mark_template_users([template.pk], actor_id=actor_id)
    return attached


def group_changed(
    group_id: UUID, *, removed: Iterable[UUID], added: Iterable[Template], actor_id: UUID | None = None
) -> None:
    """Take `removed` from, and give `added` to, the active members of a group.

    What every device gets anyway stays with the members.
    """
    in_turn(stale.FLEET)
    removed = list(Template.objects.filter(pk__in=list(removed), default=False).values_list("pk", flat=True))
    if removed:
        ConfigTemplate.objects.filter(
            config__device__group_id=group_id, config__device__is_deactivated=False, template_id__in=removed
        ).delete()
    for template in added:
        _attach(template, "AND d.group_id = %s", [uuid_parameter(group_id)])
    stale.mark(Q(device__group_id=group_id), cause=Cause.GROUP, actor_id=actor_id)
