"""Organizations and notifications over REST, and what disabling an organization does."""

from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from tenancy import services
from tenancy.models import Membership, Notification, Organization, Role
from tests import factories
from tests.tenancy.conftest import USERS, client_of

pytestmark = pytest.mark.django_db
KEYS = ["id", "name", "is_active", "slug", "description", "email", "url", "created", "modified"]
DETAIL = [*KEYS[:7], "owner", *KEYS[7:]]
WRITERS = (Role.OWNER,)


def member(org: Organization, role: str) -> APIClient:
    return client_of(factories.user(role=role, organization=org))


def test_the_list_shows_ones_own_organizations_newest_first(org: Organization, other: Organization) -> None:
    both = factories.user(role=Role.VIEWER, organization=org)
    assert [o["slug"] for o in client_of(both).get(f"{USERS}organization/").json()["results"]] == ["org-a"]
    services.membership_set(user=both, organization=other, role=Role.VIEWER)
    listed = client_of(both).get(f"{USERS}organization/").json()
    assert list(listed) == ["count", "next", "previous", "results"]
    assert [o["slug"] for o in listed["results"]] == ["org-b", "org-a"]
    assert list(listed["results"][0]) == KEYS


def test_the_detail_names_the_owner(org: Organization) -> None:
    client = member(org, Role.VIEWER)
    path = f"{USERS}organization/{org.pk}/"
    assert list(client.get(path).json()) == DETAIL
    assert client.get(path).json()["owner"] is None
    owner = factories.user(role=Role.OWNER, organization=org)
    assert client.get(path).json()["owner"] == {
        "organization_user": str(Membership.objects.get(user=owner).pk)
    }


@pytest.mark.parametrize("role", Role.values)
def test_owners_change_their_organization(org: Organization, role: str) -> None:
    client, path = member(org, role), f"{USERS}organization/{org.pk}/"
    answers = [
        client.patch(path, {"description": "ours"}, format="json"),
        client.put(path, {"name": "New", "slug": "org-a"}, format="json"),
    ]
    if role in WRITERS:
        assert [answer.status_code for answer in answers] == [200, 200]
        assert list(answers[0].json()) == DETAIL
        org.refresh_from_db()
        assert (org.name, org.description) == ("New", "ours")
    else:
        assert [answer.status_code for answer in answers] == [403, 403]
    assert client.delete(path).status_code == 403


def test_only_superusers_enable_and_disable(org: Organization) -> None:
    owner, path = member(org, Role.OWNER), f"{USERS}organization/{org.pk}/"
    assert list(owner.patch(path, {"is_active": False}, format="json").json()) == ["is_active"]
    assert owner.patch(path, {"is_active": True}, format="json").status_code == 200
    root = client_of(factories.superuser())
    assert root.patch(path, {"is_active": False}, format="json").json()["is_active"] is False
    assert owner.get(path).status_code == 403
    assert root.patch(path, {"is_active": True}, format="json").status_code == 200
    assert owner.get(path).status_code == 200


def test_superusers_create(org: Organization) -> None:
    root = client_of(factories.superuser())
    made = root.post(f"{USERS}organization/", {"name": "Third", "slug": "third"}, format="json")
    assert made.status_code == 201, made.json()
    assert list(made.json()) == KEYS
    assert factories.fleet_of(Organization.objects.get(slug="third")).shared_secret
    again = root.post(f"{USERS}organization/", {"name": "Third", "slug": "third"}, format="json")
    assert list(again.json()) == ["slug"]
    for sent, key in (
        ({"slug": "a b"}, "slug"),
        ({"url": "x"}, "url"),
        ({"email": 1}, "email"),
        ({"name": None}, "name"),
    ):
        answer = root.post(f"{USERS}organization/", {"name": "n", "slug": "s", **sent}, format="json")
        assert (answer.status_code, list(answer.json())) == (400, [key])
    assert member(org, Role.OWNER).post(f"{USERS}organization/", {}, format="json").status_code == 403


