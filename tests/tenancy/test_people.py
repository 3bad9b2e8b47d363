"""People and memberships over REST: who may do what to whom, and that no organization loses its last owner."""

from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from rest_framework.test import APIClient

from core.errors import Forbidden
from tenancy import people, services
from tenancy.authority import ELSEWHERE, may_read_account, obstacle_to
from tenancy.models import ApiToken, AuditEvent, Membership, Organization, Role, User
from tests import factories
from tests.tenancy.conftest import USERS, client_of

pytestmark = pytest.mark.django_db
KEYS = [
    "id", "username", "email", "first_name", "last_name", "is_active", "is_staff", "is_superuser", "last_login",
    "date_joined", "groups", "organization_users",
]  # fmt: skip
LONG = "quite new words"


def member(org: Organization, role: str) -> APIClient:
    return client_of(factories.user(role=role, organization=org))


def path(person: User, rest: str = "") -> str:
    return f"{USERS}user/{person.pk}/{rest}"


def role_in(person: User, org: Organization) -> str | None:
    return Membership.objects.filter(user=person, organization=org).values_list("role", flat=True).first()


def test_managers_list_the_people_of_their_organizations(org: Organization, other: Organization) -> None:
    factories.user("ann", role=Role.VIEWER, organization=org)
    factories.user("eve", role=Role.VIEWER, organization=other)
    client = client_of(factories.user("boss", role=Role.MANAGER, organization=org))
    listed = client.get(f"{USERS}user/").json()
    assert [person["username"] for person in listed["results"]] == ["boss", "ann"]
    assert list(listed["results"][0]) == KEYS
    ann = listed["results"][1]
    assert (ann["groups"], ann["email"]) == ([4], "ann@example.org")
    assert ann["organization_users"][0] | {"id": ""} == {
        "is_admin": False,
        "organization": str(org.pk),
        "id": "",
        "role": "viewer",
        "can_reveal": False,
    }
    assert client_of(factories.superuser()).get(f"{USERS}user/").json()["count"] == 4
    for role in (Role.VIEWER, Role.OPERATOR):
        assert member(org, role).get(f"{USERS}user/").status_code == 403


def test_people_are_found_and_ordered(org: Organization) -> None:
    factories.user("ann", role=Role.VIEWER, organization=org, first_name="Zoe")
    factories.user("bob", role=Role.OPERATOR, organization=org, is_staff=True)
    client = client_of(factories.user("boss", role=Role.MANAGER, organization=org))

    def found(**query: Any) -> list[str]:
        answer = client.get(f"{USERS}user/", query)
        assert answer.status_code == 200, answer.json()
        return [person["username"] for person in answer.json()["results"]]

    assert found(ordering="username") == ["ann", "bob", "boss"]
    assert found(ordering="-username") == ["boss", "bob", "ann"]
    assert found(search="zo") == found(username="ann") == found(role="viewer") == ["ann"]
    assert found(is_staff="true") == ["bob"]
    assert found(search="ann@example.org") == [], "an address of somebody is not everyone's to look for"
    assert found(organization=str(org.pk), ordering="username") == ["ann", "bob", "boss"]
    for query in ({"ordering": "password"}, {"role": "king"}, {"search": "a\x00"}, {"organization": uuid4()}):
        assert client.get(f"{USERS}user/", query).status_code == 400, query


def test_a_manager_invites_with_a_link_that_works_once(org: Organization) -> None:
    client = member(org, Role.MANAGER)
    sent = {
        "username": "new",
        "email": "new@example.org",
        "is_staff": True,
        "organization_users": {"is_admin": False, "organization": str(org.pk)},
    }
    made = client.post(f"{USERS}user/", sent, format="json")
    assert made.status_code == 201, made.json()
    assert list(made.json()) == [*KEYS, "set_password_url"]
    assert made["Cache-Control"] == "no-store"
    new = User.objects.get(username="new")
    assert (role_in(new, org), new.has_usable_password()) == ("viewer", False)
    page = made.json()["set_password_url"]
    assert page.startswith("http://testserver/admin/password/new/?uid=")
    visitor = APIClient()
    answer = visitor.get(page)
    assert answer.status_code == 200
    form = answer.context["form"].initial | {"new_password1": LONG, "new_password2": LONG}
    assert "You can sign in now" in visitor.post("/admin/password/new/", form).content.decode()
    new.refresh_from_db()
    assert new.check_password(LONG)
    assert "was used already" in visitor.get(page).content.decode()
    again = visitor.post(
        "/admin/password/new/", form | {"new_password1": "other words x", "new_password2": "other words x"}
    )
    assert "was used already" in again.content.decode()
    assert AuditEvent.objects.get(action="user.password_changed").actor_name == "new"


