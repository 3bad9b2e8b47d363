"""The second factor: enrolling, signing in with it, what happens without the phone, and guessing."""

import re
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from core.clock import now
from tenancy.models import AuditEvent, User
from tenancy.sign_in import factors
from tenancy.sign_in.models import RecoveryCode, SecondFactor
from tests import factories
from tests.tenancy.conftest import USERS

pytestmark = pytest.mark.django_db
STEP = timedelta(seconds=factors.STEP)


@pytest.fixture
def ann(db: None) -> User:
    return factories.user("ann", is_staff=True)


def enrolled(user: User) -> tuple[str, list[str]]:
    """Give a user a second factor; returns its secret and recovery codes. The code of last step was used."""
    secret = factors.secret_new()
    codes = factors.factor_enable(user=user, secret=secret, code=factors.code_at(secret, now() - STEP))
    return secret, codes


def code_of(secret: str) -> str:
    return factors.code_at(secret, now())


def token(**body: Any) -> Any:
    body = {"username": "ann", "password": factories.PASSWORD, **body}
    return APIClient().post(f"{USERS}token/", body, format="json")


def first_step(client: Client) -> Any:
    body = {"username": "ann", "password": factories.PASSWORD, "next": "/admin/account/"}
    return client.post(reverse("admin:login"), body)


def test_a_person_enrols_on_the_page_and_signs_in_with_the_app(ann: User) -> None:
    client, path = Client(), reverse("admin:account_second_factor")
    client.force_login(ann)
    html = client.get(path).content.decode()
    secret = re.search(r'data-copy="([A-Z2-7]{32})"', html)
    assert secret and "data:image/svg+xml" in html
    assert secret[1] in client.get(path).content.decode(), "a reload shows the same code"
    wrong = client.post(path, {"action": "enable", "otp": "000000"})
    assert wrong.status_code == 200 and not factors.is_enabled(ann)
    done = client.post(path, {"action": "enable", "otp": factors.code_at(secret[1], now() - STEP)})
    codes = re.findall(r"<li><code>([a-z2-9]{4}(?:-[a-z2-9]{4}){3})</code>", done.content.decode())
    assert len(codes) == 10
    assert "no-store" in done["Cache-Control"]
    assert codes[0] not in client.get(path).content.decode(), "they are shown once"

    browser = Client()
    asked = first_step(browser)
    assert asked.status_code == 200
    assert 'name="otp"' in asked.content.decode() and 'name="password"' not in asked.content.decode()
    assert browser.get(reverse("admin:index")).status_code == 302, "not in yet"
    wrong = browser.post(reverse("admin:login"), {"otp": "123", "next": "/admin/account/"})
    assert factors.WRONG_CODE in wrong.content.decode()
    entered = browser.post(reverse("admin:login"), {"otp": code_of(secret[1]), "next": "/admin/account/"})
    assert (entered.status_code, entered["Location"]) == (302, "/admin/account/")
    assert browser.get(reverse("admin:index")).status_code == 200


def test_a_code_alone_opens_nothing(ann: User) -> None:
    secret, _ = enrolled(ann)
    client = Client()
    answer = client.post(reverse("admin:login"), {"otp": code_of(secret)})
    assert answer.status_code == 302
    assert client.get(reverse("admin:index")).status_code == 302


def test_the_second_step_must_come_soon_and_with_the_same_password(ann: User) -> None:
    secret, _ = enrolled(ann)
    late, changed = Client(), Client()
    for client in (late, changed):
        first_step(client)
    session = late.session
    session["muster_pending"] = {**session["muster_pending"], "until": now().timestamp() - 1}
    session.save()
    late.post(reverse("admin:login"), {"otp": code_of(secret)})
    assert late.get(reverse("admin:index")).status_code == 302
    ann.set_password("another word entirely")
    ann.save()
    changed.post(reverse("admin:login"), {"otp": code_of(secret)})
    assert changed.get(reverse("admin:index")).status_code == 302


