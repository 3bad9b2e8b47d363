"""A change of some fields leaves alone what others wrote after the object was loaded."""

import pytest

from tenancy import services
from tenancy.models import Organization, User
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_description_does_not_switch_an_organization_on_again() -> None:
    organization = factories.organization()
    loaded = Organization.objects.get()
    services.organization_update(organization, is_active=False)
    services.organization_update(loaded, description="words")
    organization.refresh_from_db()
    assert (organization.is_active, organization.description) == (False, "words")
    assert loaded.is_active is False


def test_a_name_does_not_bring_back_rights_or_a_password() -> None:
    person = factories.superuser()
    loaded = User.objects.get()
    services.user_update(person, password="another long password", is_superuser=False)
    assert services.user_update(loaded, first_name="Ann") is loaded
    stored = User.objects.get()
    assert (stored.first_name, stored.is_superuser) == ("Ann", False)
    assert stored.check_password("another long password")


def test_the_time_of_change_is_stamped() -> None:
    organization = factories.organization()
    before = organization.modified
    services.organization_update(organization, description="words")
    assert Organization.objects.get().modified == organization.modified > before
