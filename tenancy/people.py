"""What people do to people: invite, change, disable, delete them, set passwords, give and take memberships.

Every function takes `by`, who does it, and asks `tenancy.authority`; the plain writes are in `tenancy.services`.
Invariant: an organization that had an owner keeps one who can sign in, whatever is asked at the same time.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import transaction

from core.acting import acting_as, current
from core.clock import now
from core.db import locked
from core.errors import Forbidden
from tenancy import audit, services
from tenancy.authority import check_membership_change, check_membership_end, is_root, obstacle_to
from tenancy.links import person_of_link
from tenancy.models import ApiToken, Membership, Organization, Role, User
from tenancy.policy import RANK

LAST_OWNER = "This is the last owner of {name}: make somebody else an owner first."
BAD_LINK = "This link was used already, is too old, or was never valid."


def _take_organizations(ids: Iterable[UUID]) -> None:
    """Let one change of owners at a time happen in each organization, in the order of their ids."""
    wanted = Organization.objects.filter(pk__in=list(ids)).order_by("pk")
    list(locked(wanted).values_list("pk", flat=True))


def _check_not_last_owner(membership: Membership) -> None:
    owners = Membership.objects.filter(organization_id=membership.organization_id, role=Role.OWNER)
    if not owners.filter(user__is_active=True).exclude(pk=membership.pk).exists():
        raise ValidationError(LAST_OWNER.format(name=membership.organization))


# --- memberships ----------------------------------------------------------------------------------------------


@transaction.atomic
def member_set(
    *, by: User, user: User, organization: Organization, role: str, can_reveal: bool | None = None
) -> Membership:
    """Give `user` a role, or another one. Raises Forbidden, ValidationError."""
    if role not in RANK:
        raise ValidationError({"role": f"{role!r} is not a role."})
    _take_organizations([organization.pk])
    rows = Membership.objects.select_related("organization")
    current_row = rows.filter(user=user, organization=organization).first()
    reveal = check_membership_change(by, organization, current=current_row, role=role, can_reveal=can_reveal)
    if current_row is not None and current_row.role == Role.OWNER != role:
        _check_not_last_owner(current_row)
    return services.membership_set(user=user, organization=organization, role=role, can_reveal=reveal)


@transaction.atomic
def member_add(
    *, by: User, user: User, organization: Organization, role: str, can_reveal: bool | None = None
) -> Membership:
    """Make `user` a member. Raises Forbidden, and ValidationError when they are one already."""
    _take_organizations([organization.pk])
    if Membership.objects.filter(user=user, organization=organization).exists():
        raise ValidationError({"user": "This user already is a member of this organization."})
    return member_set(by=by, user=user, organization=organization, role=role, can_reveal=can_reveal)


@transaction.atomic
def member_remove(membership: Membership, *, by: User) -> None:
    """End a membership at once. Raises Forbidden, and ValidationError for the last owner."""
    _take_organizations([membership.organization_id])
    row = Membership.objects.select_related("organization", "user").get(pk=membership.pk)
    check_membership_end(by, row)
    if row.role == Role.OWNER:
        _check_not_last_owner(row)
    services.membership_remove(row)


# --- accounts -------------------------------------------------------------------------------------------------


def _checked_password(password: str, *, person: User, field: str) -> str:
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error
    return password


def _join(person: User, *, by: User, memberships: Iterable[dict[str, Any]]) -> None:
    for wanted in memberships:
        member_set(by=by, user=person, **wanted)


@transaction.atomic
def person_create(
    *,
    by: User,
    username: str,
    password: str | None,
    memberships: Iterable[dict[str, Any]] = (),
    **fields: Any,
) -> User:
    """Create a user with `memberships` (keywords of `member_set`). Raises Forbidden, ValidationError.

    Without a password they cannot sign in until they follow a link (`tenancy.links`).
    """
    wanted = list(memberships)
    if not is_root(by):
        if fields.get("is_superuser"):
            raise Forbidden("Only superusers make superusers.")
        if not wanted:
            raise ValidationError({"organization_users": "Name the organization this person shall work in."})
    if password is not None:
        _checked_password(password, person=User(username=username, **fields), field="password")
    person = services.user_create(username=username, password=password, **fields)
    _join(person, by=by, memberships=wanted)
    return person


def _fresh(person: User, *, by: User) -> User:
    """Return the locked account when `by` may change it. Raises Forbidden."""
    row: User = locked(User.objects.filter(pk=person.pk)).get()
    obstacle = obstacle_to(by, row)
    if obstacle:
        raise Forbidden(obstacle)
    return row


@transaction.atomic
def person_update(
    person: User, *, by: User, memberships: Iterable[dict[str, Any]] = (), **changes: Any
) -> User:
    """Change fields of an account and roles. Raises Forbidden, ValidationError."""
    if changes:
        row = _fresh(person, by=by)
        if changes.get("is_superuser", row.is_superuser) != row.is_superuser and not is_root(by):
            raise Forbidden("Only superusers make superusers.")
        if row.pk == by.pk:
            for name in ("is_active", "is_superuser"):
                if getattr(row, name) and changes.get(name) is False:
                    raise ValidationError({name: "You cannot take this from yourself."})
        services.user_update(person, **changes)
    _join(person, by=by, memberships=memberships)
    return person


@transaction.atomic
def person_delete(person: User, *, by: User) -> None:
    """Delete an account with its memberships and tokens. Raises Forbidden, ValidationError."""
    if person.pk == by.pk:
        raise ValidationError("You cannot delete yourself.")
    owned = Membership.objects.filter(user=person, role=Role.OWNER).select_related("organization")
    _take_organizations(owned.values_list("organization_id", flat=True))
    row = _fresh(person, by=by)
    for membership in owned.all():
        _check_not_last_owner(membership)
    services.user_delete(row)


# --- passwords ------------------------------------------------------------------------------------------------


def _store_password(person: User, *, password: str | None, keep: ApiToken | None) -> None:
    person.set_password(password)
    person.save(update_fields=["password"])
    tokens = ApiToken.objects.filter(user=person, revoked_at__isnull=True)
    revoked = (tokens.exclude(pk=keep.pk) if keep else tokens).update(revoked_at=now())
    changes = {"tokens_revoked": (None, revoked), "usable": (None, password is not None)}
    # A person of one organization is its business; of several, that of those who run the installation.
    homes = list(Membership.objects.filter(user=person).values_list("organization_id", flat=True)[:2])
    home = homes[0] if len(homes) == 1 else None
    audit.record("user.password_changed", person, organization_id=home, changes=changes)


@transaction.atomic
def password_set(
    person: User,
    *,
    by: User,
    password: str | None,
    field: str = "new_password",
    old_password: str | None = None,
    keep: ApiToken | None = None,
    proven: bool = False,
) -> None:
    """Set a password; sessions of the person end, and their tokens but for `keep`. None: none they could use.

    People who set their own must say the old one, unless they have `proven` themselves. Raises Forbidden,
    ValidationError (new one under `field`).
    """
    row = _fresh(person, by=by)
    if row.pk == by.pk and not proven and not row.check_password(old_password or ""):
        raise ValidationError({"old_password": "Your old password was entered incorrectly."})
    if password is not None:
        _checked_password(password, person=row, field=field)
    _store_password(row, password=password, keep=keep)
    person.password = row.password


@transaction.atomic
def password_confirm(*, uid: str, token: str, password: str, field: str = "new_password1") -> User:
    """Set the password of whoever followed a link; all their sessions and tokens end. Raises ValidationError."""
    found = person_of_link(uid=uid, token=token)
    if found is None:
        raise ValidationError({"token": BAD_LINK})
    # Two who follow one link at once: the second finds it used.
    person: User = locked(User.objects.filter(pk=found.pk)).get()
    if not default_token_generator.check_token(person, token):
        raise ValidationError({"token": BAD_LINK})
    _checked_password(password, person=person, field=field)
    with acting_as(dataclasses.replace(current(), name=person.username, user_id=person.pk)):
        _store_password(person, password=password, keep=None)
    return person