def test_over_rest_the_code_is_asked_for_and_taken(ann: User) -> None:
    secret, codes = enrolled(ann)
    for body in ({}, {"otp": ""}, {"otp": "  "}):
        asked = token(**body)
        assert (asked.status_code, list(asked.json())) == (400, ["otp"])
    assert token(otp="000000").json() == {"otp": [factors.WRONG_CODE]}
    assert token(otp=code_of(secret)).status_code == 200
    assert token(otp=codes[0]).status_code == 200


def test_who_has_none_may_send_any_code(ann: User) -> None:
    assert token(otp="123456").status_code == 200
    assert token().status_code == 200


def test_a_code_counts_once_and_not_those_before_it(ann: User) -> None:
    secret, _ = enrolled(ann)
    before, current = factors.code_at(secret, now() - STEP), code_of(secret)
    assert not factors.code_verify(user=ann, code=before), "it enrolled with this one"
    assert factors.code_verify(user=ann, code=current[:3] + " " + current[3:])
    assert not factors.code_verify(user=ann, code=current)


def test_a_recovery_code_counts_once_however_it_is_typed(ann: User) -> None:
    _, codes = enrolled(ann)
    assert factors.code_verify(user=ann, code=codes[0].upper().replace("-", " "))
    assert not factors.code_verify(user=ann, code=codes[0])
    factor = SecondFactor.objects.get()
    assert factors.recovery_codes_left(factor) == 9
    renewed = factors.recovery_codes_renew(user=ann)
    assert not factors.code_verify(user=ann, code=codes[1])
    assert factors.code_verify(user=ann, code=renewed[1])


def test_guessing_is_slowed_down_whatever_address_it_comes_from(ann: User) -> None:
    secret, _ = enrolled(ann)
    for _ in range(3):
        assert not factors.code_verify(user=ann, code="000000")
    with pytest.raises(factors.Blocked):
        factors.code_verify(user=ann, code=code_of(secret))
    answer = token(otp=code_of(secret))
    assert answer.status_code == 429 and int(answer["Retry-After"]) >= 1
    for failures in (3, 6, 20, 999):
        SecondFactor.objects.update(blocked_until=None, failures=failures)
        factors.code_verify(user=ann, code="000000")
        blocked = SecondFactor.objects.get().blocked_until
        assert blocked is not None
        assert now() < blocked <= now() + timedelta(seconds=factors.LONGEST_BLOCK)
    SecondFactor.objects.update(blocked_until=None)
    assert factors.code_verify(user=ann, code=code_of(secret))
    assert SecondFactor.objects.get().failures == 0


def test_wrong_codes_lock_the_name_at_that_address(ann: User, settings: Any) -> None:
    enrolled(ann)
    for _ in range(settings.AXES_FAILURE_LIMIT):
        SecondFactor.objects.update(blocked_until=None, failures=0)
        assert token(otp="000000").status_code == 400
    assert token(otp="000000").status_code == 429


@pytest.mark.parametrize("code", ["", "\x00", "٠٠٠٠٠٠", "9" * 64, "-" * 64, "ab-cd", "ünï"], ids=range(7))
def test_no_text_breaks_the_check(ann: User, code: str) -> None:
    enrolled(ann)
    assert factors.code_verify(user=ann, code=code) is False


def test_neither_the_secret_nor_the_codes_are_stored_plain(ann: User) -> None:
    secret, codes = enrolled(ann)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenancy_secondfactor")
        stored = repr(cursor.fetchall())
        cursor.execute("SELECT * FROM tenancy_recoverycode")
        stored += repr(cursor.fetchall())
    stored += repr(list(AuditEvent.objects.values()))
    assert secret not in stored
    assert not any(code in stored or code.replace("-", "") in stored for code in codes)
    assert RecoveryCode.objects.count() == 10


def test_before_it_is_confirmed_the_secret_is_ciphertext_in_the_session(ann: User) -> None:
    client = Client()
    client.force_login(ann)
    html = client.get(reverse("admin:account_second_factor")).content.decode()
    secret = re.search(r'data-copy="([A-Z2-7]{32})"', html)
    assert secret and secret[1] not in repr(dict(client.session))


