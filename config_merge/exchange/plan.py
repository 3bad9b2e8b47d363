"""From a row to what it would do: which device it is about, which values differ, what is wrong with it.

Invariant: planning writes nothing and asks the catalogue, never the database. What a row does
not say, or leaves empty where emptiness says nothing (keys, configurations), stays as it is.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from config_merge.exchange import files
from config_merge.exchange.catalogue import Catalogue, Unknown
from config_merge.exchange.columns import CONFIG_PARTS, TEXTS
from config_merge.models import Backend, Config
from core.redaction import is_mark, mark_of, redacted, restored, variables_of_secrets
from devices.models import Device
from tenancy.api.secrets import NO_KEY, STAYS
from tenancy.models import Organization

NEW, UPDATE, SAME, ERROR = "new", "update", "same", "error"
_STRIPPED = frozenset({"name", "mac_address", "key", "last_ip", "management_ip"})
_ADDRESSES = ("last_ip", "management_ip")
CUT = "This was too long for a spreadsheet, so there is nothing to import; use CSV or JSON."


@dataclass(slots=True)
class Plan:
    """What one row would do: `fields` and `config` are the keywords of the services."""

    number: int
    name: str = ""
    device: Device | None = None
    organization: Organization | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    diff: list[dict[str, str]] = field(default_factory=list)
    errors: dict[str, list[str]] = field(default_factory=dict)

    @property
    def action(self) -> str:
        """What it comes to, in one word."""
        if self.errors:
            return ERROR
        if self.device is None:
            return NEW
        return UPDATE if self.fields or self.config else SAME

    def refuse(self, column: str, *messages: str) -> None:
        """Note what is wrong with a cell."""
        self.errors.setdefault(column, []).extend(messages)

    @contextlib.contextmanager
    def checking(self, column: str) -> Iterator[None]:
        """Note what the block refuses as the cell's error."""
        try:
            yield
        except (Unknown, files.FileRefused) as error:
            self.refuse(column, str(error))
        except ValidationError as error:
            self.refuse(column, *error.messages)


