"""The one place that knows who may: role x action x kind of object.

Apps register their models here (`register`, in their `wiring.py`); the REST permissions, the admin and the generated
isolation test all ask `allows`. A model nobody registered is closed to everyone but superusers.
"""

from dataclasses import dataclass

from django.db import models

from tenancy.models import Role

RANK: dict[str, int] = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.MANAGER: 3, Role.OWNER: 4}
ACTIONS = ("view", "add", "change", "delete")


@dataclass(frozen=True, slots=True)
class Rule:
    """The weakest role that may do each action; None: superusers only."""

    view: str | None
    add: str | None
    change: str | None
    delete: str | None


_rules: dict[str, Rule] = {}


def register(label: str, *, view: str | None, write: str | None, **actions: str | None) -> None:
    """Set the rule of the model `label` ("app.model"); `add`, `change`, `delete` override `write`."""
    _rules[label.lower()] = Rule(
        view=view,
        add=actions.get("add", write),
        change=actions.get("change", write),
        delete=actions.get("delete", write),
    )


def labels() -> list[str]:
    """Return everything that has a rule."""
    return sorted(_rules)


def rule_of(label: str) -> Rule:
    """Return the rule of a model; unregistered models are closed."""
    return _rules.get(label.lower(), Rule(None, None, None, None))


def allows(role: str | None, action: str, model: type[models.Model] | str) -> bool:
    """Tell whether `role` may do `action` on objects of `model` in its organization.

    >>> allows(None, "view", "tenancy.organization")
    False
    """
    label = model if isinstance(model, str) else model._meta.label_lower
    needed = getattr(rule_of(label), action, None)
    return bool(role and needed and RANK[role] >= RANK[needed])


register("tenancy.organization", view=Role.VIEWER, write=None, change=Role.OWNER)
register("tenancy.membership", view=Role.MANAGER, write=Role.MANAGER)
register("tenancy.notification", view=Role.VIEWER, write=None, change=Role.OPERATOR)
register("tenancy.auditevent", view=Role.MANAGER, write=None)
register("tenancy.webhook", view=Role.MANAGER, write=Role.MANAGER)
register("tenancy.webhookdelivery", view=Role.MANAGER, write=None, add=Role.MANAGER)
register("tenancy.user", view=Role.MANAGER, write=Role.MANAGER)
register("tenancy.apikey", view=Role.VIEWER, write=Role.VIEWER)
register("tenancy.memberkey", view=Role.MANAGER, write=None, delete=Role.MANAGER)
register("tenancy.membertoken", view=Role.OWNER, write=None, delete=Role.OWNER)
