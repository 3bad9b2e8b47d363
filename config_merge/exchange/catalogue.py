"""What the rows of one import may refer to: read once per file, and only what the importing person may use.

Invariant: an object of another organization is not in here, so a row that names it reads as if it did not exist.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch

from config_merge.carrying import secret_names_of
from config_merge.exchange.files import TableRow
from config_merge.models import ConfigTemplate, Template
from config_merge.queries import templates_visible_to
from devices.models import Device, DeviceGroup, FleetSettings
from devices.queries import devices_visible_to, groups_visible_to
from tenancy.models import Organization
from tenancy.queries import may_reveal, organization_ids_where

CHUNK = 500


class Unknown(Exception):
    """A row names nothing that this person may use; `str()` says what."""


def as_uuid(value: Any) -> UUID | None:
    """Return the id in a cell, None for what is none."""
    try:
        return UUID(str(value).strip())
    except ValueError:
        return None


def writable_organizations(user: Any) -> dict[UUID, Organization]:
    """Return the organizations in which `user` may create and change devices."""
    if user.is_superuser and user.is_active:
        return Organization.objects.in_bulk()
    allowed = set(organization_ids_where(user, "add", Device))
    allowed &= set(organization_ids_where(user, "change", Device))
    return Organization.objects.in_bulk(allowed)


class Catalogue:
    """Organizations, groups, templates and devices by what a row may call them."""

    def __init__(self, *, user: Any, rows: Iterable[TableRow]) -> None:
        self.user = user
        self.organizations = writable_organizations(user)
        self._reveals = {pk: may_reveal(user, pk) for pk in self.organizations}
        groups = (
            groups_visible_to(user).filter(organization__in=self.organizations).defer("context", "meta_data")
        )
        self._groups: dict[UUID, DeviceGroup] = {group.pk: group for group in groups}
        self._group_named = {(group.organization_id, group.name): group for group in self._groups.values()}
        self._templates: dict[UUID, Template] | None = None
        self._secret_names: dict[UUID, frozenset[str]] = {}
        self._by_id: dict[UUID, Device] = {}
        self._by_mac: dict[tuple[UUID, str], Device] = {}
        self._load(list(rows))

    def _load(self, rows: list[TableRow]) -> None:
        """Read the devices that the rows may be about, 500 rows at a time."""
        assigned = Prefetch("config__config_templates", ConfigTemplate.objects.order_by("position", "pk"))
        mine = devices_visible_to(self.user).filter(organization__in=self.organizations)
        devices = mine.select_related("organization", "group", "config").prefetch_related(assigned)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            ids = {pk for row in part if (pk := as_uuid(row.cells.get("id", "")))}
            macs = {str(row.cells.get("mac_address", "")).strip().upper() for row in part}
            for device in devices.filter(pk__in=ids):
                self._by_id[device.pk] = device
            for device in devices.filter(mac_address__in=macs, is_retired=False):
                self._by_mac[device.organization_id, device.mac_address] = self._by_id.get(device.pk, device)

    def reveals(self, organization_id: UUID) -> bool:
        """Tell whether the person may see an organization's secrets."""
        return self._reveals.get(organization_id, False)

    def secret_names(self, organization_id: UUID) -> frozenset[str]:
        """Return the variables whose values are secrets in an organization (one query for each)."""
        if organization_id not in self._secret_names:
            self._secret_names[organization_id] = secret_names_of([organization_id])
        return self._secret_names[organization_id]

    def organization(self, *, pk: Any, name: str) -> Organization | None:
        """Return an organization by id, else by slug or name; None when neither is said. Raises Unknown."""
        if str(pk).strip():
            found = self.organizations.get(as_uuid(pk) or UUID(int=0))
            if found is None:
                raise Unknown("There is no organization with this id.")
            return found
        if not name:
            return None
        rows = self.organizations.values()
        matching = [row for row in rows if row.slug == name] or [row for row in rows if row.name == name]
        if len(matching) > 1:
            raise Unknown("Several organizations have this name: use organization_id.")
        if not matching:
            raise Unknown("There is no organization with this name.")
        return matching[0]

    def group(self, *, pk: Any, name: str, organization_id: UUID) -> DeviceGroup | None:
        """Return a group of an organization by id, else by name; None when neither is said. Raises Unknown."""
        if str(pk).strip():
            found = self._groups.get(as_uuid(pk) or UUID(int=0))
            if found is None or found.organization_id != organization_id:
                raise Unknown("The organization has no group with this id.")
            return found
        if not name:
            return None
        found = self._group_named.get((organization_id, name))
        if found is None:
            raise Unknown("The organization has no group with this name.")
        return found

    def template(self, pk: Any) -> Template:
        """Return a template by id. Raises Unknown."""
        if self._templates is None:
            rows = templates_visible_to(self.user).select_related(None)
            self._templates = {row.pk: row for row in rows.defer("config", "default_values", "notes")}
        found = self._templates.get(as_uuid(pk) or UUID(int=0))
        if found is None:
            raise Unknown(f"There is no template with the id {str(pk)[:64]}.")
        return found

    def device(self, *, pk: Any) -> Device:
        """Return a device by id. Raises Unknown."""
        found = self._by_id.get(as_uuid(pk) or UUID(int=0))
        if found is None:
            raise Unknown("There is no device with this id; leave the id empty to create one.")
        return found

    def device_at(self, *, organization_id: UUID, mac_address: str) -> Device | None:
        """Return the organization's device with a MAC address."""
        return self._by_mac.get((organization_id, mac_address.upper()))

    def room(self, organization_ids: Iterable[UUID]) -> dict[UUID, int | None]:
        """Return how many devices each organization may still add; None for any number."""
        wanted = list(organization_ids)
        limits = dict(FleetSettings.objects.filter(pk__in=wanted).values_list("pk", "device_limit"))
        counted = Device.objects.filter(organization__in=wanted).order_by().values("organization")
        counts: dict[UUID, int] = defaultdict(int)
        counts |= dict(counted.annotate(total=Count("pk")).values_list("organization", "total"))
        return {
            pk: None if limits.get(pk, 0) == 0 else max((limits[pk] or 0) - counts[pk], 0) for pk in wanted
        }
