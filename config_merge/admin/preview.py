"""What a form would render to that was not saved: the very engine, fed from the form.

Invariant: nothing is written; what the form names must be the user's own. Its text comes out plain only for who may
reveal the secrets of everyone whose objects stand in it, the stored device's organization included; and what is stored
in an organization whose secrets the user may not see does not get into a form of another one at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ValidationError

from config_merge import inputs
from config_merge.carrying import carries_secrets, secret_names_of
from config_merge.engine import EngineError, File, render, validate
from config_merge.exchange.files import FileRefused, parsed
from config_merge.models import Backend, Config, Template
from config_merge.queries import templates_visible_to
from config_merge.services.assignment import usable_by
from core.redaction import Names, is_mark, mark_of, redacted_text, restored, secrets_in, variables_of_secrets
from devices.models import Device, DeviceGroup, FleetSettings
from devices.queries import devices_visible_to, groups_visible_to
from tenancy.disclosure import Disclosure
from tenancy.models import Organization
from tenancy.policy import allows
from tenancy.queries import organizations_visible_to, roles_of

TEXTS = ("name", "mac_address", "key", "model", "os", "system", "hardware_id")


def secrets_of(item: inputs.Inputs, device: Device, *, names: Names) -> frozenset[str]:
    """Return every secret that could stand in what is rendered, also as UCI quotes it.

    `names` are the variables that the organizations' templates use at secret places, in use here or not.
    """
    names = frozenset(names).union(*(variables_of_secrets(layer.config) for layer in item.layers))
    found = {str(value) for layer in item.layers for value in secrets_in(layer.config)} | {device.key}
    found |= {str(value) for layer in item.variables for value in secrets_in(layer.values, names=names)}
    return frozenset(found | {value.replace("'", "'\\''") for value in found}) - {""}


def text_of(files: Iterable[File], *, secrets: frozenset[str] | None) -> str:
    """Return rendered files as one text; with `secrets`, these and whatever looks like one are marks."""
    parts = []
    for file in files:
        text = f"# /{file.path} ({file.mode})\n{file.contents.decode('utf-8', 'replace')}"
        parts.append(text if secrets is None else redacted_text(text, secrets=secrets))
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


def _lends(stored: Device | None, organization: Organization, disclosure: Disclosure) -> bool:
    """Tell whether a stored device's key and secrets may be put into the form: it stays, or they may be seen anyway."""
    if stored is None:
        return False
    return stored.organization_id == organization.pk or disclosure.may(stored.organization_id)


def _device(
    posted: Mapping[str, str], *, user: Any, organization: Organization, stored: Device | None, lends: bool
) -> Device:
    """Return the device of the form. Raises ValidationError."""
    fields = {name: posted[name].strip() for name in TEXTS if name in posted}
    key = fields.get("key", "")
    if stored is not None and (not key or (is_mark(key) and key == mark_of(stored.key))):
        fields["key"] = stored.key if lends else ""
    device = Device(
        id=stored.pk if stored else (_id_in(posted, "id") or uuid4()),
        organization=organization,
        group=_group(posted, user, organization),
        **fields,
    )
    device.clean_fields(exclude=["key_digest", "id"])
    device.mac_address = device.mac_address.upper()
    return device


def _config(
    posted: Mapping[str, str], *, device: Device, stored: Device | None, lends: bool, names: Names
) -> Config:
    """Return the configuration of the form, with the stored secrets in place of their marks if they are lent.

    Otherwise the marks stay: they are what the text would show in any case. Raises ValidationError.
    """
    kept: Config | None = getattr(stored, "config", None)
    own, context = _object_in(posted, "config"), _object_in(posted, "context")
    if stored is None or lends:
        own = restored(own, stored=kept.config if kept else {})
        context = restored(context, stored=kept.context if kept else {}, names=names)
    backend = posted.get("backend", "") or Backend.OPENWRT
    config = Config(device=device, backend=backend, config=own, context=context)
    config.clean_fields(exclude=["device", "status", "id"])
    return config


def _note(
    disclosure: Disclosure,
    *,
    stored: Device | None,
    templates: Sequence[Template],
    fleet: FleetSettings | None,
    group: DeviceGroup | None,
    names: Names,
) -> None:
    """Remember whose secrets were shown: the stored device's, or of what a new one is made of."""
    if stored is not None:
        disclosure.note(stored, organization_id=stored.organization_id)
        return
    for template in templates:
        if carries_secrets(template, names=names):
            disclosure.note(template, organization_id=template.organization_id)
    if fleet is not None and secrets_in(fleet.context, names=names):
        disclosure.note(fleet, organization_id=fleet.pk)
    if group is not None and secrets_in(group.context, names=names):
        disclosure.note(group, organization_id=group.organization_id)


def preview(posted: Mapping[str, str], *, disclosure: Disclosure) -> str:
    """Return the files of an unsaved form as text. Raises ValidationError."""
    if any("\x00" in text for text in posted.values()):
        raise ValidationError("Null characters are not allowed.")
    user = disclosure.user
    stored = _stored(posted, user)
    organization = _organization(posted, user)
    lends = _lends(stored, organization, disclosure)
    device = _device(posted, user=user, organization=organization, stored=stored, lends=lends)
    templates = _templates(posted, user, organization)
    owners = {organization.pk, *(template.organization_id for template in templates)}
    owners |= {stored.organization_id} if stored is not None else set()
    kept: Config | None = getattr(stored, "config", None)
    names = secret_names_of(owners) | variables_of_secrets(kept.config if kept else {})
    config = _config(posted, device=device, stored=stored, lends=lends, names=names)
    fleet = FleetSettings.objects.filter(pk=organization.pk).first()
    item = inputs.build(
        config=config,
        device=device,
        templates=templates,
        organization=fleet.context if fleet else {},
        group=device.group,
    )
    secrets = secrets_of(item, device, names=names)
    problem: EngineError | None = None
    try:
        tree = item.effective().tree
        validate(backend=item.backend, tree=tree)
        plain = text_of(render(backend=item.backend, tree=tree, os=item.os).files, secrets=None)
    except EngineError as error:
        # What the engine says quotes values of the form and of its templates.
        problem, plain = error, str(error)
    hidden = redacted_text(plain, secrets=secrets)
    reveal = all(disclosure.may(owner) for owner in owners)
    if reveal and hidden != plain:
        _note(disclosure, stored=stored, templates=templates, fleet=fleet, group=device.group, names=names)
    shown = plain if reveal else hidden
    if problem is not None:
        raise ValidationError(shown) from problem
    return shown
