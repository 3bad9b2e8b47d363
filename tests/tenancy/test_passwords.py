"""Passwords: changing one's own, setting somebody's, and links for people who cannot sign in."""

import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core import mail
from django.test import Client
from rest_framework.test import APIClient

from controller.env_values import mail_url
from tenancy import links, services, tasks
from tenancy.models import ApiToken, AuditEvent, Organization, Role, User
from tests import factories
from tests.tenancy.conftest import USERS, client_of

pytestmark = pytest.mark.django_db
LONG = "quite new words"


@pytest.fixture
def ann(org: Organization) -> User:
    return factories.user("ann", role=Role.VIEWER, organization=org, email="ann@example.org")


@pytest.fixture
def _with_mail(settings: Any) -> None:
    settings.MUSTER = replace(
        settings.MUSTER, email_url=mail_url("smtp://mail.invalid"), public_url="https://muster.example.org"
    )


def change(client: APIClient, **sent: Any) -> Any:
    body = {"old_password": factories.PASSWORD, "new_password1": LONG, "new_password2": LONG, **sent}
    return client.post(f"{USERS}user/password/change/", body, format="json")


def test_people_change_their_own_and_keep_only_the_token_they_used(ann: User) -> None:
    other = factories.token_for(ann)
    client = client_of(ann)
    assert change(client).status_code == 200
    ann.refresh_from_db()
    assert ann.check_password(LONG)
    assert services.token_holder(other) is None
    assert client.get(f"{USERS}organization/").status_code == 200
    assert "sessionid" not in client.cookies


def test_other_sessions_end_and_this_one_goes_on(ann: User) -> None:
    here, there = APIClient(), APIClient()
    for browser in (here, there):
        assert browser.login(username="ann", password=factories.PASSWORD)
    assert change(here).status_code == 200
    assert here.get(f"{USERS}organization/").status_code == 200
    assert there.get(f"{USERS}organization/").status_code == 401


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ({"old_password": "wrong"}, "old_password"),
        ({"old_password": None}, "old_password"),
        ({"new_password2": "different words"}, "new_password2"),
        ({"new_password1": "12345", "new_password2": "12345"}, "new_password1"),
        ({"new_password1": "ann", "new_password2": "ann"}, "new_password1"),
        ({"new_password1": "a\x00b", "new_password2": "a\x00b"}, "new_password1"),
        ({"new_password1": "x" * 5000, "new_password2": "x" * 5000}, "new_password1"),
        ({"new_password1": [], "new_password2": []}, "new_password1"),
    ],
)
def test_a_bad_change_is_a_400(ann: User, sent: dict[str, Any], key: str) -> None:
    answer = change(client_of(ann), **sent)
    assert answer.status_code == 400
    assert key in answer.json()
    ann.refresh_from_db()
    assert ann.check_password(factories.PASSWORD)


def test_setting_ones_own_in_the_list_of_people_leads_to_where_the_old_one_is_asked_for(
    org: Organization,
) -> None:
    boss = factories.user("boss", role=Role.MANAGER, organization=org, is_staff=True)
    client = Client()
    client.force_login(boss)
    sent = {"password1": LONG, "password2": LONG, "usable_password": "true"}
    for identifier in (str(boss.pk), boss.pk.hex):
        page = f"/admin/tenancy/user/{identifier}/password/"
        for answer in (client.get(page), client.post(page, sent)):
            assert (answer.status_code, answer["Location"]) == (302, "/admin/password_change/")
    boss.refresh_from_db()
    assert boss.check_password(factories.PASSWORD)
    ann = factories.user("ann", role=Role.VIEWER, organization=org)
    assert client.post(f"/admin/tenancy/user/{ann.pk}/password/", sent).status_code == 302
    ann.refresh_from_db()
    assert ann.check_password(LONG)


def test_a_manager_sets_a_password_and_the_tokens_end(ann: User, org: Organization) -> None:
    secret = factories.token_for(ann)
    boss = factories.user("boss", role=Role.MANAGER, organization=org)
    client = client_of(boss)
    sent = {"new_password": LONG, "confirm_password": LONG}
    assert client.put(f"{USERS}user/{ann.pk}/password/", sent, format="json").status_code == 200
    assert services.token_holder(secret) is None
    assert services.authenticate_person(login="ann", password=LONG) == ann
    own = f"{USERS}user/{boss.pk}/password/"
    assert client.put(own, sent, format="json").status_code == 400, "one's own needs the current one"
    assert client.put(own, {**sent, "current_password": factories.PASSWORD}, format="json").status_code == 200


