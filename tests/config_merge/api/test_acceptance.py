"""What the OpenWISP spec's lists F and G ask beyond one resource's own tests, and defects of 5.1 that stay mended."""

import hashlib
import io
import tarfile
from typing import Any

import pytest

from config_merge.models import Template
from config_merge.services import recompute
from tests import factories
from tests.config_merge.api.conftest import Api


def templates_of(api: Api, device: Any) -> list[str]:
    found: list[str] = api.get(f"device/{device.pk}/").json()["config"]["templates"]
    return found


def test_a_patch_makes_one_revision_when_something_changes_and_none_when_nothing_does(
    operator: Api, org: Any
) -> None:
    """List F, 63."""
    template = factories.template(org, config=factories.interface("eth5"))
    device = factories.configured(org)
    path = f"device/{device.pk}/"

    def revisions() -> int:
        count: int = operator.get(f"{path}revisions/").json()["count"]
        return count

    before = revisions()
    change = {"config": {"templates": [str(template.pk)], "context": {"a": "1"}}, "name": "other", "os": "x"}
    assert operator.patch(path, change).status_code == 200
    assert revisions() == before + 1
    assert operator.patch(path, change).status_code == 200
    assert operator.patch(path, {"notes": "hello"}).status_code == 200
    assert revisions() == before + 1


def test_a_template_of_the_group_that_somebody_removed_stays_removed(operator: Api, org: Any) -> None:
    """List G, 74."""
    first, second = factories.template(org), factories.template(org, config=factories.interface("eth1"))
    group = factories.group(org, templates=[first])
    device = factories.configured(org, group=group)
    assert templates_of(operator, device) == [str(first.pk)]
    operator.patch(f"device/{device.pk}/", {"config": {"templates": []}})
    operator.patch(f"group/{group.pk}/", {"context": {"a": "1"}, "description": "x"})
    assert templates_of(operator, device) == []
    operator.patch(f"group/{group.pk}/", {"templates": [str(first.pk), str(second.pk)]})
    assert templates_of(operator, device) == [str(second.pk)]


def test_a_put_moves_a_template_into_an_organization(root: Api, operator: Api, org: Any) -> None:
    """List G, 68."""
    template = factories.template(name="base")
    path, sent = f"template/{template.pk}/", {
        "name": "base", "organization": str(org.pk), "backend": "netjsonconfig.OpenWrt",
        "config": factories.interface(),
    }  # fmt: skip
    assert operator.put(path, sent).status_code == 403
    assert root.put(path, sent).json()["organization"] == str(org.pk)
    assert operator.patch(path, {"notes": "now ours"}).status_code == 200


@pytest.mark.parametrize("required", ["put", "patch"])
def test_a_template_that_becomes_required_becomes_default_too(operator: Api, org: Any, required: str) -> None:
    """Defect P3: also when it is changed, and devices get it."""
    template, device = factories.template(org), factories.configured(org)
    sent = {"required": True, "default": False}
    if required == "put":
        sent |= {
            "name": template.name, "organization": str(org.pk), "backend": template.backend,
            "config": template.config,
        }  # type: ignore[dict-item] # fmt: skip
    answer = getattr(operator, required)(f"template/{template.pk}/", sent)
    assert (answer.status_code, answer.json()["required"], answer.json()["default"]) == (200, True, True)
    assert templates_of(operator, device) == [str(template.pk)]


@pytest.mark.parametrize("written", ["02:aa:bb:cc:dd:ee", "02-aa-bb-cc-dd-ee"])
def test_a_mac_address_is_stored_upper_case_however_it_comes(operator: Api, org: Any, written: str) -> None:
    """Defect P3."""
    sent = {"name": "ap1", "organization": str(org.pk), "mac_address": written}
    made = operator.post("device/", sent).json()
    assert made["mac_address"] == written.upper()
    changed = operator.patch(f"device/{made['id']}/", {"mac_address": written.replace("ee", "ef")})
    assert changed.json()["mac_address"] == written.upper().replace("EE", "EF")


def test_text_beyond_ascii_arrives_whole(operator: Api, org: Any) -> None:
    """Defect P8: the original counts letters where bytes are meant."""
    files = [{"path": "/etc/motd", "mode": "0644", "contents": "héllo wörld é ✓\n"}]
    device = factories.device(org, config={"config": {"files": files}})
    answer = operator.get(f"device/{device.pk}/configuration/")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        member = archive.extractfile("etc/motd")
        assert member is not None
        assert member.read().decode() == "héllo wörld é ✓\n"
    assert hashlib.md5(answer.content).hexdigest() == factories.config_of(device).checksum


def test_a_generic_template_never_issues_certificates(operator: Api, org: Any) -> None:
    """Spec 2.4: `auto_cert` may be sent, and is false for generic templates."""
    sent = {
        "name": "t", "organization": str(org.pk), "backend": "netjsonconfig.OpenWrt",
        "config": factories.interface(), "auto_cert": True,
    }  # fmt: skip
    made = operator.post("template/", sent)
    assert (made.status_code, made.json()["auto_cert"]) == (201, False)
    path = f"template/{made.json()['id']}/"
    assert operator.patch(path, {"auto_cert": True}).json()["auto_cert"] is False
    answer = operator.patch(path, {"auto_cert": "perhaps"})
    assert (answer.status_code, list(answer.json())) == (400, ["auto_cert"])


def test_a_form_without_auto_cert_leaves_it_to_the_model(operator: Api, org: Any) -> None:
    sent = {
        "name": "t", "organization": str(org.pk), "backend": "netjsonconfig.OpenWrt",
        "config": '{"general": {"timezone": "UTC"}}',
    }  # fmt: skip
    assert operator.post("template/", sent, format="multipart").status_code == 201
    stored = Template.objects.get(name="t")
    # Only a VPN template can hold a true one, and there is no server to name yet.
    Template.objects.filter(pk=stored.pk).update(type=Template.Type.VPN, auto_cert=True)
    assert operator.get(f"template/{stored.pk}/").json()["auto_cert"] is True


def test_forced_deletion_takes_one_exact_word(operator: Api, org: Any) -> None:
    device = factories.configured(org)
    for value in ("True", "1", "yes", "TRUE", ""):
        assert operator.delete(f"device/{device.pk}/?force={value}").status_code == 403
    assert operator.delete(f"device/{device.pk}/?force=true").status_code == 204


def test_an_order_of_templates_sent_in_a_form_is_kept(operator: Api, org: Any) -> None:
    made = [factories.template(org, config=factories.interface(f"eth{number}")) for number in range(3)]
    device = factories.configured(org)
    wanted = [str(template.pk) for template in (made[2], made[0], made[1])]
    answer = operator.patch(f"device/{device.pk}/", {"config.templates": wanted}, format="multipart")
    assert answer.status_code == 200, answer.json()
    assert templates_of(operator, device) == wanted
    recompute.drain()
    assert operator.get(f"device/{device.pk}/").json()["config"]["config"] == factories.interface()
