"""Whether a device is online: one answer for lists, figures, pages and the cloud's dialect."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from config_merge.admin.badges import seen_badge
from config_merge.figures import standing
from core.clock import now
from devices.models import Device, Link, LinkServer
from devices.queries import ONLINE_WITHIN, with_presence
from tests import factories

pytestmark = pytest.mark.django_db
LATELY, LONG_AGO = timedelta(minutes=1), ONLINE_WITHIN + timedelta(minutes=1)


def link(device: Device) -> Link:
    """Let a device hold a link."""
    at = now()
    server = LinkServer.objects.create(started_at=at, beat_at=at)
    return Link.objects.create(device=device, server=server, epoch=uuid.uuid4(), key_digest="", opened_at=at)


@pytest.mark.parametrize(
    ("seen", "unlinked", "linked", "expected"),
    [
        (None, None, False, False),
        (LATELY, None, False, True),
        (LONG_AGO, None, False, False),
        (LONG_AGO, None, True, True),
        (None, None, True, True),
        (LATELY, LATELY, False, False),
        (LATELY, LATELY, True, True),
        (LATELY, LATELY + timedelta(seconds=1), False, True),
        (LONG_AGO, LONG_AGO + timedelta(hours=1), False, False),
    ],
)
def test_a_link_or_a_late_poll_after_the_last_link_is_online(
    seen: timedelta | None, unlinked: timedelta | None, linked: bool, expected: bool
) -> None:
    device = factories.device()
    at = now()
    Device.objects.update(
        last_seen=at - seen if seen else None, unlinked_at=at - unlinked if unlinked else None
    )
    if linked:
        link(device)
    found = with_presence(Device.objects.all()).get()
    assert (found.is_online, found.is_linked) == (expected, linked)  # type: ignore[attr-defined]
    assert ("mu-dot--on" in seen_badge(found)) is expected
    counted = standing(None, at=now())
    assert counted.online == expected
    assert sum(counted.seen) == 1, "every device is in one part"


def test_presence_is_read_with_the_rows(django_assert_num_queries: Any) -> None:
    org = factories.organization()
    for _ in range(3):
        link(factories.device(org))
    with django_assert_num_queries(1):
        assert [seen_badge(each).count("linked") for each in with_presence(Device.objects.all())] == [1, 1, 1]
