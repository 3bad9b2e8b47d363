"""API keys of one person to one organization: making, changing, revoking and recognizing them.

Invariant: a key opens no more than its user may do there at this moment. It ends with the membership and does not
come back with a new one; its secret is seen by whoever makes it, once, and never stored.
"""

import hmac
import re
import secrets
import string
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from core.changes import changed_row, store
from core.clock import now
from core.crypto import digest
from core.db import locked
from core.errors import Forbidden
from tenancy import audit
from tenancy.authority import MEMBER_ABOVE, SUPERUSER, is_root, people_visible_to
from tenancy.models import ApiKey, Membership, Organization, Role, User
from tenancy.policy import RANK, allows
from tenancy.queries import organization_ids_where, roles_of

MOST = 50
LAST_USED_RESOLUTION = timedelta(minutes=1)
# A key of somebody else, for those who manage the organization.
MEMBER_KEY = "tenancy.memberkey"
NOBODYS = "0" * 64
NOT_FOR_OTHERS = "Only superusers make API keys for somebody else."
NOT_A_MEMBER = "API keys to this organization are for its members."
NOT_YOURS = "Only the user of an API key and superusers change it."
NOT_YOURS_TO_REVOKE = "Only the user of an API key and those who manage the organization revoke it."
TOO_MANY = "There are {most} API keys of this user to this organization already: revoke one first."
IN_THE_PAST = "The expiry must lie in the future."
IS_OVER = "This key was revoked or has expired; create a new one."
_ALPHABET = string.ascii_letters + string.digits
TEXT = re.compile(r"([A-Za-z0-9]{8})\.([A-Za-z0-9_-]{43})")
# What an imported key may look like: what fits into a header and into one segment of a path.
FOREIGN = re.compile(r"[A-Za-z0-9._~-]{8,128}")
NOT_FOREIGN = "Enter 8 to 128 letters, digits and . _ ~ - which do not look like one of our own keys."
TAKEN = "This key exists already."


# --- reads ----------------------------------------------------------------------------------------------------


def api_keys_visible_to(user: Any) -> QuerySet[ApiKey]:
    """Return the keys of `user` and those of the members of organizations they manage; superusers see all."""
    keys = ApiKey.objects.all()
    if is_root(user):
        return keys
    own = Q(user=user.pk, organization__in=list(roles_of(user)))
    managed = list(organization_ids_where(user, "view", MEMBER_KEY))
    if not managed:
        return keys.filter(own)
    members = Membership.objects.filter(user=OuterRef("user_id"), organization=OuterRef("organization_id"))
    return keys.filter(own | Q(Exists(members), organization__in=managed))


def key_users_visible_to(user: Any) -> QuerySet[User]:
    """Return the people whose keys `user` may look for: themselves, and whom they manage."""
    known = people_visible_to(user).prefetch_related(None)
    return known if is_root(user) else User.objects.filter(Q(pk=user.pk) | Q(pk__in=known.values("pk")))


