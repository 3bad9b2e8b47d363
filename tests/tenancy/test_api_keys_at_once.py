"""Real threads on a real database: the limit of keys holds, and no key outlives a membership that ends meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections

from core.errors import Forbidden
from tenancy import api_keys, services
from tenancy.models import ApiKey, Membership, Organization, Role, User
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 6


@pytest.fixture
def ann(org: Organization) -> User:
    return factories.user("ann", role=Role.VIEWER, organization=org)


def together(work: Callable[[int], Any]) -> None:
    """Call `work` with each number on threads that start at the same moment."""
    ready = threading.Barrier(THREADS)

    def call(number: int) -> None:
        ready.wait(10)
        try:
            work(number)
        except (Forbidden, ValidationError):
            pass
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, range(THREADS)))


@pytest.mark.parametrize("is_member", [True, False])
def test_the_limit_admits_exactly_its_number(
    ann: User, org: Organization, monkeypatch: pytest.MonkeyPatch, is_member: bool
) -> None:
    monkeypatch.setattr(api_keys, "MOST", 2)
    user = ann if is_member else factories.superuser()
    together(lambda _: factories.api_key(user, org))
    assert ApiKey.objects.count() == 2


def test_a_key_made_while_the_membership_ends_is_revoked_with_it(ann: User, org: Organization) -> None:
    for _ in range(5):
        membership = Membership.objects.get(user=ann)

        def work(number: int, membership: Membership = membership) -> None:
            if number == 2:
                services.membership_remove(membership)
            else:
                factories.api_key(ann, org)

        together(work)
        assert not ApiKey.objects.filter(revoked_at__isnull=True).exists()
        services.membership_set(user=ann, organization=org, role=Role.VIEWER)
