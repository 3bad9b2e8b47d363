"""Who may do what to whom: people, their memberships and their tokens.

A membership belongs to its organization, an account to the person. So a manager changes memberships of the own
organization, and an account only when nobody else's organization stands behind it: whoever resets a password can be
that person everywhere.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from core.errors import Forbidden
from tenancy.models import ApiToken, Membership, Organization, Role, User
from tenancy.policy import RANK, allows
from tenancy.queries import Grant, api_tokens_of, grants_of, organization_ids_where

SUPERUSER = "Only superusers may do this to a superuser."
ELSEWHERE = (
    "This person also belongs to an organization you do not manage: only their membership here can change."
)
ABOVE = "This person may do more than you in one of your organizations."
ROLE_ABOVE = "You cannot give a role above your own."
MEMBER_ABOVE = "You cannot change a member whose role is above yours."
NO_REVEAL = "Only owners who may reveal secrets themselves can let others reveal them."
# What an account may be asked for by a manager; a token of a member, by an owner.
ACCOUNT, MEMBER_TOKEN = "tenancy.user", "tenancy.membertoken"


def is_root(user: Any) -> bool:
    """Tell whether `user` is an active superuser."""
    return bool(user.is_authenticated and user.is_active and user.is_superuser)


def people_visible_to(user: Any, *, label: str = ACCOUNT) -> QuerySet[User]:
    """Return the people of the organizations `user` manages, with their memberships; superusers see everyone."""
    memberships = Membership.objects.select_related("organization").order_by("created", "id")
    people = User.objects.prefetch_related(Prefetch("memberships", queryset=memberships))
    if is_root(user):
        return people
    known = Membership.objects.filter(organization_id__in=list(organization_ids_where(user, "view", label)))
    return people.filter(pk__in=known.values("user_id"))


def memberships_managed_by(user: Any) -> QuerySet[Membership]:
    """Return the memberships of the organizations `user` manages."""
    rows = Membership.objects.select_related("user", "organization")
    if is_root(user):
        return rows
    return rows.filter(organization_id__in=list(organization_ids_where(user, "view", Membership)))


def tokens_of_member(actor: Any, person: User) -> QuerySet[ApiToken]:
    """Return the living tokens of `person` for an owner to look at. Raises Forbidden."""
    obstacle = obstacle_to(actor, person, label=MEMBER_TOKEN)
    if obstacle:
        raise Forbidden(obstacle)
    return api_tokens_of(person)


def obstacle_to(actor: Any, person: User, *, label: str = ACCOUNT) -> str:
    """Return why `actor` may not change the account of `person`; empty when they may.

    That somebody else stands behind the account says more than that the person is above `actor`, in whichever order
    the memberships come.
    """
    if is_root(actor):
        return ""
    if person.is_superuser:
        return SUPERUSER
    if person.pk == actor.pk:
        return ""
    grants, found = grants_of(actor), ""
    for membership in person.memberships.all():
        grant = grants.get(membership.organization_id)
        if grant is None or not allows(grant.role, "view", label):
            return ELSEWHERE
        if RANK[membership.role] > RANK[grant.role] or (membership.can_reveal and not grant.can_reveal):
            found = ABOVE
    return found


def may_read_account(actor: Any, person: User) -> bool:
    """Tell whether `actor` may see what the person has by themselves, such as the e-mail address."""
    return obstacle_to(actor, person) in ("", ABOVE)


def shown_memberships(actor: Any, person: User) -> list[Membership]:
    """Return the memberships of `person` that `actor` may know of."""
    rows = list(person.memberships.all())
    if is_root(actor):
        return rows
    known: Collection[UUID] = organization_ids_where(actor, "view", ACCOUNT)
    return [row for row in rows if row.organization_id in known]


def _grant_in(actor: Any, organization_id: UUID) -> Grant:
    grant = grants_of(actor).get(organization_id)
    if grant is None or not allows(grant.role, "change", Membership):
        raise Forbidden("You do not manage the members of this organization.")
    return grant


def may_let_reveal(actor: Any, organization_id: UUID | None) -> bool:
    """Tell whether `actor` may give the right to reveal: an owner who holds it, or a superuser."""
    if is_root(actor):
        return True
    grant = grants_of(actor).get(organization_id) if organization_id is not None else None
    return grant is not None and grant.role == Role.OWNER and grant.can_reveal


def check_membership_change(
    actor: Any, organization: Organization, *, current: Membership | None, role: str, can_reveal: bool | None
) -> bool | None:
    """Refuse what is above `actor`; returns the `can_reveal` to store (None: what the role brings). Raises Forbidden.

    Who cannot give the right to reveal can only leave or take it.
    """
    if is_root(actor):
        return can_reveal
    rank = RANK[_grant_in(actor, organization.pk).role]
    if current is not None and RANK[current.role] > rank:
        raise Forbidden(MEMBER_ABOVE)
    if RANK[role] > rank:
        raise Forbidden(ROLE_ABOVE)
    if may_let_reveal(actor, organization.pk):
        return can_reveal
    held = current is not None and current.can_reveal
    if can_reveal and not held:
        raise Forbidden(NO_REVEAL)
    if can_reveal is not None:
        return can_reveal
    unchanged = current is not None and current.role == role
    return held and (unchanged or role in (Role.OWNER, Role.MANAGER))


def check_membership_end(actor: Any, membership: Membership) -> None:
    """Refuse to end the membership of somebody above `actor`. Raises Forbidden."""
    if not is_root(actor) and RANK[membership.role] > RANK[_grant_in(actor, membership.organization_id).role]:
        raise Forbidden("You cannot remove a member whose role is above yours.")