def living(keys: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Keep the keys that were not revoked and have not expired."""
    return keys.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now()), revoked_at__isnull=True)


def api_key_of(text: str) -> ApiKey | None:
    """Return the key with this text, its `user` and `organization` loaded and `role` the user's role there now.

    None for what is malformed, unknown, revoked or expired, whose user or organization is disabled, or whose user is no
    member any more. A superuser needs no membership and counts as owner. One indexed query, and once a minute an
    update of `last_used`; an unknown id costs the same comparison as a known one.
    """
    parts = TEXT.fullmatch(text)
    if parts is None:
        return None
    roles = Membership.objects.filter(user=OuterRef("user_id"), organization=OuterRef("organization_id"))
    found = (
        ApiKey.objects.select_related("user", "organization")
        .annotate(held=roles.order_by().values("role")[:1])
        .filter(key_id=parts[1], is_imported=False)
        .first()
    )
    matches = hmac.compare_digest(digest(parts[2]), found.digest if found is not None else NOBODYS)
    if found is None or not matches:
        return None
    moment = now()
    role = Role.OWNER.value if found.user.is_superuser else found.held
    if not role or not (found.user.is_active and found.organization.is_active) or is_over(found, at=moment):
        return None
    if found.last_used is None or moment - found.last_used > LAST_USED_RESOLUTION:
        ApiKey.objects.filter(pk=found.pk).update(last_used=moment)
    found.role = role
    return found


def is_over(key: ApiKey, *, at: datetime) -> bool:
    """Tell whether a key was revoked or has expired."""
    return key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= at)


# --- writes ---------------------------------------------------------------------------------------------------


def _take_place_of(user: User, organization: Organization, *, by: User) -> None:
    """Hold the user's place in the organization until the transaction ends. Raises Forbidden, ValidationError.

    So neither a membership that ends nor another key that is made at the same time is overlooked.
    """
    membership = Membership.objects.filter(user=user, organization=organization)
    if locked(membership).values_list("pk", flat=True).first() is not None:
        return
    if not locked(User.objects.filter(pk=user.pk)).get().is_superuser:
        raise Forbidden(NOT_A_MEMBER) if by.pk == user.pk else ValidationError({"user": NOT_A_MEMBER})


def _check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= now():
        raise ValidationError({"expires_at": IN_THE_PAST})


@transaction.atomic
def api_key_create(
    *,
    by: User,
    user: User,
    organization: Organization,
    name: str,
    expires_at: datetime | None = None,
    read_only: bool = False,
) -> tuple[ApiKey, str]:
    """Make a key of `user` to `organization`; the second value is its text, seen this once.

    Members make their own, superusers also those of members. Raises Forbidden, ValidationError.
    """
    if by.pk != user.pk and not is_root(by):
        raise Forbidden(NOT_FOR_OTHERS)
    _check_expiry(expires_at)
    _take_place_of(user, organization, by=by)
    if living(ApiKey.objects.filter(user=user, organization=organization)).count() >= MOST:
        raise ValidationError(TOO_MANY.format(most=MOST))
    secret = secrets.token_urlsafe(32)
    row = _stored(
        ApiKey(
            digest=digest(secret),
            user=user,
            organization=organization,
            name=name,
            expires_at=expires_at,
            read_only=read_only,
        ),
        action="api_key.created",
    )
    return row, f"{row.key_id}.{secret}"


def _stored(row: ApiKey, *, action: str) -> ApiKey:
    """Give a new key its id, and store it. Raises ValidationError."""
    row.key_id = "".join(secrets.choice(_ALPHABET) for _ in range(8))
    row.full_clean()
    row.save(force_insert=True)
    shown: dict[str, Any] = {
        "name": row.name,
        "key_id": row.key_id,
        "user": str(row.user),
        "expires_at": row.expires_at,
        "read_only": row.read_only,
    }
    changes = {field: (None, value) for field, value in shown.items()}
    audit.record(action, row, organization_id=row.organization_id, changes=changes)
    return row


@transaction.atomic
def api_key_import(
    *, by: User, user: User, organization: Organization, name: str, text: str, read_only: bool = False
) -> ApiKey:
    """Let a text that a fleet carries already be a key of `user` to the boot API of `organization`.

    For superusers: such keys may be as weak as their makers were careless. Raises Forbidden, ValidationError.
    """
    if not is_root(by):
        raise Forbidden(NOT_FOR_OTHERS)
    if not FOREIGN.fullmatch(text) or TEXT.fullmatch(text):
        raise ValidationError({"key": NOT_FOREIGN})
    _take_place_of(user, organization, by=by)
    hashed = digest(text)
    if ApiKey.objects.filter(digest=hashed).exists():
        raise ValidationError({"key": TAKEN})
    return _stored(
        ApiKey(
            digest=hashed,
            user=user,
            organization=organization,
            name=name,
            read_only=read_only,
            is_imported=True,
        ),
        action="api_key.imported",
    )


@transaction.atomic
def api_key_update(row: ApiKey, *, by: User, **changes: Any) -> ApiKey:
    """Change `name`, `expires_at` or `read_only` of a living key. Raises Forbidden, ValidationError."""
    if row.user_id != by.pk and not is_root(by):
        raise Forbidden(NOT_YOURS)
    stored, before = changed_row(row, changes)
    if is_over(before, at=now()):
        raise ValidationError(IS_OVER)
    if stored.expires_at != before.expires_at:
        _check_expiry(stored.expires_at)
    stored.full_clean()
    if store(stored, before=before, onto=row):
        differing = audit.difference(before, stored)
        audit.record("api_key.changed", stored, organization_id=stored.organization_id, changes=differing)
    return row


def obstacle_to_revoking(by: Any, row: ApiKey) -> str:
    """Return why `by` may not revoke a key; empty when they may."""
    if row.user_id == by.pk or is_root(by):
        return ""
    role = roles_of(by).get(row.organization_id)
    if not role or not allows(role, "delete", MEMBER_KEY):
        return NOT_YOURS_TO_REVOKE
    if row.user.is_superuser:
        return SUPERUSER
    held = Membership.objects.filter(user=row.user_id, organization=row.organization_id)
    return MEMBER_ABOVE if any(RANK[one] > RANK[role] for one in held.values_list("role", flat=True)) else ""


@transaction.atomic
def api_key_revoke(row: ApiKey, *, by: User) -> None:
    """End a key at once; revoking twice is the same as once. Raises Forbidden."""
    obstacle = obstacle_to_revoking(by, row)
    if obstacle:
        raise Forbidden(obstacle)
    moment = now()
    if ApiKey.objects.filter(pk=row.pk, revoked_at__isnull=True).update(revoked_at=moment, modified=moment):
        audit.record("api_key.revoked", row, organization_id=row.organization_id)


@transaction.atomic
def api_keys_revoke_of(*, user: User, organization: Organization) -> None:
    """End all keys of a user to an organization, whose membership this transaction has ended."""
    moment = now()
    rows = list(ApiKey.objects.filter(user=user, organization=organization, revoked_at__isnull=True))
    ApiKey.objects.filter(pk__in=[row.pk for row in rows]).update(revoked_at=moment, modified=moment)
    audit.record_all(audit.event("api_key.revoked", row, organization_id=organization.pk) for row in rows)
