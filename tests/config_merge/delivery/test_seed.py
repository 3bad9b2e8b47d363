"""The sentences of the source document about delivery (seeds/003): "The configuration update process is split …"."""

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client, override_settings

from config_merge.admin.shown import unpacked
from config_merge.delivery.states import State
from config_merge.models import ConfigTask, Site
from config_merge.services import recompute
from controller.env import Environment
from devices.link.registry import registry
from tenancy.models import Role
from tests import factories
from tests.config_merge.delivery.conftest import Line, later
from tests.config_merge.delivery.test_link import made, state

pytestmark = pytest.mark.django_db(transaction=True)


class Api:
    """A client of the public API."""

    def __init__(self, site: Site) -> None:
        user = factories.user(role=Role.OWNER, organization=site.organization)
        self.key = factories.api_key(user, site.organization)[1]

    def ask(self, path: str, body: Any = None) -> Any:
        method = "GET" if body is None else "POST"
        sent = "" if body is None else json.dumps(body)
        answer = Client().generic(
            method, f"/pub/v1/{path}", sent, content_type="application/json", headers={"x-api-key": self.key}
        )
        assert answer.status_code == 200, answer.content
        return answer.json()

    def change(self, path: str, changes: dict[str, Any]) -> Any:
        timestamp = self.ask(f"{path}/config-changes")["timestamp"]
        return self.ask(f"{path}/config-changes", {"timestamp": timestamp, "changes": changes})


async def test_changes_are_posted_a_task_is_created_sent_and_executed(dial: Any) -> None:
    """Config changes are POSTed via API; the task is created, sent to the device, and executed by the device."""
    site, place = await made()
    api = await sync_to_async(Api)(site)
    with override_settings(MUSTER=Environment.from_mapping({"MUSTER_COALESCE_SECONDS": "0"})):
        line: Line = await dial(place.device)
        await line.report(await line.asked())
        device = f"device/{place.number}"
        landing = {"hotspot/landingURL": {"value": "https://b.example", "origin": "site-device"}}
        posted = await sync_to_async(api.change)(device, landing)
        assert posted["unfinishedTaskCount"] == 1
        assert await sync_to_async(state)(2, place) is not None
        asked = await line.asked()
        assert (await sync_to_async(api.ask)(f"{device}/tasks"))[0]["state"] == "sent"
        await line.answer(asked, {"state": "running"})
        await later(lambda: api.ask(f"{device}/tasks")[0]["state"] == "executing")
        await line.report(asked)
        assert (await sync_to_async(api.ask)(f"{device}/tasks"))[0]["state"] == "done"
        read = await sync_to_async(api.ask)(f"{device}/config-changes")
        assert (read["unfinishedTaskCount"], read["serverSideChanged"]) == (0, False)


async def test_what_is_pushed_is_the_merge_of_both_translated_to_uci(dial: Any) -> None:
    """After they're merged together, the final result is translated to UCI and pushed down in a configuration task."""
    site, place = await made()
    api = await sync_to_async(Api)(site)
    changes = {"radio/r5/enable": {"value": "1"}, "radio/r5/channel": {"value": "36"}}
    await sync_to_async(api.change)(f"site/{site.number}", changes)
    own = {"radio/r5/channel": {"value": "44", "origin": "site-device"}}
    await sync_to_async(api.change)(f"device/{place.number}", own)
    await sync_to_async(recompute.drain)()
    line: Line = await dial(place.device)
    registry.look()
    asked = await line.asked()
    files = await sync_to_async(lambda: uci_of(asked["params"]["task"]))()
    assert "option channel '44'" in files and "option enable '1'" in files


def uci_of(task_id: str) -> str:
    revision = ConfigTask.objects.select_related("revision").get(pk=task_id).revision
    return "\n".join(file.contents.decode() for file in unpacked(revision))


async def test_an_override_is_not_affected_by_later_changes_of_the_site(dial: Any) -> None:
    """Future changes to the site-level value will not have an affect on the device's config due to the override."""
    site, place = await made()
    api = await sync_to_async(Api)(site)
    await sync_to_async(api.change)(
        f"site/{site.number}", {"hotspot/landingURL": {"value": "https://a.example"}}
    )
    own = {"hotspot/landingURL": {"value": "https://b.example", "origin": "site-device"}}
    await sync_to_async(api.change)(f"device/{place.number}", own)
    line: Line = await dial(place.device)
    await line.report(await line.asked())
    await sync_to_async(api.change)(
        f"site/{site.number}", {"hotspot/landingURL": {"value": "https://c.example"}}
    )
    await sync_to_async(recompute.drain)()
    registry.look()
    assert await line.is_left_alone(1.3)
    tasks = ConfigTask.objects.filter(device_id=place.device_id)
    assert set(await sync_to_async(list)(tasks.values_list("state", flat=True))) <= {
        State.APPLIED,
        State.SUPERSEDED,
    }