def test_a_link_comes_by_mail_and_works_once(ann: User, _with_mail: None) -> None:
    assert tasks.send_password_links("ANN@example.org") == 1
    letter = mail.outbox[0]
    assert letter.to == ["ann@example.org"]
    link = re.search(r"https://\S+", str(letter.body))
    assert link is not None
    url = urlsplit(link.group())
    assert (url.netloc, url.path) == ("muster.example.org", "/admin/password/new/")
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    secret = factories.token_for(ann)
    sent = {**query, "new_password1": LONG, "new_password2": LONG}
    confirm = f"{USERS}password/reset/confirm/"
    assert APIClient().post(confirm, {**sent, "token": "x-1"}, format="json").json()["token"]
    assert (
        APIClient().post(confirm, {**sent, "new_password1": "12345", "new_password2": "12345"}).status_code
        == 400
    )
    assert APIClient().post(confirm, sent, format="json").status_code == 200
    assert services.authenticate_person(login="ann", password=LONG) == ann
    assert services.token_holder(secret) is None
    assert list(APIClient().post(confirm, sent, format="json").json()) == ["token"]


def test_nobody_gets_a_letter_who_should_not(ann: User, _with_mail: None) -> None:
    factories.user("nomail", email="")
    User.objects.filter(pk=factories.user("gone").pk).update(is_active=False)
    assert [tasks.send_password_links(login) for login in ("nobody", "nomail", "gone", "")] == [0, 0, 0, 0]
    assert mail.outbox == []


def test_without_mail_nothing_is_sent_and_the_page_says_so(ann: User) -> None:
    assert not settings.MUSTER.email_url
    assert links.send_links("ann") == 0
    assert "sends no e-mail" in Client().get("/admin/password/reset/").content.decode()


def test_asking_does_not_tell_who_exists(ann: User, _with_mail: None) -> None:
    api = [
        APIClient().post(f"{USERS}password/reset/", sent, format="json")
        for sent in ({"input": "ann"}, {"input": "nobody"}, {"email": "ann@example.org"})
    ]
    assert [answer.status_code for answer in api] == [200, 200, 200]
    assert len({answer.content for answer in api}) == 1
    pages = [Client().post("/admin/password/reset/", {"login": login}) for login in ("ann", "nobody")]
    assert pages[0].status_code == 200
    assert "on its way" in pages[0].content.decode()
    for sent in ({}, {"input": ""}, {"input": []}, {"input": "a\x00"}, {"email": "x" * 300}):
        assert APIClient().post(f"{USERS}password/reset/", sent, format="json").status_code == 400


@pytest.mark.parametrize("uid", ["", "x", "=", "\x00", "é", "a" * 500, "MTIz"])
def test_a_garbled_link_is_told_like_an_old_one(ann: User, uid: str) -> None:
    answer = Client().get("/admin/password/new/", {"uid": uid, "token": "\x00a-b"})
    assert answer.status_code == 200
    assert "was never valid" in answer.content.decode()
    sent = {"uid": uid, "token": "a-b", "new_password1": LONG, "new_password2": LONG}
    assert APIClient().post(f"{USERS}password/reset/confirm/", sent, format="json").status_code == 400


def test_attempts_are_limited(ann: User, _with_mail: None) -> None:
    answers = [
        APIClient().post(f"{USERS}password/reset/", {"input": "ann"}, REMOTE_ADDR="9.9.9.7").status_code
        for _ in range(40)
    ]
    assert answers[-1] == 429
    page = Client().post("/admin/password/reset/", {"login": "ann"}, REMOTE_ADDR="9.9.9.7")
    assert page.status_code == 429


def test_the_sign_in_page_leads_to_it() -> None:
    assert 'href="/admin/password/reset/"' in Client().get("/admin/login/").content.decode()


def test_a_password_is_nowhere_in_the_trail(ann: User) -> None:
    assert change(client_of(ann)).status_code == 200
    assert LONG not in str(list(AuditEvent.objects.values()))
    assert ApiToken.objects.filter(revoked_at__isnull=True).count() == 1
