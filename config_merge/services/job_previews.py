"""Previews that take too long to wait for: how a proposed change is kept, taken up again, and its result stored.

A proposal is the keywords of a service with objects replaced by their ids; what was named and is gone by then refuses
the preview. Proposal and result hold configurations, so their columns are encrypted.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models

from config_merge.models import Job, Template
from config_merge.services import preview
from config_merge.services.comparison import Preview, Progress
from core.errors import NotFound
from devices.models import DeviceGroup, FleetSettings
from tenancy.models import Organization

_RELATED: dict[str, type[models.Model]] = {"organization": Organization, "group": DeviceGroup}


def packed(*, kind: str, pk: UUID | None, changes: Mapping[str, Any], delete: bool = False) -> dict[str, Any]:
    """Return a proposal as JSON; `kind` is "template", "group" or "variables", `pk` None for a new template."""
    plain = {
        name: (value.pk.hex if value is not None else None) if name in _RELATED else value
        for name, value in changes.items()
        if name != "templates"
    }
    if changes.get("templates") is not None:
        plain["templates"] = [template.pk.hex for template in changes["templates"]]
    return {"kind": kind, "pk": pk.hex if pk else None, "changes": plain, "delete": delete}


def _unpacked(plain: Mapping[str, Any]) -> dict[str, Any]:
    changes = dict(plain)
    for name, model in _RELATED.items():
        if changes.get(name) is not None:
            changes[name] = _found(model, changes[name])
    if "templates" in changes:
        changes["templates"] = [_found(Template, pk) for pk in changes["templates"]]
    return changes


def _found(model: type[models.Model], pk: str) -> Any:
    row = model._default_manager.filter(pk=pk).first()
    if row is None:
        raise NotFound(f"The {model._meta.verbose_name} is gone.")
    return row


def computed(job: Job, *, progress: Progress | None = None) -> tuple[int, dict[str, Any]]:
    """Return how many devices the job's proposal concerns, and its preview as JSON. Raises as previews do."""
    proposal = job.proposal
    changes = _unpacked(proposal["changes"])
    match proposal["kind"]:
        case "template":
            template = _found(Template, proposal["pk"]) if proposal["pk"] else None
            found = preview.template_preview(template, changes, delete=proposal["delete"], progress=progress)
        case "group":
            group = _found(DeviceGroup, proposal["pk"])
            found = preview.group_preview(group, changes, delete=proposal["delete"], progress=progress)
        case _:
            settings = _found(FleetSettings, proposal["pk"])
            found = preview.organization_variables_preview(settings, changes["context"], progress=progress)
    return found.total, as_json(found)


def as_json(found: Preview) -> dict[str, Any]:
    """Return a preview with both texts of each diff; `shown` chooses for a reader."""
    return {
        "total": found.total,
        "changed": found.changed,
        "unchanged": found.unchanged,
        "failed": found.failed,
        "groups": [
            {
                "count": group.count,
                "devices": [{"id": str(device.device_id), "name": device.name} for device in group.devices],
                "diff": group.diff,
                "hidden": group.hidden,
            }
            for group in found.groups
        ],
        "failures": [
            {"id": str(failure.device_id), "name": failure.name, "message": failure.message}
            for failure in found.failures
        ],
    }


def shown(stored: Mapping[str, Any], *, reveal: bool) -> dict[str, Any]:
    """Return a preview for a reader: with `reveal` the diffs as they are, else with marks for secrets."""
    groups = [
        {
            "count": group["count"],
            "devices": group["devices"],
            "diff": group["diff"] if reveal else group["hidden"],
        }
        for group in stored["groups"]
    ]
    return {**stored, "groups": groups}


def worded(error: Exception) -> str:
    """Return a refusal as one sentence."""
    return "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