def test_there_is_one_second_factor_and_a_wrong_code_makes_none(ann: User) -> None:
    secret = factors.secret_new()
    with pytest.raises(ValidationError):
        factors.factor_enable(user=ann, secret=secret, code="000000")
    enrolled(ann)
    with pytest.raises(ValidationError):
        factors.factor_enable(user=ann, secret=secret, code=code_of(secret))


def test_disabling_needs_password_and_code(ann: User) -> None:
    secret, codes = enrolled(ann)
    client, path = Client(), reverse("admin:account_second_factor")
    client.force_login(ann)
    for body in (
        {},
        {"password": factories.PASSWORD},
        {"otp": codes[0]},
        {"password": "wrong", "otp": codes[0]},
        {"password": factories.PASSWORD, "otp": "000000"},
    ):
        assert client.post(path, {"action": "disable", **body}).status_code == 200
        assert factors.is_enabled(ann)
    body = {"password": factories.PASSWORD, "otp": code_of(secret)}
    renewed = client.post(path, {"action": "renew", **body})
    assert len(re.findall(r"<li><code>", renewed.content.decode())) == 10
    spare = re.search(r"<li><code>([^<]+)", renewed.content.decode())
    assert spare is not None
    body = {"password": factories.PASSWORD, "otp": spare[1]}
    assert client.post(path, {"action": "disable", **body}).status_code == 302
    assert not factors.is_enabled(ann)
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"second_factor.enabled", "second_factor.disabled", "second_factor.recovery_code_used"} <= actions


def test_wrong_first_codes_are_counted_at_the_door(ann: User, settings: Any) -> None:
    client, path = Client(), reverse("admin:account_second_factor")
    client.force_login(ann)
    html = client.get(path).content.decode()
    secret = re.search(r'data-copy="([A-Z2-7]{32})"', html)
    assert secret
    for _ in range(settings.AXES_FAILURE_LIMIT):
        assert client.post(path, {"action": "enable", "otp": "no code"}).status_code == 200
    locked = client.post(path, {"action": "enable", "otp": code_of(secret[1])})
    assert locked.status_code == 429 and int(locked["Retry-After"]) > 0
    assert "Too many failed attempts" in locked.content.decode()
    assert not factors.is_enabled(ann)
    assert token().status_code == 429


def test_what_is_asked_before_a_change_is_counted_at_the_door(ann: User, settings: Any) -> None:
    secret, codes = enrolled(ann)
    client, path = Client(), reverse("admin:account_second_factor")
    client.force_login(ann)
    change = {"old_password": factories.PASSWORD, "new_password1": "x", "new_password2": "y"}
    for number in range(settings.AXES_FAILURE_LIMIT):
        SecondFactor.objects.update(blocked_until=None, failures=0)
        body = (
            {"password": factories.PASSWORD, "otp": "no code"}
            if number % 2
            else {"password": "x", "otp": "1"}
        )
        assert client.post(path, {"action": "disable", **body}).status_code == 200
        if number == 2:
            assert client.post(reverse("admin:password_change"), change).status_code == 200
    body = {"password": factories.PASSWORD, "otp": codes[0]}
    assert client.post(path, {"action": "disable", **body}).status_code == 429
    assert token(otp=code_of(secret)).status_code == 429
    AccessAttempt.objects.update(failures_since_start=settings.AXES_FAILURE_LIMIT - 1)
    assert client.post(path, {"action": "renew", **body}).status_code == 200
    assert not AccessAttempt.objects.exists(), "password and code together begin the count anew"


def test_a_superuser_takes_a_lost_one_away(ann: User) -> None:
    enrolled(ann)
    root = Client()
    root.force_login(factories.superuser())
    path = reverse("admin:tenancy_user_sign_in", args=[ann.pk])
    root.post(path, {"action": "reset"})
    assert not factors.is_enabled(ann)
    assert AuditEvent.objects.get(action="second_factor.reset").target_id == str(ann.pk)


def test_djangos_own_way_in_is_closed_to_who_has_two_factors(ann: User) -> None:
    assert Client().login(username="ann", password=factories.PASSWORD)
    enrolled(ann)
    assert not Client().login(username="ann", password=factories.PASSWORD)
