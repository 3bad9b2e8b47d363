"""Who names an image: each device once, what is in force before what can be brought back, and nobody else's."""

import base64
import io
from typing import Any

import pytest

from boot.images import services
from boot.images.queries import Space
from boot.images.uses import uses_visible_to
from boot.models_images import Image
from boot.services import boot_config_delete, boot_config_set
from core.errors import Conflict
from tenancy.models import ApiKey, Organization, Role
from tests import factories

pytestmark = pytest.mark.django_db
PATH = "v1/rootfs.sqsh"


def image_of(space: Space, path: str = PATH) -> Image:
    return services.image_store(space, path, io.BytesIO(path.encode()))


def names(key: ApiKey, device: str, url: str = f"http://x/images/own/{PATH}", **document: Any) -> Any:
    document = document or {"rootfs": {"url": url}}
    return boot_config_set(api_key_id=key.pk, device=device, document=document)


def shown(organization: Organization, image: Image) -> list[tuple[str, int, bool, bool]]:
    viewer = factories.user(role=Role.VIEWER, organization=organization)
    return [
        (use.device, use.number, use.in_force, use.config is not None)
        for use in uses_visible_to(viewer, image)
    ]


def test_what_is_in_force_comes_before_what_can_be_brought_back(space: Space, key: ApiKey) -> None:
    image, org = image_of(space), key.organization
    assert shown(org, image) == []
    names(key, "gone")
    boot_config_delete(api_key_id=key.pk, device="gone")
    names(key, "b")
    names(key, "b", usercode="", bootcode=base64.b64encode(b"curl x/images/own/v1/rootfs.sqsh").decode())
    names(key, "changed")
    names(key, "changed", config={"a": 1}, rootfs={"url": f"http://x/images/{key.key_id}/{PATH}"})
    names(key, "changed", config={})
    names(key, "a", rootfs={"url": "http://elsewhere/x", "md5sum": image.file.md5})
    names(key, "other", url="http://x/images/own/v2/rootfs.sqsh")
    assert shown(org, image) == [
        ("a", 1, True, True),
        ("b", 2, True, True),
        ("changed", 2, False, True),
        ("gone", 1, False, False),
    ]


def test_another_key_names_an_image_by_its_space_alone(space: Space, key: ApiKey) -> None:
    image, org = image_of(space), key.organization
    second, _ = factories.api_key(factories.user(role=Role.OPERATOR, organization=org), org)
    names(second, "own-of-another")
    names(second, "named", url=f"http://x/images/{key.key_id}/{PATH}")
    assert [device for device, *_ in shown(org, image)] == ["named"]


def test_nobody_sees_who_else_uses_a_global_image(key: ApiKey) -> None:
    image = image_of(Space(None, None))
    foreign = factories.organization()
    other, _ = factories.api_key(factories.user(role=Role.OPERATOR, organization=foreign), foreign)
    names(other, "theirs", url=f"http://x/images/global/{PATH}")
    assert shown(key.organization, image) == []
    names(key, "ours", url=f"http://x/images/global/{PATH}")
    assert [device for device, *_ in shown(key.organization, image)] == ["ours"]
    assert [device for device, *_ in shown(foreign, image)] == ["theirs"]
    everywhere = uses_visible_to(factories.superuser(), image)
    assert [use.device for use in everywhere] == ["ours", "theirs"]


def test_who_may_not_delete_an_image_is_told_which_version_names_it(space: Space, key: ApiKey) -> None:
    image = image_of(space)
    names(key, "pi")
    names(key, "pi", config={"a": 1})
    with pytest.raises(
        Conflict, match=r"^Version 1 of the boot configuration of pi, which can be brought back"
    ):
        services.image_delete(image)
    names(key, "zero")
    with pytest.raises(Conflict, match=r"^The boot configuration of zero names this image"):
        services.image_delete(image)


def test_looking_takes_two_queries(space: Space, key: ApiKey, django_assert_num_queries: Any) -> None:
    image, root = image_of(space), factories.superuser()
    for number in range(5):
        names(key, f"pi-{number}")
    with django_assert_num_queries(2):
        assert len(list(uses_visible_to(root, image))) == 5