def text_of(value: Any) -> str:
    """Return a cell's text. Raises ValidationError for objects and lists."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise ValidationError("Text is needed here.")
    return str(value).lower() if isinstance(value, bool) else str(value)


def plan_of(row: files.TableRow, catalogue: Catalogue) -> Plan:
    """Return what a row would do."""
    plan = Plan(row.number)
    cells: dict[str, str] = {}
    for column in (*TEXTS, "organization", "organization_id", "group", "group_id", "id"):
        if column in row.cells:
            with plan.checking(column):
                text = text_of(row.cells[column])
                cells[column] = text if column in TEXTS and column not in _STRIPPED else text.strip()
    plan.name = cells.get("name", "")[:64]
    _find(plan, cells, catalogue)
    if plan.organization is None or plan.errors:
        return plan
    _plan_fields(plan, cells, catalogue)
    _plan_config(plan, row.cells, catalogue)
    return plan


def _find(plan: Plan, cells: dict[str, str], catalogue: Catalogue) -> None:
    """Find the device by id, else by organization and MAC address; and the organization it shall be in."""
    if cells.get("id"):
        with plan.checking("id"):
            plan.device = catalogue.device(pk=cells["id"])
    named = "organization_id" if cells.get("organization_id") else "organization"
    with plan.checking(named):
        plan.organization = catalogue.organization(
            pk=cells.get("organization_id", ""), name=cells.get("organization", "")
        )
    if plan.errors:
        return
    if plan.device is not None:
        plan.organization = plan.organization or plan.device.organization
        plan.name = plan.name or plan.device.name
        return
    if plan.organization is None:
        plan.refuse("organization", "This field is required.")
    for column in ("name", "mac_address"):
        if not cells.get(column):
            plan.refuse(column, "This field is required.")
    if plan.organization is not None and not plan.errors:
        plan.device = catalogue.device_at(
            organization_id=plan.organization.pk, mac_address=cells["mac_address"]
        )


def _plan_fields(plan: Plan, cells: dict[str, str], catalogue: Catalogue) -> None:
    device, organization = plan.device, plan.organization
    assert organization is not None  # noqa: S101 - the caller has seen to it
    if device is None or device.organization_id != organization.pk:
        plan.fields["organization"] = organization
        _differ(plan, "organization", device.organization.name if device else "", organization.name)
        if device is not None and not catalogue.reveals(device.organization_id):
            # A device always has a secret to take along: its key.
            plan.refuse("organization_id" if cells.get("organization_id") else "organization", STAYS)
    for column in TEXTS:
        if column in cells:
            _plan_text(plan, column, cells[column])
    owner = device.organization_id if device else organization.pk
    if "key" in plan.fields and not catalogue.reveals(owner):
        plan.refuse("key", NO_KEY)
    if "group" in cells or "group_id" in cells:
        with plan.checking("group_id" if cells.get("group_id") else "group"):
            group = catalogue.group(
                pk=cells.get("group_id", ""), name=cells.get("group", ""), organization_id=organization.pk
            )
            if (group.pk if group else None) != (device.group_id if device else None):
                plan.fields["group"] = group
                before = device.group.name if device and device.group else ""
                _differ(plan, "group", before, group.name if group else "")


def _plan_text(plan: Plan, column: str, text: str) -> None:
    device = plan.device
    stored = (getattr(device, column) or "") if device is not None else ""
    if text == files.TOO_LONG:
        _keep_the_rest(plan, column)
        return
    if column == "mac_address":
        text = text.upper()
    if column == "key":
        if not text or (stored and text == mark_of(stored)):
            return
        if is_mark(text):
            plan.refuse("key", f"{text} stands for no secret that is stored here; write the secret itself.")
            return
    if text == stored:
        return
    plan.fields[column] = None if column in _ADDRESSES and not text else text
    hidden = column == "key"
    _differ(plan, column, mark_of(stored) if hidden and stored else stored, mark_of(text) if hidden else text)


def _keep_the_rest(plan: Plan, column: str) -> None:
    """Leave alone what was too long to be exported to a spreadsheet; a device that is new has nothing to leave."""
    if plan.device is None:
        plan.refuse(column, CUT)


def _differ(plan: Plan, column: str, old: str, new: str) -> None:
    if old != new:
        plan.diff.append({"field": column, "old": old, "new": new})


def _plan_config(plan: Plan, cells: Any, catalogue: Catalogue) -> None:
    config: Config | None = getattr(plan.device, "config", None) if plan.device is not None else None
    for column, part in CONFIG_PARTS.items():
        value = cells.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if value == files.TOO_LONG:
            _keep_the_rest(plan, column)
            continue
        with plan.checking(column):
            if part == "backend":
                _plan_backend(plan, config, text_of(value).strip())
            elif part == "templates":
                _plan_templates(plan, config, value, catalogue)
            else:
                _plan_json(plan, column, config, value, catalogue)


def _plan_backend(plan: Plan, config: Config | None, backend: str) -> None:
    if backend not in Backend.values:
        raise ValidationError(f"Choose one of {', '.join(Backend.values)}.")
    if backend != (config.backend if config else Backend.OPENWRT):
        plan.config["backend"] = backend
        _differ(plan, "config_backend", config.backend if config else "", backend)


def _secret_names(plan: Plan, config: Config | None, catalogue: Catalogue) -> frozenset[str]:
    """Return the variables that end up at secret places where the device is, where it shall be, or in its own part."""
    owners = {row.pk for row in (plan.organization,) if row is not None}
    owners |= {plan.device.organization_id} if plan.device is not None else set()
    own = [config.config if config is not None else {}, plan.config.get("config", {})]
    return frozenset().union(*map(catalogue.secret_names, owners), *map(variables_of_secrets, own))


def _plan_json(plan: Plan, column: str, config: Config | None, value: Any, catalogue: Catalogue) -> None:
    tree = files.parsed(value) if isinstance(value, str) else value
    if not isinstance(tree, dict):
        raise ValidationError("A JSON object is needed.")
    part = CONFIG_PARTS[column]
    stored = getattr(config, part) if config is not None else {}
    if tree == stored:
        return
    names = _secret_names(plan, config, catalogue) if part == "context" else frozenset()
    tree = restored(tree, stored=stored, names=names)
    if tree != stored:
        plan.config[part] = tree
        # Equal secrets have equal marks, so a changed one shows although nobody can read it.
        shown = [files.plain(redacted(value, names=names)) if value else "" for value in (stored, tree)]
        _differ(plan, column, *shown)


def _plan_templates(plan: Plan, config: Config | None, value: Any, catalogue: Catalogue) -> None:
    if isinstance(value, str):
        text = value.strip()
        value = (
            files.parsed(text) if text.startswith("[") else [part for part in text.split(",") if part.strip()]
        )
    if not isinstance(value, list):
        raise ValidationError("A list of template ids is needed.")
    rows = {row.pk: row for row in (catalogue.template(pk) for pk in value)}
    stored = [link.template_id for link in config.config_templates.all()] if config is not None else []
    if list(rows) != stored:
        plan.config["templates"] = list(rows.values())
        _differ(
            plan, "config_templates", ",".join(str(pk) for pk in stored), ",".join(str(pk) for pk in rows)
        )
