"""Bearer tokens: how one gets them, how long they last, and what is stored of them."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from rest_framework.test import APIClient

from core.clock import now
from tenancy import services
from tenancy.models import ApiToken, Role, User
from tests import factories
from tests.tenancy.conftest import USERS, client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(org: Any) -> User:
    return factories.user("ann", role=Role.VIEWER, organization=org, email="Ann@Example.org")


def sign_in(username: Any, password: Any, **options: Any) -> Any:
    options.setdefault("format", "json")
    return APIClient().post(f"{USERS}token/", {"username": username, "password": password}, **options)


@pytest.mark.parametrize("form", ["json", "multipart"])
@pytest.mark.parametrize("login", ["ann", "Ann@Example.org", "ann@example.ORG"])
def test_a_person_signs_in_by_name_or_address(ann: User, login: str, form: str) -> None:
    answer = sign_in(login, factories.PASSWORD, format=form)
    assert answer.status_code == 200
    assert list(answer.json()) == ["token"]
    assert len(answer.json()["token"]) == 40
    assert services.token_holder(answer.json()["token"]) is not None


def test_a_urlencoded_form_works_without_the_trailing_slash(ann: User) -> None:
    answer = APIClient().post(
        f"{USERS}token",
        f"username=ann&password={factories.PASSWORD}",
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(("login", "password"), [("ann", "wrong"), ("nobody", factories.PASSWORD), ("", "x")])
def test_wrong_credentials_are_a_400(ann: User, login: str, password: str) -> None:
    answer = sign_in(login, password)
    assert answer.status_code == 400
    if login:
        assert list(answer.json()) == ["non_field_errors"]


def test_an_unknown_name_is_told_like_a_wrong_password(ann: User) -> None:
    assert sign_in("ann", "wrong").content == sign_in("nobody", "wrong").content


@pytest.mark.parametrize("value", [None, [], {}, 1, "a\x00b", "x" * 5000])
def test_a_nonsense_password_is_a_400(ann: User, value: Any) -> None:
    assert sign_in("ann", value).status_code == 400


def test_people_who_were_disabled_do_not_sign_in(ann: User) -> None:
    secret = factories.token_for(ann)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert sign_in("ann", factories.PASSWORD).status_code == 400
    assert services.token_holder(secret) is None


def test_a_name_that_is_anothers_address_belongs_to_its_own_user(ann: User) -> None:
    mallory = factories.user("mallory", email="mallory@example.org", password="mallory's own words")
    # No service makes such a row; it may be older than the rule.
    User.objects.filter(pk=mallory.pk).update(username="ann@example.org")
    assert services.authenticate_person(login="ann@example.org", password="mallory's own words") == mallory
    assert services.authenticate_person(login="ann@example.org", password=factories.PASSWORD) is None


def test_addresses_that_only_a_database_takes_for_one_belong_to_two(db: None) -> None:
    mike = factories.user("mike", email="mike@example.org")
    twin = factories.user("twin", email="m\u0131ke@example.org", password="words of the twin")
    assert services.authenticate_person(login="MIKE@example.org", password=factories.PASSWORD) == mike
    assert services.authenticate_person(login="mike@example.org", password="words of the twin") is None
    assert services.authenticate_person(login="m\u0131ke@example.org", password="words of the twin") == twin


@pytest.mark.parametrize("spelt", ["ann@example.org", "ANN@Example.org"])
def test_nobody_takes_anothers_address_as_a_name_or_a_name_as_an_address(ann: User, spelt: str) -> None:
    bob = factories.user("Bob@example.org", email="")
    for call in (
        lambda: services.user_create(username=spelt, password=None),
        lambda: services.user_update(bob, username=spelt),
    ):
        with pytest.raises(ValidationError) as refused:
            call()
        assert refused.value.message_dict == {"username": [services.OTHERS_ADDRESS]}
    for call in (
        lambda: services.user_create(username="new", password=None, email="bob@EXAMPLE.org"),
        lambda: services.user_update(ann, email="bob@EXAMPLE.org"),
    ):
        with pytest.raises(ValidationError) as refused:
            call()
        assert refused.value.message_dict == {"email": [services.OTHERS_USERNAME]}
    services.user_update(bob, email="bob@example.org")
    services.user_update(bob, first_name="Bob")


def test_addresses_are_unique_whatever_their_case(ann: User) -> None:
    with pytest.raises(ValidationError):
        factories.user("bob", email="ANN@example.org")
    factories.user("carl", email="")
    factories.user("dora", email="")


def test_attempts_are_limited_by_address_whatever_the_client_claims(ann: User) -> None:
    answers = [
        sign_in("ann", "wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{number}", REMOTE_ADDR="9.9.9.9").status_code
        for number in range(40)
    ]
    assert set(answers) == {400, 429}
    assert answers[-1] == 429
    assert sign_in("ann", factories.PASSWORD, REMOTE_ADDR="9.9.9.8").status_code == 200


def test_only_a_digest_is_stored(ann: User) -> None:
    token, secret = services.token_issue(user=ann, name="ci")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenancy_apitoken")
        stored = repr(cursor.fetchall())
    assert secret not in stored
    assert token.digest in stored
    assert secret not in repr(token)


def test_a_token_ends_when_it_expires(ann: User) -> None:
    token, secret = services.token_issue(user=ann, name="ci", expires_at=now() + timedelta(minutes=1))
    assert services.token_holder(secret) is not None
    ApiToken.objects.filter(pk=token.pk).update(expires_at=now() - timedelta(seconds=1))
    assert services.token_holder(secret) is None
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert client.get(f"{USERS}organization/").status_code == 401
    with pytest.raises(ValidationError):
        services.token_issue(user=ann, name="past", expires_at=now() - timedelta(seconds=1))


def test_a_revoked_token_is_refused_at_once(ann: User) -> None:
    token, secret = services.token_issue(user=ann, name="ci")
    services.token_revoke(token)
    assert services.token_holder(secret) is None
    services.token_revoke(token)
    assert ApiToken.objects.get().revoked_at is not None


def test_last_use_is_noted_at_most_every_ten_minutes(ann: User, django_assert_num_queries: Any) -> None:
    token, secret = services.token_issue(user=ann, name="ci")
    with django_assert_num_queries(2):
        services.token_holder(secret)
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    with django_assert_num_queries(1):
        services.token_holder(secret)
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=now() - timedelta(minutes=11))
    services.token_holder(secret)
    assert ApiToken.objects.get().last_used_at > first


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer \xff",
        "bearer x",
        "Bearer " + "0" * 40,
        "Basic abc",
        "Token x",
        "",
    ],
)
def test_bad_credentials_are_a_401_that_says_bearer(header: str) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    answer = client.get(f"{USERS}organization/")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert list(answer.json()) == ["detail"]


def test_a_session_needs_the_csrf_token_to_write(ann: User) -> None:
    client = APIClient(enforce_csrf_checks=True)
    assert client.login(username="ann", password=factories.PASSWORD)
    assert client.get(f"{USERS}api-token/").status_code == 200
    assert client.post(f"{USERS}api-token/", {"name": "x"}, format="json").status_code == 403


def test_people_manage_their_own_tokens_and_no_others(ann: User) -> None:
    client, bob = client_of(ann), factories.user("bob")
    foreign, _ = services.token_issue(user=bob, name="bob's")
    made = client.post(f"{USERS}api-token/", {"name": "ci", "expires_at": None}, format="json")
    assert made.status_code == 201
    keys = ["id", "name", "prefix", "expires_at", "last_used_at", "created", "modified"]
    assert list(made.json()) == [*keys, "token"]
    holder = services.token_holder(made.json()["token"])
    assert holder is not None
    assert holder[0] == ann
    listed = client.get(f"{USERS}api-token/").json()
    assert [item["name"] for item in listed["results"]] == ["ci", "test"]
    assert list(listed["results"][0]) == keys
    path = f"{USERS}api-token/{made.json()['id']}/"
    assert (
        client.patch(path, {"name": "renamed", "expires_at": None}, format="json").json()["name"] == "renamed"
    )
    assert client.put(path, {"name": "x"}, format="json").status_code == 405
    root = client_of(factories.superuser())
    for stranger, pk in ((client, foreign.pk), (client, uuid4()), (root, foreign.pk)):
        for call in (stranger.get, stranger.delete, stranger.patch):
            answer = call(f"{USERS}api-token/{pk}/")
            assert answer.status_code == 404
            assert answer.json() == {"detail": "No ApiToken matches the given query."}
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert services.token_holder(made.json()["token"]) is None


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a", "expires_at": "soon"}, "expires_at"),
        ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "expires_at": "0001-01-01T00:00:00+20:00"}, "expires_at"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-20:00"}, "expires_at"),
        ({"name": "a", "expires_at": 1}, "expires_at"),
    ],
)
def test_a_token_is_made_of_a_name_and_a_moment_to_come(ann: User, sent: dict[str, Any], key: str) -> None:
    answer = client_of(ann).post(f"{USERS}api-token/", sent, format="json")
    assert answer.status_code == 400
    assert list(answer.json()) == [key]
