"""API keys in the admin: made, shown once, revoked."""

from typing import Any

import pytest
from django.test import Client

from tenancy.api_keys import api_key_of
from tenancy.models import ApiKey, Organization, Role
from tests import factories
from tests.admin.conftest import page


def posted(org: Organization, **fields: Any) -> dict[str, Any]:
    form = {"organization": str(org.pk), "name": "laptop", "expires_at_0": "", "expires_at_1": ""}
    return {**form, **fields}


def test_a_key_is_shown_once_and_only_in_its_own_answer(operator: Client, org: Organization) -> None:
    answer = operator.post(page("tenancy_apikey_add"), posted(org, read_only="on"))
    secret = answer.context["secret"]
    assert "no-store" in answer["Cache-Control"] and secret in answer.content.decode()
    found = api_key_of(secret)
    assert found is not None
    assert (found.user, found.organization, found.read_only) == (operator.user, org, True)  # type: ignore[attr-defined]
    for path in (page("tenancy_apikey_changelist"), page("tenancy_apikey_change", found.pk)):
        text = operator.get(path).content.decode()
        assert "laptop" in text and found.key_id in text
        assert secret not in text and secret[9:] not in text and found.digest not in text
    assert not [cookie for cookie in operator.cookies.values() if secret in cookie.value]
    operator.post(page("tenancy_apikey_delete", found.pk), {"post": "yes"})
    assert api_key_of(secret) is None
    assert operator.get(page("tenancy_apikey_change", found.pk)).status_code == 302


def test_its_user_renames_a_key_and_makes_it_read_only(staff: Any, org: Organization) -> None:
    client, root, boss = staff("operator"), staff(None), staff("owner")
    row, text = factories.api_key(client.user, org, name="old")
    path = page("tenancy_apikey_change", row.pk)
    assert client.post(path, posted(org, name="new", read_only="on")).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.read_only, row.user, row.organization) == ("new", True, client.user, org)
    assert root.post(path, posted(org, name="newer")).status_code == 302
    assert boss.post(path, posted(org, name="theirs")).status_code == 403
    row.refresh_from_db()
    assert (row.name, row.read_only) == ("newer", False) and api_key_of(text) is not None


def test_a_key_to_a_foreign_organization_or_of_the_past_is_a_form_error(
    operator: Client, other: Organization, org: Organization
) -> None:
    for sent, field in (
        (posted(other), "organization"),
        (posted(org, expires_at_0="2020-01-01", expires_at_1="00:00:00"), "expires_at"),
    ):
        answer = operator.post(page("tenancy_apikey_add"), sent)
        assert answer.context["adminform"].form.errors[field]
    assert not ApiKey.objects.exists()


def test_superusers_choose_whose_key_it_is_and_nobody_else_does(
    root: Client, staff: Any, org: Organization
) -> None:
    ann = factories.user("ann", role=Role.VIEWER, organization=org)
    for client, sent, owner in (
        (root, {"user": str(ann.pk)}, ann),
        (root, {"user": ""}, root.user),  # type: ignore[attr-defined]
    ):
        answer = client.post(page("tenancy_apikey_add"), posted(org, **sent))
        assert api_key_of(answer.context["secret"]).user == owner  # type: ignore[union-attr]
    boss = staff("owner")
    answer = boss.post(page("tenancy_apikey_add"), posted(org, user=str(ann.pk)))
    assert api_key_of(answer.context["secret"]).user == boss.user  # type: ignore[union-attr]
    answer = root.post(page("tenancy_apikey_add"), posted(org, user=str(factories.user().pk)))
    assert answer.context["adminform"].form.errors["user"]


@pytest.mark.parametrize("role", Role.values)
def test_who_manages_an_organization_sees_and_revokes_its_members_keys(
    staff: Any, org: Organization, role: str
) -> None:
    row, text = factories.api_key(factories.user(role=Role.VIEWER, organization=org), org, name="theirs")
    client = staff(role)
    manages = role in (Role.MANAGER, Role.OWNER)
    listed = client.get(page("tenancy_apikey_changelist")).content.decode()
    assert ("theirs" in listed) == manages
    assert client.get(page("tenancy_apikey_change", row.pk)).status_code == (200 if manages else 302)
    assert client.post(page("tenancy_apikey_delete", row.pk), {"post": "yes"}).status_code == 302
    assert (api_key_of(text) is None) == manages


def test_several_are_revoked_or_none(staff: Any, org: Organization) -> None:
    texts = [
        factories.api_key(factories.user(role=role, organization=org), org)[1]
        for role in (Role.VIEWER, Role.OWNER)
    ]
    keys = [str(pk) for pk in ApiKey.objects.values_list("pk", flat=True)]
    sent = {"action": "delete_selected", "post": "yes", "_selected_action": keys}
    staff("manager").post(page("tenancy_apikey_changelist"), sent)
    assert all(api_key_of(text) for text in texts)
    staff("owner").post(page("tenancy_apikey_changelist"), sent)
    assert not any(api_key_of(text) for text in texts)


def test_the_side_bar_leads_members_to_their_keys(operator: Client, db: None) -> None:
    link = page("tenancy_apikey_changelist")
    assert link in operator.get(page("index")).content.decode()
    stranger = Client()
    stranger.force_login(factories.user(is_staff=True))
    assert link not in stranger.get(page("index")).content.decode()
    assert stranger.get(page("tenancy_apikey_add")).status_code == 403
