"""API keys: who makes and revokes them, what is stored, and when a key opens nothing any more."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from core.clock import now
from core.errors import Forbidden
from tenancy import api_keys, people, services
from tenancy.api_keys import api_key_create, api_key_of, api_key_revoke, api_key_update
from tenancy.models import ApiKey, AuditEvent, Membership, Organization, Role, User
from tests import factories

pytestmark = pytest.mark.django_db
TEXT = re.compile(r"[A-Za-z0-9]{8}\.[A-Za-z0-9_-]{43}")


@pytest.fixture
def ann(org: Organization) -> User:
    return factories.user("ann", role=Role.VIEWER, organization=org)


def at(*, minutes: float) -> Any:
    return now() + timedelta(minutes=minutes)


def actions(row: ApiKey) -> list[str]:
    found = AuditEvent.objects.filter(target_id=str(row.pk), organization_id=row.organization_id)
    return list(found.order_by("created").values_list("action", flat=True))


# --- making -----------------------------------------------------------------------------------------------------


def test_a_member_makes_a_key_of_which_only_a_digest_is_stored(ann: User, org: Organization) -> None:
    row, text = api_key_create(by=ann, user=ann, organization=org, name="ci")
    assert TEXT.fullmatch(text)
    assert text.startswith(f"{row.key_id}.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenancy_apikey")
        stored = repr(cursor.fetchall())
    secret = text.partition(".")[2]
    assert row.digest in stored
    events = AuditEvent.objects.filter(target_id=str(row.pk))
    assert [event.changes["key_id"] for event in events] == [[None, row.key_id]]
    assert all(secret not in told for told in (stored, repr(row), repr(list(events.values()))))


def test_a_person_has_several_keys_and_none_like_another(ann: User, org: Organization) -> None:
    made = [factories.api_key(ann, org, name="ci") for _ in range(3)]
    assert len({row.key_id for row, _ in made}) == len({row.digest for row, _ in made}) == 3
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=made[0][0].pk).update(key_id=made[1][0].key_id)


def test_only_members_make_keys_and_only_their_own(ann: User, org: Organization, other: Organization) -> None:
    boss = factories.user(role=Role.OWNER, organization=org)
    root, stranger = factories.superuser(), factories.user()
    for by, user, where in ((ann, ann, other), (stranger, stranger, org), (boss, ann, org), (ann, root, org)):
        with pytest.raises(Forbidden):
            api_key_create(by=by, user=user, organization=where, name="ci")
    with pytest.raises(ValidationError, match="members"):
        api_key_create(by=root, user=stranger, organization=org, name="ci")
    assert not ApiKey.objects.exists()
    assert factories.api_key(ann, org, by=root)[0].user == ann
    assert factories.api_key(root, org)[0].user == root


@pytest.mark.parametrize("fields", [{"name": ""}, {"name": "x" * 65}, {"expires_at": at(minutes=-1)}])
def test_a_key_is_made_of_a_name_and_a_moment_to_come(
    ann: User, org: Organization, fields: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as refused:
        factories.api_key(ann, org, **fields)
    assert list(refused.value.message_dict) == list(fields)


def test_living_keys_are_limited_and_others_do_not_count(
    ann: User, org: Organization, other: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MOST", 2)
    first, second = (factories.api_key(ann, org)[0] for _ in range(2))
    with pytest.raises(ValidationError, match="2 API keys"):
        factories.api_key(ann, org)
    services.membership_set(user=ann, organization=other, role=Role.VIEWER)
    factories.api_key(ann, other)
    factories.api_key(factories.user(role=Role.VIEWER, organization=org), org)
    api_key_revoke(first, by=ann)
    ApiKey.objects.filter(pk=second.pk).update(expires_at=at(minutes=-1))
    assert len([factories.api_key(ann, org) for _ in range(2)]) == 2


def test_fifty_are_allowed() -> None:
    assert api_keys.MOST == 50


# --- changing and revoking --------------------------------------------------------------------------------------


def test_its_user_and_superusers_change_name_and_expiry(ann: User, org: Organization) -> None:
    row, text = factories.api_key(ann, org)
    api_key_update(row, by=ann, name="laptop")
    api_key_update(row, by=factories.superuser(), expires_at=at(minutes=5))
    api_key_update(row, by=ann, name="laptop")
    found = api_key_of(text)
    assert found is not None
    assert found.name == "laptop" and found.expires_at is not None
    assert actions(row) == ["api_key.created", "api_key.changed", "api_key.changed"]
    with pytest.raises(Forbidden):
        api_key_update(row, by=factories.user(role=Role.OWNER, organization=org), name="mine")
    with pytest.raises(ValidationError, match="future"):
        api_key_update(row, by=ann, expires_at=at(minutes=-1))


def test_what_is_over_does_not_come_back(ann: User, org: Organization) -> None:
    (expired, one), (revoked, two) = factories.api_key(ann, org), factories.api_key(ann, org)
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=at(minutes=-1))
    api_key_revoke(revoked, by=ann)
    for row in (expired, revoked):
        with pytest.raises(ValidationError, match="create a new one"):
            api_key_update(row, by=ann, expires_at=None)
    assert (api_key_of(one), api_key_of(two)) == (None, None)


@pytest.mark.parametrize(
    ("role", "of", "may"),
    [
        (Role.VIEWER, Role.VIEWER, False),
        (Role.OPERATOR, Role.VIEWER, False),
        (Role.MANAGER, Role.VIEWER, True),
        (Role.MANAGER, Role.MANAGER, True),
        (Role.MANAGER, Role.OWNER, False),
        (Role.OWNER, Role.OWNER, True),
    ],
)
def test_a_members_key_is_revoked_by_who_manages_them(
    org: Organization, role: str, of: str, may: bool
) -> None:
    row, text = factories.api_key(factories.user(role=of, organization=org), org)
    by = factories.user(role=role, organization=org)
    if may:
        api_key_revoke(row, by=by)
    else:
        with pytest.raises(Forbidden):
            api_key_revoke(row, by=by)
    assert (api_key_of(text) is None) == may


def test_a_superusers_key_is_theirs_and_a_strangers_is_nobody_elses(
    ann: User, org: Organization, other: Organization
) -> None:
    root = factories.superuser()
    row, _ = factories.api_key(root, org)
    for by in (
        factories.user(role=Role.OWNER, organization=org),
        factories.user(role=Role.OWNER, organization=other),
    ):
        with pytest.raises(Forbidden):
            api_key_revoke(row, by=by)
    api_key_revoke(factories.api_key(ann, org)[0], by=root)
    api_key_revoke(row, by=root)
    api_key_revoke(row, by=root)
    assert actions(row) == ["api_key.created", "api_key.revoked"]


# --- recognizing ------------------------------------------------------------------------------------------------


def test_a_key_is_found_with_what_its_user_may_do_now(ann: User, org: Organization) -> None:
    row, text = factories.api_key(ann, org, read_only=True)
    for role in Role.values:
        services.membership_set(user=ann, organization=org, role=role)
        found = api_key_of(text)
        assert found is not None
        assert (found.pk, found.user, found.organization, found.role) == (row.pk, ann, org, role)
        assert found.read_only


def test_one_query_finds_it_and_its_use_is_noted_once_a_minute(
    ann: User, org: Organization, django_assert_num_queries: Any
) -> None:
    row, text = factories.api_key(ann, org)
    with django_assert_num_queries(2):
        api_key_of(text)
    first = ApiKey.objects.get().last_used
    assert first is not None
    with django_assert_num_queries(1):
        found = api_key_of(text)
        assert found is not None
        assert found.user.is_active and found.organization.is_active and found.role
    with django_assert_num_queries(1):
        api_key_of(f"{row.key_id}.{'x' * 43}")
    with django_assert_num_queries(1):
        api_key_of(f"zzzzzzzz.{'x' * 43}")
    assert ApiKey.objects.get().last_used == first
    ApiKey.objects.update(last_used=at(minutes=-1.1))
    api_key_of(text)
    again = ApiKey.objects.get().last_used
    assert again is not None and again > first


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda text: "",
        lambda text: text[9:],
        lambda text: text[:9],
        lambda text: text[:-1],
        lambda text: f"{text} ",
        lambda text: f"{text}\n",
        lambda text: f"{text}=",
        lambda text: f"\x00{text[1:]}",
        lambda text: f"ä{text[1:]}",
        lambda text: text.replace(".", ""),
        lambda text: text.swapcase(),
        lambda text: f"{text[:9]}{'x' * 43}",
        lambda text: "." * 52,
        lambda text: "\udcff" * 52,
        lambda text: "x" * 100_000,
    ],
)
def test_another_text_finds_nothing(ann: User, org: Organization, spoilt: Callable[[str], str]) -> None:
    _, text = factories.api_key(ann, org)
    assert api_key_of(spoilt(text)) is None
    assert api_key_of(text) is not None


def test_the_secret_of_one_key_does_not_open_another(ann: User, org: Organization) -> None:
    (row, _), (_, text) = factories.api_key(ann, org), factories.api_key(ann, org)
    assert api_key_of(f"{row.key_id}.{text.partition('.')[2]}") is None


def test_a_key_ends_when_it_expires(ann: User, org: Organization) -> None:
    row, text = factories.api_key(ann, org, expires_at=at(minutes=1))
    assert api_key_of(text) is not None
    ApiKey.objects.filter(pk=row.pk).update(expires_at=at(minutes=-0.1))
    assert api_key_of(text) is None


def test_a_key_rests_while_its_user_or_organization_is_disabled(ann: User, org: Organization) -> None:
    _, text = factories.api_key(ann, org)
    for disabled in (ann, org):
        type(disabled).objects.filter(pk=disabled.pk).update(is_active=False)
        assert api_key_of(text) is None
        type(disabled).objects.filter(pk=disabled.pk).update(is_active=True)
        assert api_key_of(text) is not None


def test_a_key_ends_with_the_membership_whatever_took_it(ann: User, org: Organization) -> None:
    _, text = factories.api_key(ann, org)
    Membership.objects.filter(user=ann).delete()
    assert api_key_of(text) is None


def test_who_comes_back_gets_no_old_keys_back(ann: User, org: Organization, other: Organization) -> None:
    services.membership_set(user=ann, organization=other, role=Role.VIEWER)
    (row, text), (_, elsewhere) = factories.api_key(ann, org), factories.api_key(ann, other)
    boss = factories.user(role=Role.OWNER, organization=org)
    people.member_remove(Membership.objects.get(user=ann, organization=org), by=boss)
    services.membership_set(user=ann, organization=org, role=Role.VIEWER)
    assert api_key_of(text) is None
    assert api_key_of(elsewhere) is not None
    assert actions(row) == ["api_key.created", "api_key.revoked"]


def test_a_superuser_needs_no_membership_and_somebody_who_was_one_does(org: Organization) -> None:
    root = factories.superuser()
    _, text = factories.api_key(root, org)
    found = api_key_of(text)
    assert found is not None
    assert found.role == Role.OWNER
    User.objects.filter(pk=root.pk).update(is_superuser=False)
    assert api_key_of(text) is None


def test_keys_go_with_their_user_and_their_organization(
    ann: User, org: Organization, other: Organization
) -> None:
    services.membership_set(user=ann, organization=other, role=Role.VIEWER)
    factories.api_key(ann, org)
    factories.api_key(ann, other)
    services.organization_delete(other)
    assert [key.organization for key in ApiKey.objects.all()] == [org]
    services.user_delete(ann)
    assert not ApiKey.objects.exists()


# --- from scripts -----------------------------------------------------------------------------------------------


def provisioned(*options: str) -> str:
    printed = StringIO()
    call_command("provision", "--organization", "acme", *options, stdout=printed)
    return printed.getvalue()


def test_provisioning_makes_one_more_key_each_time() -> None:
    texts = [
        json.loads(provisioned("--user", "bot", "--api-key", "--role", "manager", "--json"))["api_key"]
        for _ in range(2)
    ]
    found = [api_key_of(text) for text in texts]
    assert [key and (key.name, key.user.username, key.organization.slug, key.role) for key in found] == [
        ("provision", "bot", "acme", "manager")
    ] * 2
    assert "api_key" not in json.loads(provisioned("--user", "bot", "--json"))
    lines = provisioned("--user", "bot", "--api-key").splitlines()
    assert api_key_of(lines[-1].split()[-1]) is not None


def test_provisioning_a_key_needs_a_user() -> None:
    with pytest.raises(CommandError, match="needs a user"):
        provisioned("--api-key", "--json")
    assert not Organization.objects.exists()