def test_is_admin_means_manager_and_a_role_can_be_named(org: Organization) -> None:
    client = member(org, Role.OWNER)
    for number, (said, role) in enumerate(
        [
            ({"is_admin": True}, "manager"),
            ({}, "viewer"),
            ({"role": "operator"}, "operator"),
            ({"role": "owner"}, "owner"),
        ]
    ):
        sent = {
            "username": f"new-{number}",
            "password": LONG,
            "organization_users": [{**said, "organization": str(org.pk)}],
        }
        made = client.post(f"{USERS}user/", sent, format="json")
        assert made.status_code == 201, made.json()
        assert made.json()["set_password_url"] is None
        person = User.objects.get(username=f"new-{number}")
        assert (role_in(person, org), person.check_password(LONG)) == (role, True)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 400),
        ({"organization_users": []}, 400),
        ({"organization_users": [{"organization": None}]}, 400),
        ({"organization_users": [[]]}, 400),
        ({"organization_users": "x"}, 400),
        ({"organization_users": [{"organization": "OWN", "role": "king"}]}, 400),
        ({"organization_users": [{"organization": "OTHER"}]}, 400),
        ({"organization_users": [{"organization": "OWN", "role": "owner"}]}, 403),
        ({"organization_users": [{"organization": "OWN", "can_reveal": True}]}, 403),
        ({"organization_users": [{"organization": "OWN"}], "is_superuser": True}, 403),
        ({"organization_users": [{"organization": "OWN"}], "password": "12345"}, 400),
        ({"organization_users": [{"organization": "OWN"}], "password": "a\x00b"}, 400),
        ({"organization_users": [{"organization": "OWN"}], "username": "boss"}, 400),
        ({"organization_users": [{"organization": "OWN"}], "username": "a b"}, 400),
        ({"organization_users": [{"organization": "OWN"}], "username": "x" * 200}, 400),
        ({"organization_users": [{"organization": "OWN"}], "email": "BOSS@example.org"}, 400),
    ],
)
def test_a_manager_gives_nothing_above_or_beside_their_own(
    org: Organization, other: Organization, sent: dict[str, Any], status: int
) -> None:
    client = client_of(factories.user("boss", role=Role.MANAGER, organization=org))
    rows: Any = sent.get("organization_users")
    if isinstance(rows, list):
        ids = {"OWN": str(org.pk), "OTHER": str(other.pk)}
        rows = [
            row | {"organization": ids.get(row["organization"], row["organization"])}
            if isinstance(row, dict)
            else row
            for row in rows
        ]
        sent = {**sent, "organization_users": rows}
    answer = client.post(f"{USERS}user/", {"username": "new", **sent}, format="json")
    assert answer.status_code == status, answer.json()
    assert not User.objects.filter(username="new").exists()


def test_a_manager_changes_disables_and_deletes_people_who_work_here_only(org: Organization) -> None:
    client, ann = member(org, Role.MANAGER), factories.user("ann", role=Role.OPERATOR, organization=org)
    answer = client.patch(path(ann), {"first_name": "Ann", "is_active": False}, format="json")
    assert answer.status_code == 200, answer.json()
    assert list(answer.json()) == KEYS
    ann.refresh_from_db()
    assert (ann.first_name, ann.is_active) == ("Ann", False)
    assert client.put(path(ann), {"username": "anna"}, format="json").status_code == 200
    assert client.delete(path(ann)).status_code == 204
    assert not User.objects.filter(pk=ann.pk).exists()


