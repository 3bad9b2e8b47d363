"""Previews that take too long to wait for: how a proposed change is kept, taken up again, and its result stored.

A proposal is the keywords of a service with objects replaced by their ids; what was named and is gone by then refuses
the preview. Proposal and result hold configurations, so their columns are encrypted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models

from config_merge.models import Job, Site, Template
from config_merge.services import preview, site_previews
from config_merge.services.comparison import Affected, Failure, Preview, Progress
from core.errors import NotFound
from devices.models import DeviceGroup, FleetSettings
from tenancy.disclosure import Disclosure
from tenancy.models import Organization
from tenancy.queries import roles_of

_RELATED: dict[str, type[models.Model]] = {"organization": Organization, "group": DeviceGroup}


def packed(*, kind: str, pk: UUID | None, changes: Mapping[str, Any], delete: bool = False) -> dict[str, Any]:
    """Return a proposal as JSON; `pk` is None for a new template.

    `kind` is "template", "group", "site", "site_settings" or "variables".
    """
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
        case "site":
            site = _found(Site, proposal["pk"])
            found = site_previews.site_preview(site, changes, progress=progress)
        case "site_settings":
            site = _found(Site, proposal["pk"])
            found = site_previews.site_settings_preview(site, changes["changes"], progress=progress)
        case _:
            settings = _found(FleetSettings, proposal["pk"])
            found = preview.organization_variables_preview(settings, changes["context"], progress=progress)
    return found.total, as_json(found)


def as_json(found: Preview) -> dict[str, Any]:
    """Return a preview with both texts of each diff and whose they are; `shown` chooses for a reader."""
    return {
        "total": found.total,
        "changed": found.changed,
        "unchanged": found.unchanged,
        "failed": found.failed,
        "groups": [
            {
                "count": group.count,
                "devices": [_named(device) for device in group.devices],
                "diff": group.diff,
                "hidden": group.hidden,
                "owners": sorted(str(owner) if owner else "" for owner in group.owners),
                "tenants": sorted(map(str, group.tenants)),
            }
            for group in found.groups
        ],
        "failures": [_named(failure) | {"message": failure.message} for failure in found.failures],
    }


def _named(device: Affected | Failure) -> dict[str, str]:
    return {
        "id": str(device.device_id),
        "name": device.name,
        "organization": str(device.organization_id),
    }


@dataclass(frozen=True, slots=True)
class Shown:
    """A preview as one reader gets it; `owners` are the organizations whose secrets are in it (None: shared ones)."""

    body: dict[str, Any] = field(repr=False)
    owners: frozenset[UUID | None]


def shown(stored: Mapping[str, Any], disclosure: Disclosure) -> Shown:
    """Return a preview for a reader: marks for secrets of organizations, one of which may not be revealed to them.

    Of organizations the reader is not in, devices are only counted.
    """
    user, seen = disclosure.user, roles_of(disclosure.user)

    def sees(organization: str) -> bool:
        return user.is_superuser or UUID(organization) in seen

    def named(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
        known = [row for row in rows if "organization" not in row or sees(row["organization"])]
        return [{name: row[name] for name in row if name != "organization"} for row in known]

    groups, revealed = [], set[UUID | None]()
    for group in stored["groups"]:
        # Results of before owners were kept are for who sees everything.
        owners = {UUID(owner) if owner else None for owner in group.get("owners", ("",))}
        tenants = group.get("tenants", ())
        diff = group["hidden"] if not tenants or any(map(sees, tenants)) else ""
        if diff != group["diff"] and all(map(disclosure.may, owners)):
            diff = group["diff"]
            revealed |= owners
        groups.append({"count": group["count"], "devices": named(group["devices"]), "diff": diff})
    body = {**stored, "groups": groups, "failures": named(stored["failures"])}
    return Shown(body, frozenset(revealed))


def looks_noted(
    disclosure: Disclosure,
    owners: Iterable[UUID | None],
    *,
    of: models.Model | None,
    organization_id: UUID | None,
) -> None:
    """Note that secrets of `owners` were shown in a preview of an object; other organizations are not told of it.

    `of` is None for an object that does not exist yet.
    """
    others = set(owners)
    if of is not None and organization_id in others:
        disclosure.note(of, organization_id=organization_id)
        others.discard(organization_id)
    if of is not None and None in others:
        disclosure.note(of, organization_id=None)
    named = [owner for owner in others if owner is not None]
    if named:
        for organization in Organization.objects.filter(pk__in=named):
            disclosure.note(organization, organization_id=organization.pk)


def worded(error: Exception) -> str:
    """Return a refusal as one sentence."""
    return "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
