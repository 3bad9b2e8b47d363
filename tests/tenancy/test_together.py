"""People who change people at the same time, on real threads: owners and names stay what they were promised to be."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import OperationalError, connections, transaction
from django.test import RequestFactory

from core.db import locked
from core.errors import MusterError
from tenancy import people, services
from tenancy.models import Membership, Organization, Role, User
from tenancy.sign_in import door
from tests import factories
from tests.marks import needs_row_locks

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED = (ValidationError, MusterError, ObjectDoesNotExist)
ROUNDS = 8


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Make all calls at the same moment, each on a thread of its own; what they return or are refused with."""
    ready = threading.Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        ready.wait(10)
        try:
            return call()
        except REFUSED as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


def fresh(person: User) -> User:
    """Return a person as a request loads them."""
    return User.objects.get(pk=person.pk)


def owners(org: Organization) -> int:
    rows = Membership.objects.filter(organization=org, role=Role.OWNER, user__is_active=True)
    return rows.count()


@pytest.mark.parametrize("role", [Role.OWNER, Role.MANAGER])
def test_of_two_who_disable_each_other_one_succeeds(role: str) -> None:
    for _ in range(ROUNDS):
        org = factories.organization()
        ann, bob = (factories.user(role=role, organization=org) for _ in range(2))
        results = together(
            lambda ann=ann, bob=bob: people.person_update(fresh(bob), by=fresh(ann), is_active=False),
            lambda ann=ann, bob=bob: people.person_update(fresh(ann), by=fresh(bob), is_active=False),
        )
        assert [isinstance(result, User) for result in results].count(True) == 1, results
        assert User.objects.filter(pk__in=[ann.pk, bob.pk], is_active=True).count() == 1


def test_whatever_owners_do_to_owners_at_once_one_stays() -> None:
    root = factories.superuser()
    for number in range(ROUNDS):
        org = factories.organization()
        ann, bob, carl = (factories.user(role=Role.OWNER, organization=org) for _ in range(3))
        row = Membership.objects.get(user=carl)
        together(
            lambda ann=ann: people.person_update(fresh(ann), by=fresh(root), is_active=False),
            lambda bob=bob: people.person_delete(fresh(bob), by=fresh(root)),
            lambda carl=carl, org=org, row=row, number=number: (
                people.member_remove(row, by=fresh(root))
                if number % 2
                else people.member_set(by=fresh(root), user=carl, organization=org, role=Role.VIEWER)
            ),
        )
        assert owners(org) == 1


def test_who_becomes_an_owner_while_being_disabled_leaves_no_organization_behind() -> None:
    root = factories.superuser()
    for _ in range(ROUNDS):
        org = factories.organization()
        old, new = factories.user(role=Role.OWNER, organization=org), factories.user()

        def replace(old: User = old, new: User = new, org: Organization = org) -> None:
            with transaction.atomic():
                people.hold(by=root, people=[old.pk, new.pk], organizations=[org.pk])
                people.member_set(by=root, user=new, organization=org, role=Role.OWNER)
                people.member_set(by=root, user=old, organization=org, role=Role.VIEWER)

        together(replace, lambda new=new: people.person_update(fresh(new), by=root, is_active=False))
        assert owners(org) == 1


def test_an_address_and_a_name_that_are_taken_at_once_do_not_become_one_login() -> None:
    for number in range(ROUNDS):
        name = f"x{number}@example.org"
        results = together(
            lambda name=name: services.user_create(username=name, password=None),
            lambda name=name: services.user_create(
                username=f"y{name[1:]}", email=name.upper(), password=None
            ),
        )
        assert [isinstance(result, User) for result in results].count(True) == 1, results


@needs_row_locks
@pytest.mark.parametrize("change", ["update", "disable", "add", "remove"])
def test_organizations_are_locked_before_people(change: str) -> None:
    org, root = factories.organization(), factories.superuser()
    factories.user(role=Role.OWNER, organization=org)
    ann = factories.user(role=Role.OWNER, organization=org)
    row = Membership.objects.get(user=ann)
    wanted = [{"organization": org, "role": Role.OWNER.value}]
    calls: dict[str, Callable[[], Any]] = {
        "update": lambda: people.person_update(fresh(ann), by=root, memberships=wanted, first_name="Ann"),
        "disable": lambda: people.person_update(fresh(ann), by=root, is_active=False),
        "add": lambda: people.member_set(by=root, user=ann, organization=org, role=Role.OWNER),
        "remove": lambda: people.member_remove(row, by=root),
    }

    def call() -> None:
        try:
            calls[change]()
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    with transaction.atomic():
        list(locked(Organization.objects.filter(pk=org.pk)))
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive(), "it waits for the organization"
        # While it waits it must hold nothing that comes later, or the two would wait for each other.
        people_rows = User.objects.filter(pk__in=[ann.pk, root.pk])
        list(people_rows.select_for_update(nowait=True, no_key=True))
        list(Membership.objects.filter(user=ann).select_for_update(nowait=True, no_key=True))
    thread.join(10)
    assert not thread.is_alive()


def test_changes_of_the_same_people_at_once_do_not_wait_in_a_circle() -> None:
    root = factories.superuser()
    orgs = [factories.organization() for _ in range(3)]
    for org in orgs:
        factories.user(role=Role.OWNER, organization=org)
    staff = [factories.user() for _ in range(4)]

    def turn(number: int) -> str:
        choice = random.Random(number)
        person = User.objects.filter(pk=choice.choice(staff).pk).first()
        roles = [
            {"organization": org, "role": choice.choice(Role.values)}
            for org in choice.sample(orgs, choice.randint(1, 3))
        ]
        try:
            match number % 5:
                case _ if person is None:
                    pass
                case 0 | 1:
                    people.person_update(person, by=root, memberships=roles, first_name=f"n{number}")
                case 2:
                    people.person_update(person, by=root, is_active=bool(choice.randint(0, 1)))
                case 3:
                    people.member_set(by=root, user=person, **roles[0])
                case _ if number > 40:
                    people.person_delete(person, by=root)
        except REFUSED:
            return "refused"
        except OperationalError as error:
            return str(error)
        finally:
            connections.close_all()
        return "done"

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(turn, range(60))) <= {"done", "refused"}


def test_failures_that_come_together_are_all_counted() -> None:
    factories.user("ann", email="ann@example.org")

    def guess(number: int) -> str:
        request = RequestFactory(REMOTE_ADDR="9.9.9.1").post("/")
        login = ("ann", "ANN@example.org", "Ann")[number % 3]
        try:
            door.password_check(request=request, login=login, password="wrong")
        except door.Refused as refused:
            return type(refused).__name__
        return "in"

    limit = settings.AXES_FAILURE_LIMIT
    results = together(*(lambda number=number: guess(number) for number in range(limit)))
    assert results == ["WrongCredentials"] * limit
    assert AccessAttempt.objects.get().failures_since_start == limit
    assert guess(0) == "LockedOut"