def test_an_account_that_is_not_theirs_alone_stays(org: Organization, other: Organization) -> None:
    client, both = member(org, Role.OWNER), factories.user("both", role=Role.VIEWER, organization=org)
    services.membership_set(user=both, organization=other, role=Role.VIEWER)
    services.organization_update(other, is_active=False)
    shown = client.get(path(both)).json()
    assert (shown["email"], shown["last_login"]) == (None, None)
    assert [row["organization"] for row in shown["organization_users"]] == [str(org.pk)]
    calls = (
        client.patch(path(both), {"is_active": False}, format="json"),
        client.delete(path(both)),
        client.put(path(both, "password/"), {"new_password": LONG, "confirm_password": LONG}, format="json"),
        client.get(path(both, "email/")),
        client.patch(path(both, "email/1/"), {"email": "x@example.org"}, format="json"),
        client.get(path(both, "api-token/")),
    )
    assert [answer.status_code for answer in calls] == [403] * len(calls)
    wanted = {"organization_users": {"organization": str(org.pk), "role": "operator"}}
    assert client.patch(path(both), wanted, format="json").status_code == 200
    assert (role_in(both, org), role_in(both, other)) == ("operator", "viewer")


@pytest.mark.parametrize("whom", ["superuser", "owner", "reveals"])
def test_a_manager_does_not_touch_who_may_do_more(org: Organization, whom: str) -> None:
    client, person = member(org, Role.MANAGER), factories.user("target")
    services.membership_set(
        user=person,
        organization=org,
        role=Role.OWNER if whom == "owner" else Role.VIEWER,
        can_reveal=whom == "reveals",
    )
    User.objects.filter(pk=person.pk).update(is_superuser=whom == "superuser")
    Membership.objects.exclude(user=person).update(can_reveal=False)
    answers = (
        client.patch(path(person), {"email": "mine@example.org"}, format="json"),
        client.put(
            path(person, "password/"), {"new_password": LONG, "confirm_password": LONG}, format="json"
        ),
        client.put(path(person, "email/1/"), {"email": "mine@example.org"}, format="json"),
        client.delete(path(person)),
    )
    assert [answer.status_code for answer in answers] == [403] * 4
    person.refresh_from_db()
    assert person.check_password(factories.PASSWORD)


def test_nobody_disables_demotes_or_deletes_themselves() -> None:
    root = factories.superuser("root")
    client = client_of(root)
    for sent in ({"is_active": False}, {"is_superuser": False}):
        assert list(client.patch(path(root), sent, format="json").json()) == list(sent)
    assert client.delete(path(root)).status_code == 400
    assert client.patch(path(root), {"first_name": "Root"}, format="json").status_code == 200


def test_a_person_outside_is_as_unknown_as_any(org: Organization, other: Organization) -> None:
    client, eve = member(org, Role.OWNER), factories.user(role=Role.VIEWER, organization=other)
    for rest in ("", "password/", "email/", "email/1/", "api-token/"):
        for method in ("get", "put", "patch", "delete"):
            answers = [getattr(client, method)(f"{USERS}user/{pk}/{rest}") for pk in (eve.pk, uuid4())]
            assert answers[0].status_code == answers[1].status_code
            assert answers[0].status_code in (404, 405)
            assert answers[0].content == answers[1].content


def test_the_last_owner_stays(org: Organization) -> None:
    owner = factories.user("owner", role=Role.OWNER, organization=org)
    root, client = client_of(factories.superuser()), client_of(owner)
    row = Membership.objects.get(user=owner)
    for caller in (root, client):
        assert (
            caller.patch(f"{USERS}membership/{row.pk}/", {"role": "manager"}, format="json").status_code
            == 400
        )
        assert caller.delete(f"{USERS}membership/{row.pk}/").status_code == 400
        assert caller.delete(path(owner)).status_code == 400
        wanted = {"organization_users": {"organization": str(org.pk), "is_admin": True}}
        assert caller.patch(path(owner), wanted, format="json").status_code == 400
    assert role_in(owner, org) == "owner"
    second = factories.user("second", role=Role.OWNER, organization=org)
    User.objects.filter(pk=second.pk).update(is_active=False)
    assert client.delete(f"{USERS}membership/{row.pk}/").status_code == 400, (
        "who cannot sign in does not count"
    )
    User.objects.filter(pk=second.pk).update(is_active=True)
    assert client.delete(f"{USERS}membership/{row.pk}/").status_code == 204
    assert client.get(f"{USERS}organization/{org.pk}/").status_code == 403, "it ends at once"


