"""API keys over REST: one's own, and for managers those of their members."""

from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from tenancy import services
from tenancy.api_keys import api_key_of
from tenancy.models import ApiKey, Organization, Role, User
from tests import factories
from tests.tenancy.conftest import USERS, client_of

pytestmark = pytest.mark.django_db
KEYS = [
    "id", "key_id", "name", "organization", "user", "created", "last_used", "expires_at", "revoked_at", "read_only",
    "is_imported",
]  # fmt: skip
ROOT = f"{USERS}api-key/"


@pytest.fixture
def ann(org: Organization) -> User:
    return factories.user("ann", role=Role.VIEWER, organization=org)


def made(client: APIClient, org: Organization, **fields: Any) -> Any:
    return client.post(ROOT, {"organization": str(org.pk), "name": "ci", **fields}, format="json")


def names(client: APIClient, **query: Any) -> list[str]:
    answer = client.get(ROOT, query)
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


def test_a_key_is_shown_whole_in_the_answer_that_makes_it_only(ann: User, org: Organization) -> None:
    client = client_of(ann)
    answer = made(
        client, org, read_only=True, expires_at="2199-01-01T00:00:00Z", key_id="aaaaaaaa", digest="x"
    )
    assert answer.status_code == 201, answer.content
    assert answer["Cache-Control"] == "no-store"
    sent = answer.json()
    assert list(sent) == [*KEYS, "key"]
    found = api_key_of(sent["key"])
    assert found is not None
    assert (str(found.pk), found.key_id, found.user, found.read_only) == (
        sent["id"],
        sent["key_id"],
        ann,
        True,
    )
    for shown in (
        client.get(f"{ROOT}{found.pk}/").json(),
        *client.get(ROOT).json()["results"],
        client.patch(f"{ROOT}{found.pk}/", {"name": "ci"}, format="json").json(),
    ):
        assert list(shown) == KEYS
        assert shown | {"last_used": None} == {key: sent[key] for key in KEYS}


def test_name_expiry_and_read_only_change_and_nothing_else(
    ann: User, org: Organization, other: Organization
) -> None:
    services.membership_set(user=ann, organization=other, role=Role.OWNER)
    row, text = factories.api_key(ann, org)
    client, path = client_of(ann), f"{ROOT}{row.pk}/"
    sent = {
        "name": "laptop", "expires_at": "2199-01-01T00:00:00Z", "read_only": True, "revoked_at": None,
        "organization": str(other.pk), "user": str(factories.superuser().pk), "key_id": "aaaaaaaa",
    }  # fmt: skip
    answer = client.patch(path, sent, format="json")
    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["expires_at"]) == ("laptop", "2199-01-01T00:00:00Z")
    found = api_key_of(text)
    assert found is not None
    assert (found.organization, found.user, found.read_only) == (org, ann, True)
    assert client.put(path, sent, format="json").status_code == 405


def test_a_deleted_key_is_revoked_and_stays_in_the_list(ann: User, org: Organization) -> None:
    row, text = factories.api_key(ann, org, name="old")
    factories.api_key(ann, org, name="new")
    client, path = client_of(ann), f"{ROOT}{row.pk}/"
    for _ in range(2):
        assert client.delete(path).status_code == 204
    assert api_key_of(text) is None
    assert client.get(path).json()["revoked_at"] is not None
    assert client.patch(path, {"name": "x"}, format="json").status_code == 400
    assert names(client) == ["new", "old"]
    assert (names(client, revoked="true"), names(client, revoked="false")) == (["old"], ["new"])


@pytest.mark.parametrize("role", Role.values)
def test_who_manages_an_organization_sees_and_revokes_its_members_keys(
    ann: User, org: Organization, role: str
) -> None:
    row, text = factories.api_key(ann, org, name="ann's")
    person = factories.user(role=role, organization=org)
    factories.api_key(person, org, name="own")
    client, path = client_of(person), f"{ROOT}{row.pk}/"
    manages = role in (Role.MANAGER, Role.OWNER)
    assert names(client) == (["own", "ann's"] if manages else ["own"])
    assert client.get(path).status_code == (200 if manages else 404)
    assert client.patch(path, {"name": "x"}, format="json").status_code == (403 if manages else 404)
    assert client.delete(path).status_code == (204 if manages else 404)
    assert (api_key_of(text) is None) == manages


def test_a_manager_does_not_revoke_an_owners_key(org: Organization) -> None:
    row, text = factories.api_key(factories.user(role=Role.OWNER, organization=org), org)
    client = client_of(factories.user(role=Role.MANAGER, organization=org))
    assert client.delete(f"{ROOT}{row.pk}/").status_code == 403
    assert api_key_of(text) is not None


