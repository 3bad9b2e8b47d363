"""What devices are given by themselves, read once for many of them.

Invariant: each answer is the one that the function of the same name in `services.assignment` gives for one device.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db.models import Q

from config_merge.models import GroupTemplate, Template
from config_merge.services import assignment
from devices.models import Device


class Given:
    """Required, default and groups' templates of some organizations and groups; two queries."""

    def __init__(self, *, organization_ids: Iterable[UUID | None], group_ids: Iterable[UUID | None]) -> None:
        theirs = Q(organization_id__in=set(organization_ids)) | Q(organization_id__isnull=True)
        rows = Template.objects.filter(theirs, default=True).order_by("-required", "name", "pk")
        self._everyones = list(rows.values_list("pk", "organization_id", "backend", "required"))
        self._groups: dict[tuple[UUID, str], list[UUID]] = defaultdict(list)
        named = GroupTemplate.objects.filter(group_id__in={pk for pk in group_ids if pk is not None})
        columns = ("group_id", "template__backend", "template_id")
        for group_id, backend, template_id in named.order_by("position", "pk").values_list(*columns):
            self._groups[group_id, backend].append(template_id)

    @classmethod
    def of(cls, devices: Iterable[Device]) -> "Given":
        """Return what is given to these devices, where they are now."""
        devices = list(devices)
        return cls(
            organization_ids={device.organization_id for device in devices},
            group_ids={device.group_id for device in devices},
        )

    def of_group(self, group_id: UUID | None, backend: str) -> list[UUID]:
        """Return the templates of a group that fit the back end, in the group's order."""
        return self._groups.get((group_id, backend), []) if group_id is not None else []

    def starting(self, device: Device, *, backend: str, chosen: Iterable[UUID] = ()) -> list[UUID]:
        """Return the templates of a new configuration: required, default, the group's, then those chosen."""
        own = self._automatic(device.organization_id, backend)
        return assignment.unique([*own, *self.of_group(device.group_id, backend), *chosen])

    def with_required(self, device: Device, *, backend: str, ids: Sequence[UUID]) -> list[UUID]:
        """Return `ids` with the required templates they lack put in front."""
        required = self._automatic(device.organization_id, backend, only_required=True)
        missing = [pk for pk in required if pk not in set(ids)]
        return assignment.unique([*missing, *ids])

    def _automatic(self, organization_id: UUID, backend: str, *, only_required: bool = False) -> list[UUID]:
        return [
            pk
            for pk, owner, of_backend, required in self._everyones
            if of_backend == backend and owner in (None, organization_id) and (required or not only_required)
        ]