def test_the_last_owner_who_can_sign_in_is_not_disabled(org: Organization, other: Organization) -> None:
    owner = factories.user("owner", role=Role.OWNER, organization=org)
    services.membership_set(user=owner, organization=other, role=Role.OWNER)
    second = factories.user("second", role=Role.OWNER, organization=org)
    root = client_of(factories.superuser())

    def disable(caller: APIClient, person: User) -> Any:
        return caller.patch(path(person), {"is_active": False}, format="json")

    refused = disable(root, owner)
    assert (refused.status_code, list(refused.json())) == (400, ["is_active"])
    assert "org-b" in str(refused.json()), "second owns the other one only"
    assert disable(client_of(owner), second).status_code == 200
    services.membership_set(user=second, organization=other, role=Role.OWNER)
    assert disable(root, owner).status_code == 400, "who cannot sign in does not count"
    with pytest.raises(ValidationError):
        people.member_set(by=factories.superuser(), user=owner, organization=org, role=Role.VIEWER)
    owner.refresh_from_db()
    assert owner.is_active
    User.objects.filter(pk=second.pk).update(is_active=True)
    assert disable(root, owner).status_code == 200
    assert disable(root, owner).status_code == 200, "nothing changes any more"
    assert disable(root, second).status_code == 400


def test_whoever_was_disabled_meanwhile_changes_nothing(org: Organization) -> None:
    boss, ann = (factories.user(name, role=Role.MANAGER, organization=org) for name in ("boss", "ann"))
    loaded = User.objects.get(pk=boss.pk)
    assert may_read_account(loaded, ann), "this also remembers what the boss may do"
    User.objects.filter(pk=boss.pk).update(is_active=False)
    row = Membership.objects.get(user=ann)
    for call in (
        lambda: people.person_update(ann, by=loaded, is_active=False),
        lambda: people.person_delete(ann, by=loaded),
        lambda: people.member_set(by=loaded, user=ann, organization=org, role=Role.VIEWER),
        lambda: people.member_remove(row, by=loaded),
        lambda: people.person_create(by=loaded, username="new", password=None),
        lambda: people.password_set(ann, by=loaded, password=LONG),
        lambda: people.password_set(loaded, by=loaded, password=LONG, old_password=factories.PASSWORD),
    ):
        with pytest.raises(Forbidden):
            call()
    User.objects.filter(pk=boss.pk).update(is_active=True)
    Membership.objects.filter(user=boss).update(role=Role.VIEWER)
    with pytest.raises(Forbidden):
        people.person_update(ann, by=loaded, is_active=False)


@pytest.mark.parametrize("first", ["here", "elsewhere"])
def test_that_somebody_works_elsewhere_says_more_than_their_role_here(
    org: Organization, other: Organization, first: str
) -> None:
    manager, both = (
        factories.user(role=Role.MANAGER, organization=org),
        factories.user("both", email="both@example.org"),
    )
    rows = [(org, Role.OWNER), (other, Role.VIEWER)]
    for organization, role in rows if first == "here" else reversed(rows):
        services.membership_set(user=both, organization=organization, role=role)
    assert obstacle_to(manager, both) == ELSEWHERE
    client = client_of(manager)
    assert client.get(path(both)).json()["email"] is None
    assert client.get(path(both, "email/")).status_code == 403
    assert {row["email"] for row in client.get(f"{USERS}user/").json()["results"]} == {manager.email, None}


def test_a_name_that_is_anothers_address_is_refused_under_its_field(org: Organization) -> None:
    client = client_of(factories.user("boss", role=Role.MANAGER, organization=org))
    ann = factories.user("ann", role=Role.VIEWER, organization=org)
    sent = {"username": "ANN@example.org", "organization_users": {"organization": str(org.pk)}}
    assert list(client.post(f"{USERS}user/", sent, format="json").json()) == ["username"]
    factories.user("carl@example.org", email="")
    assert list(client.patch(path(ann), {"email": "Carl@example.org"}, format="json").json()) == ["email"]
    assert list(client.put(path(ann, "email/1/"), {"email": "carl@example.org"}, format="json").json()) == [
        "email"
    ]


