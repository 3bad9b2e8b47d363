"""docs/webhooks.md: its signature check accepts what Muster sends, its examples have the shape of real messages."""

import json
import re
import time
from typing import Any

import pytest
import yaml

from config_merge.agent.messages import AgentRequest, Operation
from config_merge.agent.registration import register
from config_merge.services import reports
from tenancy.models import WebhookDelivery
from tenancy.webhook_delivery import signature
from tenancy.webhook_models import EVENTS
from tests import factories
from tests.controller.processes import ROOT

PAGE = (ROOT / "docs" / "webhooks.md").read_text()


def test_the_signature_check_accepts_what_is_genuine_and_nothing_else() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    check, body, moment = names["is_genuine"], b'{"a": 1}', int(time.time())
    good = signature("whsec_x", body, at=moment)
    assert check("whsec_x", good, body)
    assert not check("whsec_y", good, body)
    assert not check("whsec_x", good, body + b" ")
    assert not check("whsec_x", signature("whsec_x", body, at=moment - 3600), body)
    for nonsense in ("", "t=1", "t=,v1=", "v1=x,t=x", "=", ",,"):
        assert not check("whsec_x", nonsense, body)


def shape(value: Any) -> Any:
    return {name: shape(below) for name, below in value.items()} if isinstance(value, dict) else type(value)


@pytest.mark.django_db
def test_the_examples_have_the_shape_of_real_messages() -> None:
    org = factories.organization()
    factories.webhook(org)
    fields = {
        "secret": factories.fleet_of(org).shared_secret, "name": "ap-1", "mac_address": factories.mac(),
        "backend": "netjsonconfig.OpenWrt",
    }  # fmt: skip
    assert register(AgentRequest("POST", Operation("register", None), fields, {}, "10.0.0.1")).status == 201
    device = factories.configured(org)
    reports.take(reports.Report(factories.config_of(device).pk, device.pk, "applied"))
    sent = {row.event: json.loads(row.body) for row in WebhookDelivery.objects.all()}
    examples = [
        json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ]
    registered, moved, revised, _finished, _tested = examples
    assert shape(registered) == shape(sent["device.registered"])
    assert shape(moved) == shape(sent["device.status_changed"]["data"])
    assert shape(revised) == shape(sent["revision.created"]["data"])
    assert registered["data"]["device"].keys() == moved["device"].keys() == revised["device"].keys()
    for event in EVENTS:
        assert f"### `{event}`" in PAGE


def test_the_examples_for_prometheus_are_yaml_and_name_metrics_of_the_page() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    assert len(rules) == 5
    assert yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    known = set(re.findall(r"muster_[a-z_]+", (ROOT / "docs/operations.md").read_text()))
    for rule in rules:
        assert set(re.findall(r"muster_[a-z_]+", rule["expr"])) <= known
