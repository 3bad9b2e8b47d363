"""Users, organizations with their members, API tokens and notifications."""

from typing import Any

import pytest
from django.test import Client

from tenancy.models import ApiToken, Membership, Notification, Organization, User
from tenancy.services import token_holder
from tests import factories
from tests.admin.conftest import page


def member_rows(*rows: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    """Return the posted rows of the members table."""
    posted: dict[str, Any] = {
        "memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": initial,
        "memberships-MIN_NUM_FORMS": 0, "memberships-MAX_NUM_FORMS": 1000,
    }  # fmt: skip
    for index, row in enumerate(rows):
        posted |= {f"memberships-{index}-{name}": value for name, value in row.items()}
    return posted


def org_form(org: Organization, **changes: Any) -> dict[str, Any]:
    """Return what a browser posts from the organization form."""
    posted = {
        "name": org.name,
        "slug": org.slug,
        "is_active": "on",
        "description": "",
        "email": "",
        "url": "",
    }
    return {**posted, **member_rows(), **changes}


def test_a_superuser_makes_an_organization_with_its_fleet_settings(root: Client, db: None) -> None:
    posted = {"name": "New", "slug": "new", "is_active": "on", "description": "", "email": "", "url": ""}
    assert root.post(page("tenancy_organization_add"), posted).status_code == 302
    assert Organization.objects.get(slug="new").fleet_settings.shared_secret


def test_an_owner_renames_but_neither_switches_off_nor_changes_the_slug(
    staff: Any, org: Organization
) -> None:
    posted = org_form(org, name="Renamed", slug="taken-over")
    posted.pop("is_active")
    answer = staff("owner").post(page("tenancy_organization_change", org.pk), posted)
    assert answer.status_code == 302, answer.context["errors"]
    org.refresh_from_db()
    assert (org.name, org.slug, org.is_active) == ("Renamed", "org-a", True)
    assert staff("manager").post(page("tenancy_organization_change", org.pk), posted).status_code == 403
    assert staff("owner").post(page("tenancy_organization_add"), posted).status_code == 403
    assert (
        staff("owner").post(page("tenancy_organization_delete", org.pk), {"post": "yes"}).status_code == 403
    )


def test_an_owner_gives_and_takes_roles(staff: Any, org: Organization, other: Organization) -> None:
    owner = staff("owner")
    colleague = factories.user(role="viewer", organization=org)
    row = Membership.objects.get(user=colleague)
    rows = member_rows({"id": row.pk, "organization": org.pk, "role": "operator"}, initial=1)
    own = Membership.objects.filter(organization=org).exclude(pk=row.pk).get()
    rows = member_rows(
        {"id": own.pk, "organization": org.pk, "role": "owner"},
        {"id": row.pk, "organization": org.pk, "role": "operator"},
        initial=2,
    )
    answer = owner.post(page("tenancy_organization_change", org.pk), {**org_form(org), **rows})
    assert answer.status_code == 302, answer.context["errors"]
    row.refresh_from_db()
    assert row.role == "operator"
    rows["memberships-1-DELETE"] = "on"
    assert (
        owner.post(page("tenancy_organization_change", org.pk), {**org_form(org), **rows}).status_code == 302
    )
    assert not Membership.objects.filter(pk=row.pk).exists()


def test_a_stranger_cannot_be_named_a_member(staff: Any, org: Organization, other: Organization) -> None:
    stranger = factories.user("stranger", role="viewer", organization=other)
    owner = staff("owner")
    text = owner.get(page("tenancy_organization_change", org.pk)).content.decode()
    assert "stranger" not in text
    own = Membership.objects.get(organization=org)
    rows = member_rows(
        {"id": own.pk, "organization": org.pk, "role": "owner"},
        {"user": stranger.pk, "organization": org.pk, "role": "viewer"},
        initial=1,
    )
    answer = owner.post(page("tenancy_organization_change", org.pk), {**org_form(org), **rows})
    assert answer.status_code == 200
    assert not Membership.objects.filter(user=stranger, organization=org).exists()


def test_a_superuser_adds_anyone(root: Client, org: Organization) -> None:
    person = factories.user("newcomer")
    rows = member_rows({"user": person.pk, "organization": org.pk, "role": "owner"})
    assert (
        root.post(page("tenancy_organization_change", org.pk), {**org_form(org), **rows}).status_code == 302
    )
    assert Membership.objects.get().role == "owner"


def test_users_are_for_those_who_manage(staff: Any, root: Client, org: Organization) -> None:
    assert staff("operator").get(page("tenancy_user_changelist")).status_code == 403
    assert staff("manager").get(page("tenancy_user_changelist")).status_code == 200
    posted = {"username": "neo", "email": "neo@example.org", "usable_password": "true", "is_staff": "on",
              "password1": "wake-up-12345", "password2": "wake-up-12345"}  # fmt: skip
    answer = root.post(page("tenancy_user_add"), posted)
    assert answer.status_code == 302, answer.context["errors"]
    created = User.objects.get(username="neo")
    assert created.is_staff and created.check_password("wake-up-12345")
    changed = {
        "username": "neo",
        "first_name": "Thomas",
        "last_name": "",
        "email": "neo@example.org",
        "is_active": "on",
    }
    assert root.post(page("tenancy_user_change", created.pk), changed).status_code == 302
    created.refresh_from_db()
    assert (created.first_name, created.is_staff) == ("Thomas", False)
    assert created.check_password("wake-up-12345"), "a change of the person keeps the password"
    assert root.post(page("tenancy_user_delete", created.pk), {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="neo").exists()


def test_an_e_mail_taken_is_a_form_error(root: Client, db: None) -> None:
    factories.user("one", email="one@example.org")
    two = factories.user("two", email="two@example.org")
    posted = {
        "username": "two",
        "first_name": "",
        "last_name": "",
        "email": "ONE@example.org",
        "is_active": "on",
    }
    answer = root.post(page("tenancy_user_change", two.pk), posted)
    assert answer.status_code == 200 and "already exists" in answer.content.decode()


def test_nobody_deletes_themselves(root: Client) -> None:
    me = root.user  # type: ignore[attr-defined]
    assert root.post(page("tenancy_user_delete", me.pk), {"post": "yes"}).status_code == 302
    assert User.objects.filter(pk=me.pk).exists()


def test_a_refused_deletion_of_several_deletes_none(root: Client, db: None) -> None:
    me, person = root.user, factories.user("aaa")  # type: ignore[attr-defined]
    posted = {"action": "delete_selected", "post": "yes", "_selected_action": [str(person.pk), str(me.pk)]}
    answer = root.post(page("tenancy_user_changelist"), posted, follow=True)
    assert "You cannot delete yourself." in answer.content.decode()
    assert User.objects.filter(pk__in=[me.pk, person.pk]).count() == 2


def test_a_token_is_shown_once_and_only_in_its_own_answer(operator: Client, org: Organization) -> None:
    answer = operator.post(
        page("tenancy_apitoken_add"), {"name": "laptop", "expires_at_0": "", "expires_at_1": ""}
    )
    secret = answer.context["secret"]
    assert "no-store" in answer["Cache-Control"] and secret in answer.content.decode()
    holder = token_holder(secret)
    assert holder is not None and holder[0] == operator.user  # type: ignore[attr-defined]
    token = ApiToken.objects.get()
    for path in (page("tenancy_apitoken_changelist"), page("tenancy_apitoken_change", token.pk)):
        text = operator.get(path).content.decode()
        assert "laptop" in text and secret not in text
    assert not [cookie for cookie in operator.cookies.values() if secret in cookie.value]
    operator.post(page("tenancy_apitoken_delete", token.pk), {"post": "yes"})
    assert token_holder(secret) is None
    assert operator.get(page("tenancy_apitoken_change", token.pk)).status_code == 302


def test_a_token_that_would_be_over_already_is_a_form_error(operator: Client) -> None:
    posted = {"name": "old", "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    answer = operator.post(page("tenancy_apitoken_add"), posted)
    assert answer.context["adminform"].form.errors["expires_at"]


def test_tokens_of_others_do_not_exist(operator: Client, org: Organization) -> None:
    factories.token_for(factories.user(role="viewer", organization=org), name="theirs")
    token = ApiToken.objects.get()
    assert "theirs" not in operator.get(page("tenancy_apitoken_changelist")).content.decode()
    assert operator.get(page("tenancy_apitoken_change", token.pk)).status_code == 302
    assert operator.post(page("tenancy_apitoken_delete", token.pk), {"post": "yes"}).status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is None


@pytest.mark.parametrize(("role", "marked"), [("viewer", False), ("operator", True)])
def test_notifications_are_marked_by_those_who_may(
    staff: Any, org: Organization, other: Organization, role: str, marked: bool
) -> None:
    own, foreign = factories.notification(org), factories.notification(other)
    posted = {"action": "mark_read", "_selected_action": [str(own.pk), str(foreign.pk)]}
    staff(role).post(page("tenancy_notification_changelist"), posted)
    assert Notification.objects.get(pk=own.pk).is_read is marked
    assert Notification.objects.get(pk=foreign.pk).is_read is False


def test_a_notification_links_to_its_device(operator: Client, org: Organization) -> None:
    device = factories.device(org)
    news = factories.notification(org, target_type="device", target_id=device.pk)
    text = operator.get(page("tenancy_notification_change", news.pk)).content.decode()
    assert page("devices_device_change", device.pk) in text
