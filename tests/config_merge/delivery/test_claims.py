"""Which of the due tasks go out."""

from datetime import timedelta

import pytest

from config_merge.delivery import claims
from config_merge.delivery.states import State
from config_merge.models import ConfigTask, Site
from core.clock import now
from tests.config_merge.delivery.conftest import SERVER, open_links, placed

pytestmark = pytest.mark.django_db


def test_devices_that_take_no_configurations_over_their_link_keep_nobody_waiting(site: Site) -> None:
    unable, able = placed(site, 2)
    ConfigTask.objects.filter(device=unable.device).update(due_at=now() - timedelta(minutes=2))
    ConfigTask.objects.filter(device=able.device).update(due_at=now() - timedelta(minutes=1))
    open_links([unable], capabilities=("config.read",))
    open_links([able])
    assert claims.claimed(SERVER, 1) == []
    assert [push.device_id for push in claims.claimed(SERVER, 1)] == [able.device_id]
    waiting = ConfigTask.objects.get(device=unable.device)
    assert (waiting.state, waiting.attempt) == (State.PENDING, 0)
    assert waiting.due_at > now() + timedelta(seconds=50)
