"""What a form would render to that was not saved: the very engine, fed from the form.

Invariant: nothing is written; what the form names must be the user's own, and its text comes out with marks instead
of secrets for who may not reveal them.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError

from config_merge import inputs
from config_merge.engine import EngineError, File, render, validate
from config_merge.exchange.files import FileRefused, parsed
from config_merge.models import Backend, Config, Template
from config_merge.queries import templates_visible_to
from config_merge.services.assignment import usable_by
from core.redaction import redacted_text, restored, secrets_in
from devices.models import Device, DeviceGroup, FleetSettings
from devices.queries import devices_visible_to, groups_visible_to
from tenancy.models import Organization
from tenancy.policy import allows
from tenancy.queries import may_reveal, organizations_visible_to, roles_of

TEXTS = ("name", "mac_address", "key", "model", "os", "system", "hardware_id")


def secrets_of(item: inputs.Inputs, device: Device) -> frozenset[str]:
    """Return every secret that could stand in what is rendered, also as UCI quotes it."""
    trees: list[Any] = [layer.config for layer in item.layers]
    trees += [layer.values for layer in item.variables]
    found = {str(value) for tree in trees for value in secrets_in(tree)} | {device.key}
    return frozenset(found | {value.replace("'", "'\\''") for value in found}) - {""}


def text_of(files: Iterable[File], *, secrets: frozenset[str] | None) -> str:
    """Return rendered files as one text; with `secrets`, these and whatever looks like one are marks."""
    parts = []
    for file in files:
        text = file.contents.decode("utf-8", "replace")
        shown = text if secrets is None else redacted_text(text, secrets=secrets)
        parts.append(f"# /{file.path} ({file.mode})\n{shown}")
    return "\n".join(parts)


def _id_in(posted: Mapping[str, str], name: str) -> UUID | None:
    text = posted.get(name, "").strip()
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise ValidationError({name: "An id is needed."}) from error


def _object_in(posted: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        value = parsed(posted.get(name, "").strip() or "{}")
    except FileRefused as error:
        raise ValidationError({name: str(error)}) from error
    if not isinstance(value, dict):
        raise ValidationError({name: "A JSON object is needed."})
    return value


def _organization(posted: Mapping[str, str], user: Any) -> Organization:
    pk = _id_in(posted, "organization")
    found = organizations_visible_to(user).filter(pk=pk).first() if pk else None
    if found is None or not (user.is_superuser or allows(roles_of(user).get(found.pk), "view", Device)):
        raise ValidationError({"organization": "There is no such organization."})
    return found


def _group(posted: Mapping[str, str], user: Any, organization: Organization) -> DeviceGroup | None:
    pk = _id_in(posted, "group")
    if pk is None:
        return None
    found = groups_visible_to(user).filter(pk=pk, organization=organization).first()
    if found is None:
        raise ValidationError({"group": "The organization has no such group."})
    return found


def _templates(posted: Mapping[str, str], user: Any, organization: Organization) -> list[Template]:
    """Return the templates in the order of the form."""
    texts = [text.strip() for text in posted.get("templates", "").split(",") if text.strip()]
    ids = [pk for text in texts if (pk := _id_in({"templates": text}, "templates"))]
    found = templates_visible_to(user).filter(usable_by(organization.pk)).in_bulk(ids)
    if len(found) != len(set(ids)):
        raise ValidationError({"templates": "One of the templates does not exist."})
    return [found[pk] for pk in dict.fromkeys(ids)]


def _stored(posted: Mapping[str, str], user: Any) -> Device | None:
    pk = _id_in(posted, "id")
    return devices_visible_to(user).select_related("config").filter(pk=pk).first() if pk else None


def preview(posted: Mapping[str, str], *, user: Any) -> str:
    """Return the files of an unsaved form as text. Raises ValidationError."""
    if any("\x00" in text for text in posted.values()):
        raise ValidationError("Null characters are not allowed.")
    stored = _stored(posted, user)
    organization = _organization(posted, user)
    fields = {name: posted[name].strip() for name in TEXTS if name in posted}
    if stored is not None and not fields.get("key"):
        fields["key"] = stored.key
    device = Device(
        id=stored.pk if stored else (_id_in(posted, "id") or uuid4()),
        organization=organization,
        group=_group(posted, user, organization),
        **fields,
    )
    device.clean_fields(exclude=["key_digest", "id"])
    device.mac_address = device.mac_address.upper()
    kept: Config | None = getattr(stored, "config", None) if stored else None
    config = Config(
        device=device,
        backend=posted.get("backend", "") or Backend.OPENWRT,
        config=restored(_object_in(posted, "config"), stored=kept.config if kept else {}),
        context=restored(_object_in(posted, "context"), stored=kept.context if kept else {}),
    )
    config.clean_fields(exclude=["device", "status", "id"])
    fleet = FleetSettings.objects.filter(pk=organization.pk).first()
    item = inputs.build(
        config=config,
        device=device,
        templates=_templates(posted, user, organization),
        organization=fleet.context if fleet else {},
        group=device.group,
    )
    try:
        tree = item.effective().tree
        validate(backend=item.backend, tree=tree)
        artefact = render(backend=item.backend, tree=tree, os=item.os)
    except EngineError as error:
        # What the engine says quotes values of the form and of its templates.
        hidden = frozenset() if may_reveal(user, organization.pk) else secrets_of(item, device)
        raise ValidationError(redacted_text(str(error), secrets=hidden) if hidden else str(error)) from error
    reveal = may_reveal(user, organization.pk)
    return text_of(artefact.files, secrets=None if reveal else secrets_of(item, device))
