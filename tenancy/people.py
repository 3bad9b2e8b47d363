"""What people do to people: invite, change, disable, delete them, set passwords, give and take memberships.

Every function takes `by`, who does it, and asks `tenancy.authority`; the plain writes are in `tenancy.services`.
Invariants: an organization that had an owner keeps one who can sign in, whatever is asked at the same time; whoever
acts is judged by what they may once everything is locked; locks are taken in the order organizations, people,
memberships (`hold`).
"""

import dataclasses
from collections.abc import Collection, Iterable
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
NOT_ACTIVE = "Your account was disabled."
OLD_IS_WRONG = "Your old password was entered incorrectly."
BAD_LINK = "This link was used already, is too old, or was never valid."


def _owned_by(people: Collection[UUID]) -> set[UUID]:
    rows = Membership.objects.filter(user_id__in=list(people), role=Role.OWNER)
    return set(rows.values_list("organization_id", flat=True))


def hold(
    *, by: User, people: Iterable[UUID] = (), organizations: Iterable[UUID] = (), owned: bool = False
) -> dict[UUID, User]:
    """Lock organizations, with `owned` also those the people own, then the people and `by`; return these as they are.

    Nobody's roles and rights change after this until the transaction ends. Organizations come before people, both in
    the order of their ids, so a transaction that changes several holds all of them first. Raises Forbidden when `by`
    was disabled meanwhile, and User.DoesNotExist for a person who was deleted. Call it inside a transaction.
    """
    who, wanted = set(people), set(organizations)
    if owned:
        wanted |= _owned_by(who)
    while True:
        point = transaction.savepoint()
        list(locked(Organization.objects.filter(pk__in=wanted).order_by("pk")).values_list("pk", flat=True))
        rows = {row.pk: row for row in locked(User.objects.filter(pk__in={by.pk, *who}).order_by("pk"))}
        missing = _owned_by(who) - wanted if owned else set()
        if not missing:
            break
        # They became an owner elsewhere before they were locked: let go, and begin with that organization too.
        transaction.savepoint_rollback(point)
        wanted |= missing
    transaction.savepoint_commit(point)
    if by.pk not in rows or not rows[by.pk].is_active:
        raise Forbidden(NOT_ACTIVE)
    if not who <= rows.keys():
        raise User.DoesNotExist
    return rows


def _check_not_last_owner(membership: Membership) -> None:
    owners = Membership.objects.filter(organization_id=membership.organization_id, role=Role.OWNER)
    if not owners.filter(user__is_active=True).exclude(pk=membership.pk).exists():
        raise ValidationError(LAST_OWNER.format(name=membership.organization))


def _check_others_own(person: User) -> None:
    """Refuse when an organization has no other owner who can sign in; the organizations are held."""
    for membership in Membership.objects.filter(user=person, role=Role.OWNER).select_related("organization"):
        _check_not_last_owner(membership)


# --- memberships ----------------------------------------------------------------------------------------------


def _role_give(
    *, by: User, user: User, organization: Organization, role: str, can_reveal: bool | None = None
) -> Membership:
    """Give a role once all is held."""
    if role not in RANK:
        raise ValidationError({"role": f"{role!r} is not a role."})
    rows = Membership.objects.select_related("organization")
    current_row = rows.filter(user=user, organization=organization).first()
    reveal = check_membership_change(by, organization, current=current_row, role=role, can_reveal=can_reveal)
    if current_row is not None and current_row.role == Role.OWNER != role:
        _check_not_last_owner(current_row)
    return services.membership_set(user=user, organization=organization, role=role, can_reveal=reveal)


@transaction.atomic
def member_set(
    *, by: User, user: User, organization: Organization, role: str, can_reveal: bool | None = None
) -> Membership:
    """Give `user` a role, or another one. Raises Forbidden, ValidationError."""
    held = hold(by=by, people=[user.pk], organizations=[organization.pk])
    return _role_give(by=held[by.pk], user=user, organization=organization, role=role, can_reveal=can_reveal)