def test_memberships_are_given_changed_and_taken(org: Organization, other: Organization) -> None:
    boss, ann = factories.user("boss"), factories.user("ann", role=Role.VIEWER, organization=org)
    for one in (org, other):
        services.membership_set(user=boss, organization=one, role=Role.OWNER)
    client = client_of(boss)
    sent = {"user": str(ann.pk), "organization": str(other.pk), "role": "operator"}
    made = client.post(f"{USERS}membership/", sent, format="json")
    assert made.status_code == 201, made.json()
    keys = ["id", "user", "username", "organization", "role", "can_reveal", "created", "modified"]
    assert list(made.json()) == keys
    assert list(client.post(f"{USERS}membership/", sent, format="json").json()) == ["user"]
    one = f"{USERS}organization/{other.pk}/membership/{made.json()['id']}/"
    assert client.patch(one, {"can_reveal": True}, format="json").json()["can_reveal"] is True
    assert (
        client.patch(one, {"role": "viewer", "user": str(boss.pk)}, format="json").json()["username"] == "ann"
    )
    assert client.get(f"{USERS}organization/{org.pk}/membership/{made.json()['id']}/").status_code == 404
    assert client.get(f"{USERS}organization/{other.pk}/membership/").json()["count"] == 2
    listed = client.get(f"{USERS}membership/", {"user": str(ann.pk), "ordering": "username"}).json()
    assert {row["organization"] for row in listed["results"]} == {str(org.pk), str(other.pk)}
    assert (
        client.get(f"{USERS}membership/", {"role": "owner", "organization": str(org.pk)}).json()["count"] == 1
    )
    assert client.delete(one).status_code == 204
    assert role_in(ann, other) is None


def test_only_owners_who_may_reveal_let_others_reveal(org: Organization) -> None:
    ann = factories.user("ann", role=Role.OPERATOR, organization=org)
    row = Membership.objects.get(user=factories.without_reveal(ann))
    one = f"{USERS}membership/{row.pk}/"
    manager = member(org, Role.MANAGER)
    assert manager.patch(one, {"can_reveal": True}, format="json").status_code == 403
    promoted = manager.patch(one, {"role": "manager"}, format="json").json()
    assert (promoted["role"], promoted["can_reveal"]) == ("manager", False)
    owner = factories.user(role=Role.OWNER, organization=org)
    Membership.objects.filter(user=owner).update(can_reveal=False)
    assert client_of(owner).patch(one, {"can_reveal": True}, format="json").status_code == 403
    own = f"{USERS}membership/{Membership.objects.get(user=owner).pk}/"
    assert client_of(owner).patch(own, {"can_reveal": True}, format="json").status_code == 403
    Membership.objects.filter(user=owner).update(can_reveal=True)
    assert client_of(owner).patch(one, {"can_reveal": True}, format="json").json()["can_reveal"] is True


def test_a_right_to_reveal_that_was_lost_does_not_come_back_by_a_role(org: Organization) -> None:
    ann = factories.user("ann", role=Role.OPERATOR, organization=org)
    manager = factories.user(role=Role.MANAGER, organization=org)
    assert Membership.objects.get(user=manager).can_reveal, "that alone lets nobody give it"

    def reveals(role: str, by: User = manager) -> bool:
        return people.member_set(by=by, user=ann, organization=org, role=role).can_reveal

    assert reveals("operator"), "a role given again takes nothing"
    assert [reveals(role) for role in ("viewer", "operator", "manager", "operator")] == [False] * 4
    people.member_remove(Membership.objects.get(user=ann), by=manager)
    again = people.member_add(by=manager, user=ann, organization=org, role="operator")
    assert not again.can_reveal
    new = people.person_create(
        by=manager, username="new", password=None, memberships=[{"organization": org, "role": "operator"}]
    )
    assert not Membership.objects.get(user=new).can_reveal
    blind, owner = (factories.user(role=Role.OWNER, organization=org) for _ in range(2))
    factories.without_reveal(blind)
    assert [reveals(role, blind) for role in ("viewer", "operator")] == [False, False]
    assert [reveals(role, owner) for role in ("viewer", "operator")] == [False, True]


def test_roles_are_the_groups(org: Organization) -> None:
    client = member(org, Role.VIEWER)
    listed = client.get(f"{USERS}group/").json()["results"]
    assert [(row["id"], row["name"]) for row in listed] == [
        (1, "Owner"), (2, "Manager"), (3, "Operator"), (4, "Viewer"),
    ]  # fmt: skip
    assert client.get(f"{USERS}group/4/").json() == listed[3]
    assert "devices.view_device" in listed[3]["permissions"]
    assert "devices.change_device" not in listed[3]["permissions"]
    for number in (0, 5, 999999999):
        assert client.get(f"{USERS}group/{number}/").status_code == 404
    assert client.post(f"{USERS}group/", {}, format="json").status_code == 405


