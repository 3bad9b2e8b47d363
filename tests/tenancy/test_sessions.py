"""Where people are signed in: the list, its end, and what is stored of it."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from core.clock import now
from tenancy import services
from tenancy.models import ApiToken, AuditEvent, User
from tenancy.sign_in import housekeeping, sessions, tokens
from tenancy.sign_in.models import SignInSession
from tests import factories
from tests.tenancy.conftest import USERS, client_of

pytestmark = pytest.mark.django_db
LIST = f"{USERS}session/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def ann(db: None) -> User:
    return factories.user("ann", is_staff=True)


def browser(address: str = "9.9.9.1", agent: str = FIREFOX) -> Client:
    """Return a browser in which ann has signed in through the form."""
    client = Client(REMOTE_ADDR=address, headers={"user-agent": agent})
    body = {"username": "ann", "password": factories.PASSWORD}
    assert client.post(reverse("admin:login"), body).status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get(reverse("admin:index")).status_code == 200


def test_a_session_is_listed_with_its_browser_and_address(ann: User) -> None:
    here = browser()
    browser("9.9.9.2", "curl/8.5.0")
    listed = here.get(LIST).json()
    assert listed["count"] == 2
    assert list(listed["results"][0]) == ["id", "browser", "address", "current", "last_seen_at", "created"]
    told = {(row["browser"], row["address"], row["current"]) for row in listed["results"]}
    assert told == {("Firefox on Linux", "9.9.9.1", True), ("curl", "9.9.9.2", False)}
    by_token = client_of(ann).get(LIST).json()["results"]
    assert [row["current"] for row in by_token] == [False, False]


def test_the_key_of_a_session_is_stored_as_ciphertext_and_shown_nowhere(ann: User) -> None:
    here = browser()
    key = here.session.session_key
    assert key is not None
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenancy_signinsession")
        stored = repr(cursor.fetchall())
    shown = here.get(LIST).content.decode() + here.get(reverse("admin:account")).content.decode()
    trail = repr(list(AuditEvent.objects.values()))
    assert key not in stored + shown + trail


def test_one_session_ends_and_the_others_go_on(ann: User) -> None:
    here, there = browser(), browser("9.9.9.2")
    rows = here.get(LIST).json()["results"]
    other = next(row["id"] for row in rows if not row["current"])
    assert client_of(ann).delete(f"{LIST}{other}/").status_code == 204
    assert is_in(here) and not is_in(there)
    assert client_of(ann).delete(f"{LIST}{other}/").status_code == 404
    assert AuditEvent.objects.filter(action="session.revoked").count() == 1


def test_other_peoples_sessions_do_not_exist(ann: User) -> None:
    browser()
    row = SignInSession.objects.get()
    for stranger in (factories.user("bob"), factories.superuser()):
        client = client_of(stranger)
        foreign, unknown = client.delete(f"{LIST}{row.pk}/"), client.delete(f"{LIST}{uuid4()}/")
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.content == unknown.content
        assert client.get(LIST).json()["count"] == 0
    assert SignInSession.objects.filter(pk=row.pk).exists()


def test_the_page_ends_one_session_and_forgives_nonsense(ann: User) -> None:
    here, there = browser(), browser("9.9.9.2")
    account = reverse("admin:account")
    page = here.get(account).content.decode()
    assert "this one" in page and "9.9.9.2" in page
    other = SignInSession.objects.get(address="9.9.9.2")
    for nonsense in ("", "x", "\x00", str(uuid4())):
        assert here.post(account, {"action": "revoke", "session": nonsense}).status_code == 302
    assert here.post(account, {"action": "unheard-of"}).status_code == 302
    assert is_in(there)
    here.post(account, {"action": "revoke", "session": str(other.pk)})
    assert is_in(here) and not is_in(there)


@pytest.mark.parametrize("with_tokens", [False, True])
def test_sign_out_everywhere(ann: User, with_tokens: bool) -> None:
    here, there, secret = browser(), browser("9.9.9.2"), factories.token_for(ann)
    body = {"action": "everywhere", **({"tokens": "yes"} if with_tokens else {})}
    answer = here.post(reverse("admin:account"), body)
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:login"))
    assert not is_in(here) and not is_in(there)
    assert (services.token_holder(secret) is None) is with_tokens
    assert not sessions.sessions_of(ann).exists()


def test_sign_out_everywhere_over_rest_says_how_much_ended(ann: User) -> None:
    here, client = browser(), client_of(ann)
    bob = factories.user("bob")
    factories.session(bob)
    path = f"{LIST}sign-out-everywhere/"
    assert client.post(path, {"tokens": "perhaps"}, format="json").status_code == 400
    assert is_in(here)
    assert client.post(path, {}, format="json").json() == {"sessions": 1, "tokens": 0}
    assert not is_in(here)
    assert client.post(path, {"tokens": True}, format="json").json() == {"sessions": 0, "tokens": 1}
    assert client.get(LIST).status_code == 401
    assert sessions.sessions_of(bob).count() == 1


def test_a_superuser_signs_somebody_out(ann: User) -> None:
    here = browser()
    root = Client()
    root.force_login(factories.superuser())
    path = reverse("admin:tenancy_user_sign_in", args=[ann.pk])
    assert "Firefox on Linux" in root.get(path).content.decode()
    root.post(path, {"action": "everywhere", "tokens": "yes"})
    assert not is_in(here) and is_in(root)


def test_a_new_password_ends_all_other_sessions_and_the_list_follows(ann: User) -> None:
    here, there = browser(), browser("9.9.9.2")
    mine = SignInSession.objects.get(address="9.9.9.1")
    new = "wake-up-neo-12345"
    body = {"old_password": factories.PASSWORD, "new_password1": new, "new_password2": new}
    answer = here.post(reverse("admin:password_change"), body)
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:account"))
    assert is_in(here) and not is_in(there)
    rows = here.get(LIST).json()["results"]
    assert [(row["id"], row["current"]) for row in rows] == [(str(mine.pk), True)]
    assert AuditEvent.objects.filter(action="user.password_changed").count() == 1


def test_a_password_set_by_another_empties_the_list(ann: User) -> None:
    here = browser()
    services.user_update(ann, password="set by somebody else")
    assert not is_in(here)
    assert client_of(ann).get(LIST).json()["count"] == 0


def test_signing_out_takes_the_session_off_the_list(ann: User) -> None:
    here = browser()
    here.post(reverse("admin:logout"))
    assert not SignInSession.objects.exists()
    assert AuditEvent.objects.get(action="user.signed_out").actor_id == ann.pk


def test_last_seen_moves_every_few_minutes_only(ann: User, django_assert_num_queries: Any) -> None:
    here = browser()
    path = "/api/v1/users/notification/"
    with django_assert_num_queries(3):
        here.get(path)
    row = SignInSession.objects.get()
    old = now() - timedelta(minutes=6)
    SignInSession.objects.update(last_seen_at=old)
    sessions._noted[row.digest] = old
    with django_assert_num_queries(4):
        here.get(path)
    assert SignInSession.objects.get().last_seen_at > old


def test_a_session_from_before_is_taken_up_when_it_is_used(ann: User) -> None:
    here = browser()
    SignInSession.objects.all().delete()
    sessions._noted.clear()
    assert here.get(LIST).json()["count"] in (0, 1)
    assert here.get(LIST).json()["count"] == 1


def test_the_list_costs_the_same_for_many(ann: User, django_assert_num_queries: Any) -> None:
    client = client_of(ann)
    client.get(LIST)
    factories.session(ann)
    for _ in range(2):
        with django_assert_num_queries(5):
            client.get(LIST)
        for _ in range(5):
            factories.session(ann)


def test_what_is_over_is_dropped(ann: User) -> None:
    here = browser()
    session = here.session
    session.set_expiry(-1)
    session.save()
    SignInSession.objects.update(expires_at=now() - timedelta(seconds=1))
    housekeeping.drop_expired()
    assert not SignInSession.objects.exists()
    assert not is_in(here)


def test_sign_in_tokens_do_not_pile_up_and_those_in_use_stay(ann: User) -> None:
    used = tokens.sign_in_token_issue(user=ann)
    named = factories.token_for(ann, name="ci")
    issued = [tokens.sign_in_token_issue(user=ann) for _ in range(tokens.KEPT - 1)]
    assert services.token_holder(used) is not None, "this also notes that it was used"
    issued += [tokens.sign_in_token_issue(user=ann) for _ in range(5)]
    living = ApiToken.objects.filter(user=ann, name="sign-in", revoked_at__isnull=True)
    assert living.count() == tokens.KEPT
    assert services.token_holder(used) is not None
    assert services.token_holder(named) is not None
    assert services.token_holder(issued[0]) is None
    assert services.token_holder(issued[-1]) is not None
