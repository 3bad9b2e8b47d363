"""Which rows and columns answers need: a fixed number of queries, nothing decrypted that is not shown."""

from typing import Any

from django.db.models import Prefetch, QuerySet

from config_merge.engine import Artefact, render, resolve
from config_merge.inputs import template_layer, template_variables
from config_merge.models import ConfigTemplate, GroupTemplate, Template, TemplateTag
from config_merge.queries import templates_visible_to
from devices.models import Device, DeviceGroup
from devices.queries import devices_visible_to, groups_visible_to


def assignable_templates_visible_to(user: Any) -> QuerySet[Template]:
    """Return the visible templates that are not assigned automatically anyway (what a group may list)."""
    return templates_visible_to(user).filter(default=False, required=False)


def template_rows_visible_to(user: Any) -> QuerySet[Template]:
    """Return the visible templates with their tags (one more query)."""
    tags = Prefetch("tag_rows", TemplateTag.objects.order_by("name"))
    return templates_visible_to(user).select_related(None).prefetch_related(tags)


def device_rows_visible_to(user: Any) -> QuerySet[Device]:
    """Return the visible devices with the status of their configuration, in one query."""
    rows = devices_visible_to(user).select_related(None).select_related("config")
    return rows.defer("config__config", "config__context")


def device_details_visible_to(user: Any) -> QuerySet[Device]:
    """Return the visible devices with their whole configuration and its templates in merge order."""
    assigned = Prefetch("config__config_templates", ConfigTemplate.objects.order_by("position", "pk"))
    return devices_visible_to(user).select_related("config").prefetch_related(assigned)


def group_rows_visible_to(user: Any) -> QuerySet[DeviceGroup]:
    """Return the visible groups with their templates in order (one more query)."""
    templates = Prefetch("group_templates", GroupTemplate.objects.order_by("position", "pk"))
    return groups_visible_to(user).select_related(None).prefetch_related(templates)


def template_artefact(template: Template) -> Artefact:
    """Return what a template alone renders to, with its own default values. Raises EngineError."""
    effective = resolve(
        backend=template.backend,
        layers=[template_layer(template)],
        variables=[template_variables(template)],
        hostname=None,
    )
    return render(backend=template.backend, tree=effective.tree)
