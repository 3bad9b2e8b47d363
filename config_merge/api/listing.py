"""A list of devices as a paginator takes it: its length and its slices, at a cost that does not follow the fleet.

Counts come from the counters where these know the answer; few matches are sorted, many are met soon enough by walking
in the order wanted. Rows are read last, by their keys, through `device_rows_visible_to`, so that a slice never shows
what its reader may not see.
"""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Never
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from django_filters.utils import translate_validation
from rest_framework.request import Request

from config_merge.api.rows import device_rows_visible_to
from config_merge.models import Config, ConfigTemplate
from config_merge.queries import configs_counted
from core import pages, search
from core.crypto import digest
from devices.models import Device, DeviceText
from devices.queries import devices_counted, devices_worded
from tenancy.api.lists import order_of, words_of
from tenancy.models import Organization
from tenancy.queries import organizations_visible_to, roles_of

NEWEST: tuple[tuple[str, bool], ...] = (("created", True), ("id", False))
# What an index gives in order within an organization.
INDEXED = frozenset({"id", "created", "name", "mac_address", "modified", "model", "os"})
# So many matches are sorted sooner than met by walking; so many devices are read sooner than looked up by their words.
FEW, NARROW = 2000, 5000
# With more organizations, or more of their first rows, one walk through all devices is cheaper than one for each.
MOST_TENANTS, MOST_SORTED = 200, 50_000
SHORTEST_KEY = 8


