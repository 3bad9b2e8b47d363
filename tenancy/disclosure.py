"""Showing secrets to those who may see them, and writing down that they looked.

A `Disclosure` belongs to one request: serializers and pages ask it before they print a secret, and at the end it
writes one audit event for each object, or for each list, whose secrets were shown. Looking again within the hour adds
nothing, so a program that reads the device list every minute does not fill the trail.
"""

import threading
import time
from collections import OrderedDict
from typing import Any
from uuid import UUID

from django.db import models

from core.redaction import Names, mark_of, redacted
from tenancy import audit
from tenancy.queries import may_reveal

QUIET_SECONDS = 3600.0
REMEMBERED = 10_000
REVEALED = "secret.revealed"
_Key = tuple[Any, ...]


class _Recent:
    """Who looked at what lately, in this process; the oldest looks are forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[_Key, float] = OrderedDict()

    def is_news(self, key: _Key) -> bool:
        moment = time.monotonic()
        with self._lock:
            seen = self._seen.get(key)
            if seen is not None and moment - seen < QUIET_SECONDS:
                return False
            self._seen[key] = moment
            self._seen.move_to_end(key)
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return True

    def forget(self) -> None:
        with self._lock:
            self._seen.clear()


recent = _Recent()


class Disclosure:
    """What one request may show of secrets, and what it has shown."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self._shown: dict[tuple[str, UUID | None], dict[str, models.Model]] = {}
        self._listed: dict[tuple[str, UUID | None], int] = {}

    def may(self, organization_id: UUID | None) -> bool:
        """Tell whether the user may see secrets of an organization (None: of shared objects)."""
        return may_reveal(self.user, organization_id)

    def value(self, secret: str, *, of: models.Model, organization_id: UUID | None) -> str:
        """Return a secret, or its mark for who may not see it."""
        if not secret:
            return secret
        if not self.may(organization_id):
            return mark_of(secret)
        self.note(of, organization_id=organization_id)
        return secret

    def tree(
        self, tree: Any, *, of: models.Model, organization_id: UUID | None, names: Names = frozenset()
    ) -> Any:
        """Return a configuration or variables, with marks instead of secrets for who may not see them."""
        hidden = redacted(tree, names=names)
        if hidden == tree:
            return tree
        if not self.may(organization_id):
            return hidden
        self.note(of, organization_id=organization_id)
        return tree

    def note(self, of: models.Model, *, organization_id: UUID | None) -> None:
        """Remember that secrets of an object were shown."""
        kind = of._meta.model_name or ""
        self._shown.setdefault((kind, organization_id), {})[str(of.pk)] = of

    def note_list(self, model: type[models.Model], *, organization_id: UUID | None, count: int) -> None:
        """Remember that secrets of a list were shown that is too long to hold."""
        place = (model._meta.model_name or "", organization_id)
        self._listed[place] = self._listed.get(place, 0) + count

    def write(self) -> None:
        """Write down what was shown: the object when it was one, how many when it was a list."""
        events = []
        for (kind, organization_id), objects in self._shown.items():
            one = next(iter(objects.values())) if len(objects) == 1 else None
            key = (self.user.pk, organization_id, kind, str(one.pk) if one else "several")
            if recent.is_news(key):
                changes = {} if one else {"objects": (None, f"{len(objects)} of {kind}")}
                events.append(audit.event(REVEALED, one, organization_id=organization_id, changes=changes))
        for (kind, organization_id), count in self._listed.items():
            if recent.is_news((self.user.pk, organization_id, kind, "several")):
                changes = {"objects": (None, f"{count} of {kind}")}
                events.append(audit.event(REVEALED, None, organization_id=organization_id, changes=changes))
        self._shown.clear()
        self._listed.clear()
        audit.record_all(events)


def disclosure_of(request: Any) -> Disclosure:
    """Return the disclosure of a request (Django's or DRF's), made at the first call."""
    plain = getattr(request, "_request", request)
    found: Disclosure | None = getattr(plain, "muster_disclosure", None)
    if found is None:
        found = plain.muster_disclosure = Disclosure(request.user)
    return found
