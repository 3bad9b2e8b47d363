"""A device's history: the list, one revision, any two compared, and going back to one.

Invariant: what is shown has marks in place of secrets (`config_merge.admin.hidden`).
"""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.http import urlencode

from config_merge.admin.hidden import hidden_diff, known_secrets
from config_merge.admin.shown import SHOWN_BYTES, diff_lines, shown_file, side_by_side, unpacked
from config_merge.hiding import files_hidden
from config_merge.models import Config, ConfigRevision
from config_merge.queries import revisions_of
from config_merge.services import revisions as history
from core.errors import NotFound
from devices.models import Device
from tenancy.admin_base import Refused, reason_of, refusals
from tenancy.admin_secrets import SecretsAdmin

REVISIONS_PER_PAGE = 25
# What the column of numbers holds; anything beyond is looked for as text would be: not at all.
LARGEST = 2**31


def _difference(
    old: ConfigRevision | None, new: ConfigRevision | None, config: Config | None
) -> dict[str, Any]:
    text = hidden_diff(unpacked(old), unpacked(new), known_secrets(config, old, new))
    lines = diff_lines(text[:SHOWN_BYTES])
    return {
        "diff": lines,
        "pairs": side_by_side(text[:SHOWN_BYTES]),
        "diff_is_cut": len(text) > SHOWN_BYTES,
        "added": sum(kind == "new" for kind, _ in lines),
        "removed": sum(kind == "gone" for kind, _ in lines),
    }


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and int(text[:12]) < LARGEST else None


class RevisionPages(SecretsAdmin):
    """Adds the history to the device's admin."""

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before Django's, whose last pattern matches everything."""
        pages = (
            ("<uuid:pk>/revisions/", "revisions", self.revisions_view),
            ("<uuid:pk>/revisions/compare/", "compare", self.compare_view),
            ("<uuid:pk>/revisions/<int:number>/", "revision", self.revision_view),
            ("<uuid:pk>/revisions/<int:number>/restore/", "restore", self.restore_view),
        )
        own = [
            path(route, self.admin_site.admin_view(view), name=f"devices_device_{name}")
            for route, name, view in pages
        ]
        return [*own, *super().get_urls()]

    def head(self, request: HttpRequest, device: Device, *, tab: str) -> dict[str, Any]:
        """Return what the top of every page of a device shows."""
        raise LookupError("the pages of a device have a head")

    def found(self, request: HttpRequest, pk: UUID) -> Device | None:
        """Return the device if this user may see it."""
        device: Device | None = self.get_object(request, str(pk))
        if device is not None:
            self.require(request, "view", device)
        return device

    def history_of(self, device: Device) -> QuerySet[ConfigRevision]:
        """Return all revisions of a device with their archives."""
        return ConfigRevision.objects.filter(config__device=device).select_related("actor")

    def revisions_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """List what the device was told to be."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        context = self.head(request, device, tab="revisions")
        pages = Paginator(revisions_of(device).order_by("-number"), REVISIONS_PER_PAGE)
        shown = context["revisions"] = pages.get_page(request.GET.get("page"))
        numbers = [row.number for row in shown]
        context["chosen"] = {
            "from": numbers[1] if len(numbers) > 1 else None,
            "to": next(iter(numbers), None),
        }
        return self.page(
            request, "admin/config_merge/revisions.html", original=device, title="Revisions", **context
        )

    def revision_view(self, request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
        """Show one revision and what it changed."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        known = self.history_of(device)
        revision = known.filter(number=number).first() if number < LARGEST else None
        if revision is None:
            return self._no_revision(request, pk, number)
        previous = known.filter(number__lt=number).order_by("-number").first()
        head = self.head(request, device, tab="revisions")
        secrets = known_secrets(head["device_config"], revision)
        following = known.filter(number__gt=number).order_by("number").values_list("number", flat=True)
        context = {
            **head,
            **_difference(previous, revision, head["device_config"]),
            "revision": revision,
            "previous": previous,
            "following": following.first(),
            "files": [shown_file(file) for file in files_hidden(unpacked(revision), secrets)],
            "reveal_part": f"revision:{number}",
            "may_restore": head["may_edit"] and not device.is_deactivated,
        }
        title = f"Revision {number}"
        return self.page(request, "admin/config_merge/revision.html", original=device, title=title, **context)

    def compare_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show what differs between any two revisions."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        old, new = (_number(request.GET.get(name)) or 0 for name in ("from", "to"))
        rows = {row.number: row for row in self.history_of(device).filter(number__in=[old, new])}
        before, after = rows.get(old), rows.get(new)
        if before is None or after is None:
            messages.error(request, "Choose two revisions of this device.")
            return HttpResponseRedirect(self.link("revisions", pk))
        head = self.head(request, device, tab="revisions")
        split = request.GET.get("view") == "split"
        here: dict[str, str | int] = {"from": old, "to": new}
        back: dict[str, str | int] = {"from": new, "to": old}
        context = {
            **head,
            **_difference(before, after, head["device_config"]),
            "before": before,
            "after": after,
            "split": split,
            "swapped": urlencode({**back, "view": "split"} if split else back),
            "other_view": urlencode(here if split else {**here, "view": "split"}),
            "reveal_part": f"compare:{old}:{new}",
        }
        title = f"Revision {old} and revision {new}"
        return self.page(request, "admin/config_merge/compare.html", original=device, title=title, **context)

    def restore_view(self, request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
        """Ask, showing what would change on the device, and go back to a revision."""
        device = self.found(request, pk)
        if device is None:
            return self.missing(request, pk)
        self.require(request, "change", device)
        revision = self.history_of(device).filter(number=number).first() if number < LARGEST else None
        if revision is None:
            return self._no_revision(request, pk, number)
        if request.method == "POST":
            return self._restore(request, device, revision)
        head = self.head(request, device, tab="revisions")
        config = head["device_config"]
        current = ConfigRevision.objects.filter(pk=config.revision_id).first()
        context = {
            **head,
            **_difference(current, revision, config),
            "revision": revision,
            "current": current,
            "reveal_part": f"compare:{current.number if current else 0}:{number}",
        }
        title = f"Restore revision {number}"
        return self.page(request, "admin/config_merge/restore.html", original=device, title=title, **context)

    def _restore(self, request: HttpRequest, device: Device, revision: ConfigRevision) -> HttpResponse:
        try:
            with refusals():
                restored = history.revision_restore(
                    device,
                    number=revision.number,
                    skip_missing=request.POST.get("skip_missing") == "on",
                    actor_id=request.user.pk,
                )
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return HttpResponseRedirect(self.link("restore", device.pk, revision.number))
        except NotFound:
            return self._no_revision(request, device.pk, revision.number)
        self.log_change(request, device, f"Restored revision {revision.number}.")
        told = f"Revision {revision.number} was restored as revision {restored.revision}."
        if restored.identical:
            messages.success(request, told)
        else:
            text = "Templates or variables have changed since, so the files are not all the same."
            messages.warning(request, f"{told} {text}")
        return HttpResponseRedirect(self.link("revisions", device.pk))

    def _no_revision(self, request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
        messages.error(request, f"There is no revision {number} of this device.")
        return HttpResponseRedirect(self.link("revisions", pk))
