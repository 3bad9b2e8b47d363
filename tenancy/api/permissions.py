"""The tenant wall of the REST dialect: the decision table of the OpenWISP spec, section 3, in its order.

401 comes from the authentication; then: no active membership 403, no role anywhere that may 403, an object
that is not visible 404 (from the view's queryset), a shared object written by a member 403, a role too weak
there 403.
"""

from typing import Any
from uuid import UUID

from django.db import models
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tenancy.models import Organization
from tenancy.policy import allows
from tenancy.queries import organization_ids_where, roles_of

NOT_A_MEMBER = "You are not a member of any active organization."
SHARED_IS_READ_ONLY = "Only superusers may change objects that are shared by all organizations."
METHOD_ACTIONS = {"POST": "add", "PUT": "change", "PATCH": "change", "DELETE": "delete"}


def action_of(method: str | None) -> str:
    """Return the policy's action of an HTTP method; custom POST actions count as `add` (spec section 3)."""
    return METHOD_ACTIONS.get(method or "", "view")


def _action(request: Request, view: Any) -> str:
    """Return what the request does to the view's objects; a view whose POST is no addition says what it is."""
    posted: str = getattr(view, "post_action", "add")
    return posted if request.method == "POST" else action_of(request.method)


def organization_id_of(obj: models.Model) -> UUID | None:
    """Return the organization an object belongs to, None for a shared one."""
    return obj.pk if isinstance(obj, Organization) else obj.organization_id  # type: ignore[attr-defined]


class TenantPermission(BasePermission):
    """Asks the policy for the view's `model`; the view's queryset has decided what is visible."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the user may do this anywhere at all."""
        if request.user.is_superuser:
            return True
        if not roles_of(request.user):
            raise PermissionDenied(NOT_A_MEMBER)
        if not hasattr(view, (request.method or "").lower()):
            return True  # for the view to answer 405
        return bool(organization_ids_where(request.user, _action(request, view), view.model))

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        """Tell whether the user's role in the object's organization is strong enough."""
        if request.user.is_superuser:
            return True
        action, organization_id = _action(request, view), organization_id_of(obj)
        if organization_id is None:
            if action != "view":
                raise PermissionDenied(SHARED_IS_READ_ONLY)
            return True
        return allows(roles_of(request.user).get(organization_id), action, view.model)
