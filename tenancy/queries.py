"""Who sees what: every read of tenant-owned rows starts here.

A superuser sees all organizations, also disabled ones; everyone else the active ones they are a member of.
"""

from collections.abc import Collection
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q, QuerySet

from tenancy.models import ApiToken, Membership, Notification, Organization, User
from tenancy.policy import allows

M = TypeVar("M", bound=models.Model)
AnyUser = User | AnonymousUser


def roles_of(user: Any) -> dict[UUID, str]:
    """Return the role of `user` in each of their active organizations (one query, kept on the user object)."""
    if not user.is_authenticated or not user.is_active:
        return {}
    cached: dict[UUID, str] | None = getattr(user, "_muster_roles", None)
    if cached is None:
        rows = Membership.objects.filter(user=user, organization__is_active=True)
        cached = dict(rows.values_list("organization_id", "role"))
        user._muster_roles = cached
    return cached


def organization_ids_where(user: Any, action: str, model: type[models.Model] | str) -> Collection[UUID]:
    """Return the ids of the organizations in which `user` may do `action` on objects of `model`."""
    return [pk for pk, role in roles_of(user).items() if allows(role, action, model)]


def organizations_visible_to(user: Any) -> QuerySet[Organization]:
    """Return the organizations `user` belongs to."""
    if user.is_superuser and user.is_active:
        return Organization.objects.all()
    return Organization.objects.filter(pk__in=list(roles_of(user)))


def restrict(
    queryset: QuerySet[M], user: Any, *, shared: bool = False, path: str = "organization"
) -> QuerySet[M]:
    """Keep the rows whose organization (reached by `path`) `user` belongs to; `shared` adds those of none."""
    if user.is_authenticated and user.is_superuser and user.is_active:
        return queryset
    roles = roles_of(user)
    if not roles:
        return queryset.none()
    own = Q(**{f"{path}__in": list(roles)})
    return queryset.filter(own | Q(**{f"{path}__isnull": True}) if shared else own)


def memberships_visible_to(user: Any) -> QuerySet[Membership]:
    """Return the memberships of the organizations `user` belongs to."""
    return restrict(Membership.objects.select_related("user", "organization"), user)


def notifications_visible_to(user: Any) -> QuerySet[Notification]:
    """Return the notifications of the organizations `user` belongs to."""
    return restrict(Notification.objects.select_related("organization"), user)


def api_tokens_of(user: Any) -> QuerySet[ApiToken]:
    """Return the tokens of `user` that were not revoked."""
    return ApiToken.objects.filter(user=user, revoked_at__isnull=True)