def test_a_person_has_one_address(org: Organization) -> None:
    client, ann = (
        member(org, Role.MANAGER),
        factories.user("ann", role=Role.VIEWER, organization=org, email=""),
    )
    assert client.get(path(ann, "email/")).json()["results"] == []
    assert client.get(path(ann, "email/1/")).status_code == 404
    made = client.post(path(ann, "email/"), {"email": "ann@example.org"}, format="json")
    assert (made.status_code, list(made.json())) == (201, ["id", "email", "verified", "primary"])
    assert client.post(path(ann, "email/"), {"email": "b@example.org"}, format="json").status_code == 400
    assert client.patch(path(ann, "email/1/"), {"email": "c@example.org"}, format="json").status_code == 200
    assert client.get(path(ann, "email/")).json()["results"][0]["email"] == "c@example.org"
    assert client.delete(path(ann, "email/1/")).status_code == 400
    for sent in ({}, {"email": "x"}, {"email": None}, {"email": []}):
        assert list(client.put(path(ann, "email/1/"), sent, format="json").json()) == ["email"]
    assert client.get(path(ann, "email/2/")).status_code == 404


def test_owners_see_and_revoke_the_tokens_of_members(org: Organization) -> None:
    ann = factories.user("ann", role=Role.OPERATOR, organization=org)
    token, secret = services.token_issue(user=ann, name="laptop")
    owner = member(org, Role.OWNER)
    listed = owner.get(path(ann, "api-token/")).json()["results"]
    assert [(row["name"], row["prefix"]) for row in listed] == [("laptop", secret[:8])]
    assert secret not in str(listed) and "token" not in listed[0]
    assert member(org, Role.MANAGER).get(path(ann, "api-token/")).status_code == 403
    foreign = ApiToken.objects.exclude(user=ann).first()
    assert foreign is not None
    assert owner.delete(path(ann, f"api-token/{foreign.pk}/")).status_code == 404
    assert owner.delete(path(ann, f"api-token/{token.pk}/")).status_code == 204
    assert services.token_holder(secret) is None
    assert owner.delete(path(ann, f"api-token/{token.pk}/")).status_code == 404


def test_an_organization_with_devices_in_use_is_deleted_with_force_only(org: Organization) -> None:
    root, target = client_of(factories.superuser()), f"{USERS}organization/{org.pk}/"
    factories.device(org)
    refused = root.delete(target)
    assert (refused.status_code, list(refused.json())) == (400, ["__all__"])
    assert member(org, Role.OWNER).delete(f"{target}?force=true").status_code == 403
    assert root.delete(f"{target}?force=true").status_code == 204
    assert not Organization.objects.filter(pk=org.pk).exists()
    empty = factories.organization()
    assert root.delete(f"{USERS}organization/{empty.pk}/").status_code == 204


def test_lists_ask_the_database_equally_often_however_long_they_are(
    org: Organization, django_assert_num_queries: Any
) -> None:
    client = member(org, Role.OWNER)
    for name in ("user", "membership", "audit"):
        client.get(f"{USERS}{name}/")
    ann = factories.user("ann", role=Role.VIEWER, organization=org)
    for count in (1, 8):
        for _ in range(count):
            factories.user(role=Role.VIEWER, organization=org)
            services.token_issue(user=ann, name="t")
            AuditEvent.objects.create(
                created=org.created, organization=org, actor_name="a", via="t", action="t"
            )
        for name, queries in (
            ("user", 5),
            ("membership", 4),
            (f"organization/{org.pk}/membership", 5),
            ("audit", 4),
            (f"user/{ann.pk}/api-token", 6),
            ("group", 2),
        ):
            with django_assert_num_queries(queries):
                assert client.get(f"{USERS}{name}/").status_code == 200


def test_the_page_of_a_person_says_why_under_the_field(org: Organization) -> None:
    owner = factories.user("owner", role=Role.OWNER, organization=org)
    factories.user("carl@example.org", email="")
    root = Client()
    root.force_login(factories.superuser("root"))
    page = f"/admin/tenancy/user/{owner.pk}/change/"
    posted = {"username": "owner", "first_name": "", "last_name": "", "email": "", "is_active": "on"}
    for change, field in (
        ({"is_active": ""}, "is_active"),
        ({"email": "Carl@example.org"}, "email"),
        ({"username": "ROOT@example.org"}, "username"),
    ):
        answer = root.post(page, {**posted, **change})
        assert answer.status_code == 200
        assert list(answer.context["adminform"].form.errors) == [field]
    owner.refresh_from_db()
    assert (owner.username, owner.is_active) == ("owner", True)
