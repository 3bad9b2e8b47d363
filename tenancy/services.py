"""Every write to users, organizations, memberships, tokens and notifications."""

import copy
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import check_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet

from core.changes import changed_row, store
from core.clock import now
from core.crypto import digest
from core.db import bulk_insert_objects, in_turn, locked
from core.events import publish
from tenancy import api_keys, audit
from tenancy.events import OrganizationCreated
from tenancy.models import ApiToken, Membership, Notification, Organization, Role, User
from tenancy.queries import called

OTHERS_ADDRESS = "This is the e-mail address of another user."
OTHERS_USERNAME = "This is the username of another user."
LAST_USED_RESOLUTION = timedelta(minutes=10)


@transaction.atomic
def organization_create(*, slug: str, name: str = "", **fields: Any) -> Organization:
    """Create an organization and, by event, its satellites. Raises ValidationError."""
    organization = Organization(slug=slug, name=name or slug, **fields)
    organization.full_clean()
    organization.save(force_insert=True)
    publish(OrganizationCreated(organization_id=organization.pk))
    audit.record(
        "organization.created",
        organization,
        organization_id=organization.pk,
        changes=audit.contents(organization),
    )
    return organization


@transaction.atomic
def organization_update(organization: Organization, **changes: Any) -> Organization:
    """Change the named fields. Raises ValidationError."""
    row, before = changed_row(organization, changes)
    row.full_clean()
    if store(row, before=before, onto=organization):
        audit.record(
            "organization.changed", row, organization_id=row.pk, changes=audit.difference(before, row)
        )
    return organization


@transaction.atomic
def organization_delete(organization: Organization) -> None:
    """Delete an organization with everything in it; its audit trail stays, for superusers."""
    gone = copy.copy(organization)
    organization.delete()
    audit.record("organization.deleted", gone, organization_id=gone.pk)


@transaction.atomic
def membership_set(
    *, user: User, organization: Organization, role: str, can_reveal: bool | None = None
) -> Membership:
    """Give `user` the `role` in `organization`, replacing an earlier one. Raises ValidationError.

    Without `can_reveal`, whoever gets a role that writes may reveal secrets too, and a viewer may not.
    """
    membership = locked(Membership.objects.filter(user=user, organization=organization)).first()
    membership = membership or Membership(user=user, organization=organization, role="")
    before = copy.copy(membership)
    if can_reveal is not None:
        membership.can_reveal = can_reveal
    elif membership.role != role:
        membership.can_reveal = role != Role.VIEWER
    membership.role = role
    membership.full_clean()
    is_new = membership._state.adding
    membership.save()
    changes = audit.difference(before, membership)
    if changes:
        audit.record(
            "membership.created" if is_new else "membership.changed",
            membership,
            organization_id=organization.pk,
            changes={"user": (None, str(user))} | changes if is_new else changes,
            name=f"{user} in {organization}",
        )
    return membership


@transaction.atomic
def membership_remove(membership: Membership) -> None:
    """Take a user out of an organization; their tokens lose it with them, and their keys to it are revoked."""
    gone = copy.copy(membership)
    membership.delete()
    api_keys.api_keys_revoke_of(user=gone.user, organization=gone.organization)
    audit.record(
        "membership.removed",
        gone,
        organization_id=gone.organization_id,
        changes={"role": (gone.role, None)},
        name=f"{gone.user} in {gone.organization}",
    )


def _check_names(user: User) -> None:
    """Refuse a username that is another's e-mail address, and the other way round. Raises ValidationError.

    People sign in by either. Two who take one name at once take turns until their transactions end.
    """
    in_turn("tenancy.names")
    others, refused = User.objects.exclude(pk=user.pk), {}
    if others.filter(email__iexact=user.username).exists():
        refused["username"] = OTHERS_ADDRESS
    if user.email and others.filter(username__iexact=user.email).exists():
        refused["email"] = OTHERS_USERNAME
    if refused:
        raise ValidationError(refused)


@transaction.atomic
def user_create(*, username: str, password: str | None, **fields: Any) -> User:
    """Create a user; without a password they cannot sign in. Raises ValidationError."""
    user = User(username=User.normalize_username(username), **fields)
    user.set_password(password)
    user.full_clean()
    _check_names(user)
    user.save(force_insert=True)
    audit.record("user.created", user, organization_id=None, changes=audit.contents(user))
    return user


@transaction.atomic
def user_update(user: User, *, password: str | None = None, **changes: Any) -> User:
    """Change the named fields of a user, and the password when one is given. Raises ValidationError."""
    row, before = changed_row(user, changes)
    if password is not None:
        row.set_password(password)
    row.username = User.normalize_username(row.username)
    row.full_clean()
    if (row.username, row.email) != (before.username, before.email):
        _check_names(row)
    if store(row, before=before, onto=user):
        audit.record("user.changed", row, organization_id=None, changes=audit.difference(before, row))
    return user