def test_a_foreign_organization_is_as_unknown_as_any(org: Organization, other: Organization) -> None:
    client = member(org, Role.OWNER)
    for method in ("get", "put", "patch"):
        answers = [getattr(client, method)(f"{USERS}organization/{pk}/") for pk in (other.pk, uuid4())]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content


def test_people_without_an_active_organization_are_told_so(org: Organization) -> None:
    nobody = client_of(factories.user())
    former = member(org, Role.OWNER)
    assert former.get(f"{USERS}organization/").status_code == 200
    services.organization_update(org, is_active=False)
    for client in (nobody, former):
        for path in (
            "users/organization/",
            "users/notification/",
            "controller/device/",
            f"controller/group/{uuid4()}/",
        ):
            answer = client.get(f"/api/v1/{path}")
            assert answer.status_code == 403
            assert answer.json() == {"detail": "You are not a member of any active organization."}


def test_losing_one_of_two_organizations_hides_only_that(org: Organization, other: Organization) -> None:
    both = factories.user(role=Role.OPERATOR, organization=org)
    services.membership_set(user=both, organization=other, role=Role.OPERATOR)
    mine, lost = factories.device(org), factories.device(other)
    client = client_of(both)
    services.organization_update(other, is_active=False)
    assert client.get(f"/api/v1/controller/device/{mine.pk}/").status_code == 200
    assert client.get(f"/api/v1/controller/device/{lost.pk}/").status_code == 404
    assert client.get("/api/v1/controller/device/", {"organization": str(other.pk)}).status_code == 400


def test_notifications_are_listed_filtered_and_marked(org: Organization, other: Organization) -> None:
    error = factories.notification(
        org, level="error", kind="config_error", target_type="device", target_id=uuid4()
    )
    factories.notification(org)
    factories.notification(other, message="foreign")
    client = member(org, Role.OPERATOR)
    path = f"{USERS}notification/"
    listed = client.get(path).json()["results"]
    assert [item["level"] for item in listed] == ["info", "error"]
    assert listed[1]["target_id"] == str(error.target_id)

    def found(**query: Any) -> int:
        answer = client.get(path, query)
        assert answer.status_code == 200
        return answer.json()["count"]

    assert found(level="error") == found(kind="config_error") == 1
    assert found(is_read="false") == found(organization=str(org.pk)) == 2
    assert found(organization_slug=other.slug) == found(is_read="true") == 0
    assert client.get(path, {"level": "loud"}).json() == {
        "level": ["Select a valid choice. loud is not one of the available choices."]
    }
    one = f"{path}{error.pk}/"
    assert client.patch(one, {"is_read": True, "message": "x"}, format="json").json()["is_read"] is True
    error.refresh_from_db()
    assert (error.is_read, error.message != "x") == (True, True)
    assert list(client.patch(one, {"is_read": "perhaps"}, format="json").json()) == ["is_read"]
    assert client.delete(one).status_code == 405
    viewer = member(org, Role.VIEWER)
    assert viewer.get(one).status_code == 200
    assert viewer.patch(one, {"is_read": False}, format="json").status_code == 403
    foreign = Notification.objects.get(message="foreign")
    assert client.patch(f"{path}{foreign.pk}/", {"is_read": True}, format="json").status_code == 404


def test_lists_ask_the_database_equally_often_however_long_they_are(
    org: Organization, django_assert_num_queries: Any
) -> None:
    user = factories.user(role=Role.VIEWER, organization=org)
    client = client_of(user)
    client.get(f"{USERS}organization/")
    for count in (1, 8):
        for _ in range(count):
            factories.notification(org)
            services.membership_set(user=user, organization=factories.organization(), role=Role.VIEWER)
            factories.token_for(user)
        for name, queries in (("organization", 4), ("notification", 4), ("api-token", 3)):
            with django_assert_num_queries(queries):
                assert client.get(f"{USERS}{name}/").status_code == 200
