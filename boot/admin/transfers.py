"""Admin page that takes what one API key has over to another: asked for, looked at, done."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from boot.models import BootConfig
from boot.queries import keys_of_writers, keys_writable_by
from boot.transfer import Conflicts, Outcome, Transfer, transfer
from tenancy.admin_base import Refused, reason_of, refusals, several

MOST_LINES = 500
KINDS = (("config", "Boot configurations"), ("image", "Images"), ("track", "Tracks"))
CHOICES = (
    (Conflicts.REFUSE, "do nothing at all"),
    (Conflicts.SKIP, "leave those, take the others"),
    (Conflicts.REPLACE, "replace them; images are never replaced"),
)
# What becomes of a thing: the badge's colour, and the words before and after.
WORDS = {
    Outcome.COPIED: ("success", "will be copied"),
    Outcome.MOVED: ("success", "will be moved"),
    Outcome.REPLACED: ("warning", "will replace another"),
    Outcome.EQUAL: ("none", "is there already"),
    Outcome.STAYS: ("none", "stays"),
    Outcome.CONFLICT: ("danger", "in the way"),
}


def _asked(values: Any, sources: Any, targets: Any) -> dict[str, Any]:
    """Return what a form says, as the arguments of `transfer`; no key where none of the user's was chosen."""
    chosen = values.get("conflicts", "")
    return {
        "source": next((key for key in sources if str(key.pk) == values.get("from")), None),
        "target": next((key for key in targets if str(key.pk) == values.get("to")), None),
        "move": values.get("how") == "move",
        "conflicts": Conflicts(chosen) if chosen in set(Conflicts) else Conflicts.REFUSE,
    }


class TransferPages:
    """Mixed into the page of boot configurations."""

    def transfer_view(self: Any, request: HttpRequest) -> HttpResponse:
        """Ask what goes where, show what that would do, and do it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        user: Any = request.user
        sources = list(keys_of_writers(user, "add", BootConfig).order_by("name", "key_id"))
        targets = list(keys_writable_by(user, "add", BootConfig).order_by("name", "key_id"))
        is_post = request.method == "POST"
        values = request.POST if is_post else request.GET
        asked = _asked(values, sources, targets)
        context: dict[str, Any] = {
            **asked,
            "sources": sources,
            "targets": targets,
            "choices": [(value, text, value == asked["conflicts"]) for value, text in CHOICES],
            "nav": self.nav(request, "transfer"),
            "title": "To another key",
        }
        if "from" in values or is_post:
            outcome = self._transfer(request, asked, is_post=is_post)
            if isinstance(outcome, HttpResponse):
                return outcome
            context |= outcome
        answer: HttpResponse = self.page(request, "admin/boot/transfer.html", **context)
        return answer

    def _transfer(
        self: Any, request: HttpRequest, asked: dict[str, Any], *, is_post: bool
    ) -> HttpResponse | dict[str, Any]:
        if asked["source"] is None or asked["target"] is None:
            return {"problem": "Choose the key it comes from and the key it goes to."}
        try:
            with refusals():
                done = transfer(**_positional(asked), dry_run=not is_post)
        except Refused as refused:
            return {"problem": reason_of(refused)}
        if not is_post:
            return {"plan": done, "groups": _groups(done)}
        words = "moved" if done.is_move else "copied"
        counts = ", ".join(
            several(
                name,
                sum(
                    done.counts(kind)[str(outcome)]
                    for outcome in (Outcome.COPIED, Outcome.MOVED, Outcome.REPLACED)
                ),
            )
            for kind, name in (("config", "configuration"), ("image", "image"), ("track", "track"))
        )
        messages.success(request, f"{counts} {words} from {done.source} to {done.target}.")
        return HttpResponseRedirect(f"{self.link('changelist')}?key={done.target.pk}")


def _positional(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: asked[name] for name in ("source", "target", "move", "conflicts")}


def _groups(plan: Transfer) -> list[dict[str, Any]]:
    """Return what becomes of things, by kind; what needs attention first."""
    order = [Outcome.CONFLICT, Outcome.REPLACED, Outcome.STAYS, Outcome.MOVED, Outcome.COPIED, Outcome.EQUAL]
    groups = []
    for kind, title in KINDS:
        lines = [line for line in plan.lines if line.kind == kind]
        lines.sort(key=lambda line: (not line.note, order.index(line.outcome), line.name))
        counts = plan.counts(kind)
        groups.append(
            {
                "title": title,
                "total": len(lines),
                "counts": [(*WORDS[one], counts[str(one)]) for one in order if counts[str(one)]],
                "lines": [(line, *WORDS[line.outcome]) for line in lines[:MOST_LINES]],
                "more": max(len(lines) - MOST_LINES, 0),
            }
        )
    return groups