def test_foreign_keys_do_not_exist(ann: User, org: Organization, other: Organization) -> None:
    eve = factories.user("eve", role=Role.VIEWER, organization=other)
    foreign, _ = factories.api_key(eve, other, name="eve's")
    hers, _ = factories.api_key(ann, org)
    services.membership_set(user=eve, organization=org, role=Role.OWNER)
    boss = client_of(factories.user(role=Role.OWNER, organization=org))
    assert names(boss) == ["test"]
    for pk in (foreign.pk, uuid4()):
        for call in (boss.get, boss.patch, boss.delete):
            answer = call(f"{ROOT}{pk}/")
            assert answer.status_code == 404
            assert answer.json() == {"detail": "No ApiKey matches the given query."}
    assert client_of(factories.superuser()).get(f"{ROOT}{foreign.pk}/").status_code == 200
    stranger = client_of(factories.user())
    assert stranger.get(f"{ROOT}{hers.pk}/").status_code == stranger.get(ROOT).status_code == 403


def test_keys_of_who_left_are_nobodys_but_superusers(ann: User, org: Organization) -> None:
    row, _ = factories.api_key(ann, org)
    boss = client_of(factories.user(role=Role.OWNER, organization=org))
    assert boss.get(f"{ROOT}{row.pk}/").status_code == 200
    services.membership_remove(ann.memberships.get())
    assert boss.get(f"{ROOT}{row.pk}/").status_code == 404
    assert client_of(factories.superuser()).get(f"{ROOT}{row.pk}/").json()["revoked_at"] is not None


def test_only_superusers_name_whose_key_it_is(ann: User, org: Organization, other: Organization) -> None:
    root, boss = (
        client_of(factories.superuser()),
        client_of(factories.user(role=Role.OWNER, organization=org)),
    )
    eve = factories.user(role=Role.OWNER, organization=other)
    assert made(client_of(ann), org, user=str(ann.pk)).status_code == 201
    assert made(root, org, user=str(ann.pk)).json()["user"] == str(ann.pk)
    assert made(root, org).status_code == 201
    assert made(boss, org, user=str(ann.pk)).status_code == 403
    for refused, key in (
        (made(boss, org, user=str(eve.pk)), "user"),
        (made(boss, org, user=str(uuid4())), "user"),
        (made(root, org, user=str(eve.pk)), "user"),
        (made(boss, other), "organization"),
        (made(client_of(ann), other), "organization"),
    ):
        assert refused.status_code == 400
        assert list(refused.json()) == [key]
    assert ApiKey.objects.count() == 3


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+20:00"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-20:00"}, "expires_at"),
        ({"read_only": "perhaps"}, "read_only"),
        ({"organization": None}, "organization"),
    ],
)
def test_what_cannot_be_is_told_by_field(
    ann: User, org: Organization, sent: dict[str, Any], key: str
) -> None:
    answer = made(client_of(ann), org, **sent)
    assert answer.status_code == 400
    assert list(answer.json()) == [key]


def test_one_too_many_is_told(ann: User, org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenancy.api_keys.MOST", 1)
    client = client_of(ann)
    assert made(client, org).status_code == 201
    answer = made(client, org)
    assert answer.status_code == 400
    assert "revoke one first" in answer.json()["__all__"][0]


def test_keys_are_found_and_ordered(ann: User, org: Organization, other: Organization) -> None:
    boss = factories.user("boss", role=Role.MANAGER, organization=org)
    services.membership_set(user=boss, organization=other, role=Role.VIEWER)
    for user, where, name in ((ann, org, "alpha"), (boss, org, "gamma"), (boss, other, "beta")):
        factories.api_key(user, where, name=name, read_only=name == "beta")
    client = client_of(boss)
    assert names(client) == ["beta", "gamma", "alpha"]
    assert names(client, organization=str(org.pk)) == ["gamma", "alpha"]
    assert names(client, organization_slug="org-b") == ["beta"]
    assert names(client, user=str(ann.pk)) == ["alpha"]
    assert names(client, search="ann") == ["alpha"]
    assert names(client, read_only="true") == ["beta"]
    assert names(client, ordering="name") == ["alpha", "beta", "gamma"]
    assert names(client, ordering="-username,name") == ["beta", "gamma", "alpha"]
    api_key_of(made(client, org, name="used").json()["key"])
    assert names(client, ordering="-last_used")[0] == "used"
    key_id = ApiKey.objects.get(name="gamma").key_id
    assert names(client, key_id=key_id) == names(client, search=key_id.lower()) == ["gamma"]
    eve = factories.user(role=Role.OWNER, organization=factories.organization())
    for query in ({"user": str(eve.pk)}, {"ordering": "digest"}, {"organization": str(uuid4())}):
        assert client.get(ROOT, query).status_code == 400