@transaction.atomic
def member_add(
    *, by: User, user: User, organization: Organization, role: str, can_reveal: bool | None = None
) -> Membership:
    """Make `user` a member. Raises Forbidden, and ValidationError when they are one already."""
    held = hold(by=by, people=[user.pk], organizations=[organization.pk])
    if Membership.objects.filter(user=user, organization=organization).exists():
        raise ValidationError({"user": "This user already is a member of this organization."})
    return _role_give(by=held[by.pk], user=user, organization=organization, role=role, can_reveal=can_reveal)


@transaction.atomic
def member_remove(membership: Membership, *, by: User) -> None:
    """End a membership at once. Raises Forbidden, and ValidationError for the last owner."""
    held = hold(by=by, people=[membership.user_id], organizations=[membership.organization_id])
    row = Membership.objects.select_related("organization", "user").get(pk=membership.pk)
    check_membership_end(held[by.pk], row)
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


def _homes(memberships: Iterable[dict[str, Any]]) -> list[UUID]:
    return [wanted["organization"].pk for wanted in memberships]


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
    actor = hold(by=by, organizations=_homes(wanted))[by.pk]
    if not is_root(actor):
        if fields.get("is_superuser"):
            raise Forbidden("Only superusers make superusers.")
        if not wanted:
            raise ValidationError({"organization_users": "Name the organization this person shall work in."})
    if password is not None:
        _checked_password(password, person=User(username=username, **fields), field="password")
    person = services.user_create(username=username, password=password, **fields)
    for role in wanted:
        _role_give(by=actor, user=person, **role)
    return person


def _check_account(actor: User, row: User) -> None:
    if obstacle := obstacle_to(actor, row):
        raise Forbidden(obstacle)


@transaction.atomic
def person_update(
    person: User, *, by: User, memberships: Iterable[dict[str, Any]] = (), **changes: Any
) -> User:
    """Change fields of an account and roles. Raises Forbidden, ValidationError."""
    wanted, disables = list(memberships), changes.get("is_active") is False
    held = hold(by=by, people=[person.pk], organizations=_homes(wanted), owned=disables)
    actor = held[by.pk]
    if changes:
        _check_change(held[person.pk], by=actor, changes=changes)
        services.user_update(person, **changes)
    for role in wanted:
        _role_give(by=actor, user=person, **role)
    return person


def _check_change(row: User, *, by: User, changes: dict[str, Any]) -> None:
    _check_account(by, row)
    if changes.get("is_superuser", row.is_superuser) != row.is_superuser and not is_root(by):
        raise Forbidden("Only superusers make superusers.")
    if row.pk == by.pk:
        for name in ("is_active", "is_superuser"):
            if getattr(row, name) and changes.get(name) is False:
                raise ValidationError({name: "You cannot take this from yourself."})
    if row.is_active and changes.get("is_active") is False:
        try:
            _check_others_own(row)
        except ValidationError as error:
            raise ValidationError({"is_active": error.messages}) from error


@transaction.atomic
def person_delete(person: User, *, by: User) -> None:
    """Delete an account with its memberships and tokens. Raises Forbidden, ValidationError."""
    if person.pk == by.pk:
        raise ValidationError("You cannot delete yourself.")
    held = hold(by=by, people=[person.pk], owned=True)
    row = held[person.pk]
    _check_account(held[by.pk], row)
    _check_others_own(row)
    services.user_delete(row)


@transaction.atomic
def people_delete(people: Iterable[User], *, by: User) -> None:
    """Delete all of these accounts or none. Raises Forbidden, ValidationError."""
    rows = list(people)
    hold(by=by, people=[row.pk for row in rows], owned=True)
    for row in rows:
        person_delete(row, by=by)


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
) -> None:
    """Set a password; sessions of the person end, and their tokens but for `keep`. None: none they could use.

    People who set their own must say the old one, which the door has counted (`tenancy.sign_in.door`). Raises
    Forbidden, ValidationError (new one under `field`).
    """
    held = hold(by=by, people=[person.pk])
    row = held[person.pk]
    _check_account(held[by.pk], row)
    if row.pk == by.pk and not row.check_password(old_password or ""):
        raise ValidationError({"old_password": OLD_IS_WRONG})
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