@transaction.atomic
def user_delete(user: User) -> None:
    """Delete a user with their memberships and tokens; what they did keeps its rows without them."""
    gone = copy.copy(user)
    user.delete()
    audit.record("user.deleted", gone, organization_id=None)


def authenticate_person(*, login: str, password: str) -> User | None:
    """Return the active user with this username or e-mail address and password, else None."""
    person = called(login).person
    return person if has_password(person, password) else None


def has_password(person: User | None, password: str) -> bool:
    """Tell whether this is the password of an active user.

    Nobody's password costs the same hashing as somebody's, so that time does not tell which names exist.
    """
    if person is None:
        User().set_password(password)
        return False
    return check_password(password, person.password, setter=None) and person.is_active


@transaction.atomic
def token_issue(*, user: User, name: str, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """Create a bearer token of 40 hex digits; the second value is the only time it is seen.

    Raises ValidationError when `expires_at` lies in the past or the name does not fit.
    """
    if expires_at is not None and expires_at <= now():
        raise ValidationError({"expires_at": "The expiry must lie in the future."})
    secret = secrets.token_hex(20)
    token = ApiToken(user=user, name=name, expires_at=expires_at, prefix=secret[:8], digest=digest(secret))
    token.full_clean()
    token.save(force_insert=True)
    audit.record(
        "token.issued",
        token,
        organization_id=None,
        changes={"name": (None, name), "user": (None, str(user)), "expires_at": (None, expires_at)},
    )
    return token, secret


@transaction.atomic
def token_rename(token: ApiToken, *, name: str) -> ApiToken:
    """Call a token something else. Raises ValidationError."""
    token.name = name
    token.full_clean()
    token.save(update_fields=["name", "modified"])
    return token


@transaction.atomic
def token_revoke(token: ApiToken) -> None:
    """End a token at once; revoking twice is the same as once."""
    if ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now()):
        audit.record("token.revoked", token, organization_id=None)


def token_holder(secret: str) -> tuple[User, ApiToken] | None:
    """Return the active user and token for a bearer secret, or None. One indexed query."""
    moment = now()
    token = (
        ApiToken.objects.select_related("user")
        .filter(digest=digest(secret), revoked_at__isnull=True, user__is_active=True)
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=moment))
        .first()
    )
    if token is None:
        return None
    if token.last_used_at is None or moment - token.last_used_at > LAST_USED_RESOLUTION:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=moment)
    return token.user, token


def notice(
    *,
    organization_id: UUID,
    kind: str,
    message: str,
    level: str = Notification.Level.INFO,
    target_type: str = "",
    target_id: UUID | None = None,
) -> Notification:
    """Return a notification for the people of an organization, not yet written."""
    return Notification(
        organization_id=organization_id,
        kind=kind,
        message=message[:256],
        level=level,
        target_type=target_type,
        target_id=target_id,
    )


def notify(**fields: Any) -> None:
    """Write one notification (`notice` says of what)."""
    notice(**fields).save(force_insert=True)


def notify_all(notices: Iterable[Notification]) -> None:
    """Write many notifications at once (`notice` makes them)."""
    bulk_insert_objects(list(notices))


def notifications_mark(notifications: QuerySet[Notification], *, is_read: bool) -> int:
    """Say of many notifications whether they were read; returns how many that changed."""
    return notifications.exclude(is_read=is_read).update(is_read=is_read, modified=now())


@transaction.atomic
def provision(
    *, slug: str, name: str = "", username: str = "", password: str = "", role: str = Role.OPERATOR
) -> tuple[Organization, User | None, str | None]:
    """Make sure an organization and, when named, a member with a fresh token exist; idempotent but for the token.

    Returns the organization, the user and the token's secret (both None without `username`). An existing user's
    password changes only when one is given. Raises ValidationError.
    """
    organization = Organization.objects.filter(slug=slug).first()
    if organization is None:
        organization = organization_create(slug=slug, name=name)
    elif name and organization.name != name:
        organization = organization_update(organization, name=name)
    if not username:
        return organization, None, None
    user = User.objects.filter(username=username).first()
    if user is None:
        user = user_create(username=username, password=password or None, is_staff=True)
    elif password and not user.check_password(password):
        user = user_update(user, password=password)
    membership_set(user=user, organization=organization, role=role)
    _, secret = token_issue(user=user, name="provision")
    return organization, user, secret
