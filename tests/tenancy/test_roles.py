"""The policy: every role, every action, every kind of object; and people's memberships."""

from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenancy import services
from tenancy.backends import MembershipBackend
from tenancy.models import Membership, Role
from tenancy.policy import ACTIONS, RANK, allows, rule_of
from tenancy.queries import (
    memberships_visible_to,
    notifications_visible_to,
    organization_ids_where,
    organizations_visible_to,
    roles_of,
)
from tests import factories

pytestmark = pytest.mark.django_db
NOBODY: list[str] = []
ALL = [Role.VIEWER, Role.OPERATOR, Role.MANAGER, Role.OWNER]

# Written by hand from the issue and the spec's section 3, so that a slip in the policy is seen.
EXPECTED = {
    "devices.device": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "devices.devicegroup": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "config_merge.template": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "config_merge.config": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "config_merge.site": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "config_merge.sitedevice": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "config_merge.job": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "config_merge.configtask": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "config_merge.configrevision": (ALL, NOBODY, NOBODY, NOBODY),
    "config_merge.deleteddevice": (ALL, ALL[1:], NOBODY, NOBODY),
    "devices.fleetsettings": (ALL[2:], NOBODY, ALL[2:], NOBODY),
    "tenancy.organization": (ALL, NOBODY, ALL[3:], NOBODY),
    "tenancy.membership": (ALL[2:], ALL[2:], ALL[2:], ALL[2:]),
    "tenancy.notification": (ALL, NOBODY, ALL[1:], NOBODY),
    "tenancy.auditevent": (ALL[2:], NOBODY, NOBODY, NOBODY),
    "tenancy.webhook": (ALL[2:], ALL[2:], ALL[2:], ALL[2:]),
    "tenancy.webhookdelivery": (ALL[2:], ALL[2:], NOBODY, NOBODY),
    "tenancy.user": (ALL[2:], ALL[2:], ALL[2:], ALL[2:]),
    "tenancy.apikey": (ALL, ALL, ALL, ALL),
    "tenancy.memberkey": (ALL[2:], NOBODY, NOBODY, ALL[2:]),
    "tenancy.membertoken": (ALL[3:], NOBODY, NOBODY, ALL[3:]),
    "devices.fleetsecret": (ALL[2:], ALL[2:], NOBODY, NOBODY),
    # "add" is to append; a read-only key does, too.
    "tracking.trackeddevice": (ALL, ALL, NOBODY, NOBODY),
    "boot.bootconfig": (ALL, ALL[1:], ALL[1:], ALL[1:]),
    "boot.bootversion": (ALL, NOBODY, NOBODY, NOBODY),
    "boot.deletedbootconfig": (ALL, ALL[1:], NOBODY, NOBODY),
    "boot.quota": (ALL, ALL[2:], ALL[2:], ALL[2:]),
    "boot.image": (ALL, ALL[1:], NOBODY, ALL[1:]),
    "boot.imageupload": (ALL[1:], ALL[1:], ALL[1:], ALL[1:]),
    "boot.imagelimits": (ALL, NOBODY, NOBODY, NOBODY),
}


@pytest.mark.parametrize("label", EXPECTED)
def test_every_role_may_exactly_this(label: str) -> None:
    for action, roles in zip(ACTIONS, EXPECTED[label], strict=True):
        assert [role for role in RANK if allows(role, action, label)] == roles
        assert not allows(None, action, label)


def test_every_other_model_is_closed() -> None:
    for model in apps.get_models():
        if model._meta.label_lower not in EXPECTED:
            assert not any(allows(role, action, model) for role in RANK for action in ACTIONS), model


def test_unknown_models_and_actions_are_closed() -> None:
    assert rule_of("no.model") == rule_of("no.other")
    assert not any(allows(role, action, "no.model") for role in RANK for action in ACTIONS)
    assert not allows(Role.OWNER, "reveal", "devices.device")


def test_a_membership_is_one_per_organization_and_can_change(org: Any) -> None:
    ann = factories.user(role=Role.VIEWER, organization=org)
    services.membership_set(user=ann, organization=org, role=Role.OWNER)
    assert [membership.role for membership in Membership.objects.all()] == ["owner"]
    with pytest.raises(ValidationError):
        services.membership_set(user=ann, organization=org, role="king")
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(user=ann, organization=org, role=Role.VIEWER)
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.update(role="king")


def test_reads_start_from_the_users_organizations(org: Any, other: Any) -> None:
    ann, root, nobody = (
        factories.user(role=Role.MANAGER, organization=org),
        factories.superuser(),
        factories.user(),
    )
    factories.user(role=Role.OWNER, organization=other)
    factories.notification(org)
    factories.notification(other)
    for queryset, for_ann, for_root in (
        (organizations_visible_to, 1, 2),
        (memberships_visible_to, 1, 2),
        (notifications_visible_to, 1, 2),
    ):
        assert [queryset(person).count() for person in (ann, root, nobody)] == [for_ann, for_root, 0]
    assert organization_ids_where(ann, "change", "tenancy.membership") == [org.pk]
    assert organization_ids_where(ann, "change", "tenancy.organization") == []


def test_the_inactive_have_no_roles(org: Any) -> None:
    root = factories.superuser()
    ann = factories.user(role=Role.OWNER, organization=org)
    for person in (ann, root):
        person.is_active = False
        assert roles_of(person) == {}
        assert organizations_visible_to(person).count() == 0


def test_djangos_permissions_follow_the_best_role(org: Any, other: Any) -> None:
    ann = factories.user(role=Role.VIEWER, organization=org)
    backend = MembershipBackend()
    assert backend.has_perm(ann, "devices.view_device")
    assert not backend.has_perm(ann, "devices.change_device")
    services.membership_set(user=ann, organization=other, role=Role.OPERATOR)
    del ann._muster_grants
    assert backend.has_perm(ann, "devices.change_device")
    assert not backend.has_perm(ann, "auth.view_group")
    assert not backend.has_perm(ann, "devices.reveal_device")
    assert not backend.has_perm(ann, "nonsense")
    assert backend.has_module_perms(ann, "devices")


def test_provisioning_is_idempotent_but_for_the_token() -> None:
    first = services.provision(
        slug="acme", name="Acme", username="bot", password="long enough words", role="operator"
    )
    second = services.provision(slug="acme", username="bot", role="manager")
    assert first[0] == second[0]
    assert first[1] == second[1]
    for _, user, secret in (first, second):
        holder = services.token_holder(secret or "")
        assert holder is not None
        assert holder[0] == user
    assert Membership.objects.get().role == "manager"
    assert second[1] is not None
    assert second[1].check_password("long enough words")
