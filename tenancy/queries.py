"""Who sees what: every read of tenant-owned rows starts here.

A superuser sees all organizations, also disabled ones; everyone else the active ones they are a member of.
"""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q, QuerySet

from tenancy.models import (
    ApiToken,
    AuditEvent,
    Membership,
    Notification,
    Organization,
    User,
    Webhook,
    WebhookDelivery,
)
from tenancy.policy import allows

M = TypeVar("M", bound=models.Model)
AnyUser = User | AnonymousUser


@dataclass(frozen=True, slots=True)
class Grant:
    """What a member holds in one organization."""

    role: str
    can_reveal: bool


def grants_of(user: Any) -> dict[UUID, Grant]:
    """Return what `user` holds in each of their active organizations (one query, kept on the user object)."""
    if not user.is_authenticated or not user.is_active:
        return {}
    cached: dict[UUID, Grant] | None = getattr(user, "_muster_grants", None)
    if cached is None:
        rows = Membership.objects.filter(user=user, organization__is_active=True)
        cached = {
            pk: Grant(role, can_reveal)
            for pk, role, can_reveal in rows.values_list("organization_id", "role", "can_reveal")
        }
        user._muster_grants = cached
    return cached


def roles_of(user: Any) -> dict[UUID, str]:
    """Return the role of `user` in each of their active organizations."""
    return {pk: grant.role for pk, grant in grants_of(user).items()}


@dataclass(frozen=True, slots=True)
class Called:
    """Whom a typed name means: `person` signs in by it, and wrong passwords under it count against `account`."""

    person: User | None
    account: User | None


def _only(people: list[User]) -> User | None:
    return people[0] if len(people) == 1 else None


def called(login: str) -> Called:
    """Return whom `login` means, in one query whoever exists.

    The username as it is spelt wins over an e-mail address; an address that several people could mean is nobody's.
    Another spelling of one username lets nobody in, but it is a guess at that account.
    """
    name = unicodedata.normalize("NFKC", login).strip()
    folded = name.casefold()
    like = Q(username__iexact=name) | Q(email__iexact=name) & ~Q(email="")
    found = list(User.objects.filter(like).order_by("pk"))
    # A database may find more alike than people do.
    addressed = [person for person in found if person.email and person.email.casefold() == folded]
    spelt = [person for person in found if person.username.casefold() == folded]
    person = _only([person for person in spelt if person.username == name]) or _only(addressed)
    return Called(person, person or _only(spelt))


def may_reveal(user: Any, organization_id: UUID | None) -> bool:
    """Tell whether `user` may see the secrets of an organization; those of shared objects only superusers may."""
    if user.is_authenticated and user.is_superuser and user.is_active:
        return True
    grant = grants_of(user).get(organization_id) if organization_id is not None else None
    return grant is not None and grant.can_reveal


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


def audit_events_visible_to(user: Any) -> QuerySet[AuditEvent]:
    """Return what happened in the organizations where `user` may read the trail; superusers see all of it."""
    events = AuditEvent.objects.all()
    if user.is_authenticated and user.is_superuser and user.is_active:
        return events
    return events.filter(organization_id__in=list(organization_ids_where(user, "view", AuditEvent)))


def webhooks_visible_to(user: Any) -> QuerySet[Webhook]:
    """Return the webhooks of the organizations where `user` may see them; superusers see all."""
    return _where_viewed(Webhook.objects.all(), user)


def webhook_deliveries_visible_to(user: Any) -> QuerySet[WebhookDelivery]:
    """Return the messages to the webhooks of the organizations where `user` may see them."""
    return _where_viewed(WebhookDelivery.objects.all(), user)


def _where_viewed(queryset: QuerySet[M], user: Any) -> QuerySet[M]:
    """Keep the rows of organizations in which the user's role may look at such rows."""
    if user.is_authenticated and user.is_superuser and user.is_active:
        return queryset
    return queryset.filter(organization_id__in=list(organization_ids_where(user, "view", queryset.model)))


def webhook_deliveries_by_state() -> dict[tuple[str, ...], float]:
    """Count the messages in the delivery log by state, for the metrics."""
    counts = dict.fromkeys(WebhookDelivery.State.values, 0)
    rows = WebhookDelivery.objects.order_by().values_list("state").annotate(count=models.Count("pk"))
    return {(state,): count for state, count in (counts | dict(rows)).items()}
