"""Report-status and update-info: list C of the peer's acceptance list (spec section 4)."""

import json

import pytest

from config_merge.models import Config, Status
from config_merge.services import configs, templates
from tenancy.models import Notification
from tenancy.services import organization_update
from tests.config_merge.agent.conftest import Agent

HEADER = "x-openwisp-controller"


@pytest.fixture
def polled(registered: Agent) -> Agent:
    """An agent that has seen its checksum."""
    assert registered.get("checksum").status == 200
    return registered


def test_applied_is_recorded_and_said_back(polled: Agent) -> None:
    answered = polled.post("report-status", status="applied")
    assert (answered.status, answered.headers["content-type"], answered.headers[HEADER]) == (
        200,
        "text/plain",
        "true",
    )
    assert answered.body == b"report-result: success\ncurrent-status: applied\n"
    assert (polled.config.status, polled.config.applied_checksum) == (Status.APPLIED, polled.config.checksum)


def test_an_error_has_a_reason_and_people_are_told(polled: Agent) -> None:
    assert polled.post("report-status", status="error").lines[1] == "current-status: error"
    assert polled.config.error_reason
    polled.post("report-status", status="error", error_reason="uci: Parse error")
    assert (polled.config.status, polled.config.error_reason) == (Status.ERROR, "uci: Parse error")
    assert Notification.objects.filter(kind="config_error", target_id=polled.device.pk).count() == 2


def test_a_long_reason_is_cut_and_marked(polled: Agent) -> None:
    polled.post("report-status", status="error", error_reason="é" * 2000)
    reason = polled.config.error_reason
    assert len(reason) == 1024
    assert reason.endswith("\n[truncated]")


def test_applied_after_an_error_clears_the_reason(polled: Agent) -> None:
    polled.post("report-status", status="error", error_reason="x")
    polled.post("report-status", status="applied")
    assert (polled.config.status, polled.config.error_reason) == (Status.APPLIED, "")


def test_parameters_and_methods_are_checked(polled: Agent) -> None:
    path = f"/controller/report-status/{polled.id}/"
    no_key = polled.send("POST", path, {"status": "applied"})
    wrong_key = polled.send("POST", path, {"status": "applied", "key": "no"})
    no_status, method = polled.post("report-status"), polled.get("report-status")
    assert (no_key.status, no_key.body) == (400, b'error: missing required parameter "key"\n')
    assert wrong_key.status == 403
    assert (no_status.status, no_status.body) == (400, b'error: missing required parameter "status"\n')
    assert (method.status, method.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("status", ["modified", "deactivating", "deactivated", "APPLIED", "x", "applied "])
def test_a_device_cannot_say_anything_else(polled: Agent, status: str) -> None:
    answered = polled.post("report-status", status=status)
    assert (answered.status, answered.body) == (403, b"error: wrong status\n")
    assert polled.config.status == Status.MODIFIED


@pytest.mark.parametrize("status", ["applied", "error"])
def test_any_report_while_deactivating_means_deactivated(polled: Agent, status: str) -> None:
    templates.template_create(
        organization=polled.organization, name="tz", default=True, config={"general": {"timezone": "UTC"}}
    )
    polled.get("checksum", management_ip="10.0.0.7")
    configs.device_deactivate(polled.device)
    assert (polled.config.status, polled.device.management_ip) == (Status.DEACTIVATING, "10.0.0.7")
    answered = polled.post("report-status", status=status)
    assert answered.lines[1] == "current-status: deactivated"
    assert (polled.config.status, polled.device.management_ip) == (Status.DEACTIVATED, None)
    assert polled.post("report-status", status="applied").status == 404


def test_a_device_may_name_the_checksum_it_applied(polled: Agent) -> None:
    current = polled.config.checksum
    answered = polled.post("report-status", status="applied", checksum="0" * 32)
    assert (answered.status, polled.config.status) == (200, Status.MODIFIED)
    polled.post("report-status", status="applied", checksum=current)
    assert polled.config.status == Status.APPLIED


def test_update_info_takes_three_fields(polled: Agent) -> None:
    before = polled.device
    answered = polled.post(
        "update-info", model=" TP ", os="OpenWrt 23.05", system="MT", name="no", notes="no"
    )
    assert (answered.status, answered.body, answered.headers[HEADER]) == (
        200,
        b"update-info: success",
        "true",
    )
    device = polled.device
    assert (device.model, device.os, device.system) == ("TP", "OpenWrt 23.05", "MT")
    assert (device.name, device.notes) == (before.name, "")
    polled.post("update-info", model="", os="   ")
    assert (polled.device.model, polled.device.os) == ("TP", "OpenWrt 23.05")


def test_update_info_explains_what_is_too_long(polled: Agent) -> None:
    answered = polled.post("update-info", model="m" * 65, os="o" * 129)
    assert (answered.status, answered.headers["content-type"]) == (400, "text/plain")
    said = json.loads(answered.body)
    assert sorted(said) == ["model", "os"]
    assert answered.body.decode() == json.dumps(said, indent=4, sort_keys=True)
    assert polled.device.model == ""


def test_update_info_checks_key_method_and_organization(polled: Agent) -> None:
    path = f"/controller/update-info/{polled.id}/"
    assert polled.send("POST", path, {"model": "x"}).status == 400
    assert polled.send("POST", path, {"model": "x", "key": "no"}).status == 403
    assert polled.get("update-info").status == 405
    organization_update(polled.organization, is_active=False)
    assert polled.post("update-info", model="x").status == 404


def test_update_info_is_refused_while_deactivating_and_unknown_after(polled: Agent) -> None:
    configs.managed_device_update(polled.device, config={"config": {"general": {"timezone": "UTC"}}})
    configs.device_deactivate(polled.device)
    answered = polled.post("update-info", model="x")
    assert (answered.status, answered.body) == (403, b"error: device deactivated")
    polled.post("report-status", status="applied")
    assert polled.post("update-info", model="x").status == 404
    assert polled.device.model == ""


def test_a_change_of_system_computes_the_configuration_anew(polled: Agent) -> None:
    bridge = {"interfaces": [{"type": "bridge", "name": "br0", "bridge_members": ["eth0"]}]}
    configs.managed_device_update(polled.device, config={"config": bridge})
    before = polled.config.checksum
    polled.post("update-info", os="OpenWrt 19.07.1 r10911")
    assert polled.config.checksum != before
    assert not Config.objects.get().is_stale