class DeviceListing:
    """The devices that `user` may see, and that `asked` (values by the names of the filters) and `words` leave.

    With `key`, the one that has this key, whole; keys are stored encrypted.
    """

    ordered = True

    def __init__(
        self,
        user: Any,
        *,
        asked: Mapping[str, Any],
        filters: Mapping[str, Any] = MappingProxyType({}),
        words: Sequence[str] = (),
        order: Sequence[tuple[str, bool]] = (),
        key: str = "",
    ) -> None:
        self.user, self.filters = user, filters
        self.order = tuple(order) or NEWEST
        left = {name: value for name, value in asked.items() if value not in (None, "")}
        self.tenants = self._tenants(left.pop("organization", None), left.pop("organization_slug", None))
        self.template = left.pop("config__templates", None)
        # Only devices of its own organization have a group, or a template that is not shared.
        for owner in (getattr(it, "organization_id", None) for it in (self.template, left.get("group"))):
            if owner is not None:
                self.tenants = [owner] if self.tenants is None or owner in self.tenants else []
        parts = {name: left.pop(name).lower() for name in ("name", "mac_address") if name in left}
        self.texts: dict[str, Any] = parts | ({"words": list(words)} if words else {})
        self.kind = {
            name: left.pop(name) for name in ("group", "group__isnull", "is_deactivated") if name in left
        }
        self.config = {
            name: left.pop(f"config__{name}") for name in ("status", "backend") if f"config__{name}" in left
        }
        self.rest, self.key = left, key

    def _tenants(self, organization: Organization | None, slug: str | None) -> list[UUID] | None:
        """Return the organizations to look in, None for all there are."""
        superuser = self.user.is_superuser and self.user.is_active
        tenants = None if superuser else list(roles_of(self.user))
        if organization is not None:
            tenants = [organization.pk] if tenants is None or organization.pk in tenants else []
        if slug is not None:
            named = organizations_visible_to(self.user).filter(slug=slug).values_list("pk", flat=True)
            tenants = [pk for pk in named if tenants is None or pk in tenants]
        return tenants

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Never:
        raise TypeError("a list of devices is read by pages")

    def count(self) -> int:
        """Return how many devices there are."""
        return self._count

    def __getitem__(self, part: slice) -> list[Device]:
        """Return some of the devices, in order."""
        start, stop = part.start or 0, min(self._count, part.stop if part.stop is not None else self._count)
        if start >= stop:
            return []
        # What is nearer to the end is reached from there.
        far = start > self._count - stop
        keys = self._keys(self._count - stop, self._count - start, far) if far else self._keys(start, stop)
        keys = keys[::-1] if far else keys
        rows = device_rows_visible_to(self.user).order_by().in_bulk(keys)
        return [rows[key] for key in keys if key in rows]

    # --- how many -------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _count(self) -> int:
        if self.tenants == []:
            return 0
        if self.key or self.rest or sum(map(bool, (self.template, self.texts, self.kind, self.config))) > 1:
            return self._inside(self._found(walking=False)).count()
        if self.texts:
            return self._texts().count()
        if self.template:
            return self._count_of_template()
        if self.config:
            return configs_counted(self.tenants, **self.config)
        return devices_counted(self.tenants, **self.kind)

    def _count_of_template(self) -> int:
        users = ConfigTemplate.objects.filter(template=self.template)
        # Its users are where a template belongs; only of a shared one they must be asked.
        if self.tenants is not None and self.template.organization_id not in self.tenants:
            users = users.filter(config__organization_id__in=self.tenants)
        return users.count()

    # --- which ----------------------------------------------------------------------------------------------------

    def _keys(self, start: int, stop: int, backwards: bool = False) -> list[UUID]:
        """Return the keys of a slice that is not empty, of the list read `backwards` or not."""
        walking = self._count > FEW
        order = [(name, descends != backwards) for name, descends in self.order]
        if self.key or self.texts or self.template or self.rest or "group" in self.kind:
            found = self._found(walking=walking)
            # A group and the matches of words are inside the organizations already.
            if not ("group" in self.kind or (self.texts and not walking)):
                found = self._inside(found)
            return pages.keys_of_page(found, order, start=start, stop=stop)
        if self.config and not self.kind and self.order == NEWEST:
            configs = Config.objects.filter(**self.config)
            newest = [("device_created", not backwards), ("device_id", backwards)]
            each = self._each(stop)
            if not each:
                configs = self._inside(configs)
            return pages.keys_of_page(
                configs, newest, start=start, stop=stop, key="device_id", nulls=False, **each
            )
        found = self._found(walking=walking)
        each = {} if self.config or not {name for name, _ in self.order} <= INDEXED else self._each(stop)
        return pages.keys_of_page(
            found if each else self._inside(found), order, start=start, stop=stop, **each
        )

    def _each(self, stop: int) -> dict[str, Any]:
        """Return the organizations to look into one by one; nothing where one look at all is better."""
        tenants = self.tenants
        if tenants is None and (self.order != NEWEST or self.config):
            tenants = list(Organization.objects.values_list("pk", flat=True)[: MOST_TENANTS + 1])
        if not tenants or len(tenants) > MOST_TENANTS or len(tenants) * stop > MOST_SORTED:
            return {}
        return {"tenant": "organization_id", "tenants": tenants}

    def _inside(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows if self.tenants is None else rows.filter(organization_id__in=self.tenants)

    def _texts(self) -> QuerySet[DeviceText]:
        narrow = self.tenants is not None and devices_counted(self.tenants) <= NARROW
        texts = devices_worded(**self.texts, narrow=narrow)
        if self.tenants is None:
            return texts
        return search.among(texts, "organization_id", self.tenants, narrow=narrow)

    def _found(self, *, walking: bool) -> QuerySet[Device]:
        """Return the devices asked for in any organization; `walking` says that conditions are only tested."""
        found = Device.objects.filter(**self.kind)
        found = found.filter(**{f"config__{name}": value for name, value in self.config.items()})
        if self.key:
            found = found.filter(key_digest=digest(self.key))
        for name, value in self.rest.items():
            found = self.filters[name].filter(found, value)
        users = ConfigTemplate.objects.filter(template=self.template) if self.template else None
        if not walking:
            found = found.filter(pk__in=self._texts().values("device_id")) if self.texts else found
            return found.filter(pk__in=users.values("config__device_id")) if users is not None else found
        if self.texts:
            found = found.filter(
                Exists(devices_worded(**self.texts, tested=True).filter(device=OuterRef("pk")))
            )
        return (
            found.filter(Exists(users.filter(config__device=OuterRef("pk")))) if users is not None else found
        )


def listing_of(view: Any, queryset: QuerySet[Device]) -> DeviceListing:
    """Return the list a request to `view` asks for. Raises ValidationError."""
    filterset = DjangoFilterBackend().get_filterset(view.request, queryset, view)
    if not filterset.is_valid():
        raise translate_validation(filterset.errors)
    asked = {
        "asked": filterset.form.cleaned_data,
        "filters": filterset.filters,
        "order": order_of(view.request, view.ordering_fields),
    }
    words = words_of(view.request)
    key = view.request.query_params.get("search", "").strip()
    if len(words) == 1 and len(key) >= SHORTEST_KEY:
        by_key = DeviceListing(view.request.user, **asked, key=key)
        if by_key.count():
            return by_key
    return DeviceListing(view.request.user, **asked, words=words)


def searched(request: Request, devices: QuerySet[Device]) -> QuerySet[Device]:
    """Return those of the devices that `?search=` finds, by the rules of the list. Raises ValidationError."""
    words = words_of(request)
    if not words:
        return devices
    if len(words) == 1 and len(words[0]) >= SHORTEST_KEY:
        by_key = devices.filter(key_digest=digest(request.query_params["search"].strip()))
        if by_key.exists():
            return by_key
    return devices.filter(pk__in=devices_worded(words).values("device_id"))
