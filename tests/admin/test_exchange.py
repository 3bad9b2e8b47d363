"""Import, export, deleted devices and clones in the admin."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from config_merge.exchange import imports, work
from config_merge.exchange.models import DeletedDevice, DeviceImport
from config_merge.models import Template
from config_merge.services import configs
from devices.models import Device
from tests import factories
from tests.admin.conftest import page

pytestmark = pytest.mark.django_db
HEADER = "name,mac_address,organization,notes\n"


def upload(client: Client, text: str, name: str = "devices.csv") -> Any:
    return client.post(page("devices_device_import"), {"file": SimpleUploadedFile(name, text.encode())})


def lines(count: int, notes: str = "") -> str:
    return HEADER + "".join(f"ap-{n},{factories.mac(500 + n)},org-a,{notes}\n" for n in range(count))


def test_a_table_is_looked_at_and_then_imported(operator: Client, org: Any) -> None:
    factories.device(org, name="ap-0", mac_address=factories.mac(500), notes="old <b>")
    answer = upload(operator, lines(2, "new"))
    shown = operator.get(answer["Location"]).content.decode()
    assert "<del>old &lt;b&gt;</del>" in shown
    assert "<ins>new</ins>" in shown
    assert "Import 2 devices" in shown
    assert Device.objects.count() == 1
    done = operator.post(answer["Location"], {"confirm": "yes"}, follow=True).content.decode()
    assert "It was imported" in done
    assert set(org.devices.values_list("name", "notes")) == {("ap-0", "new"), ("ap-1", "new")}
    row = DeviceImport.objects.get()
    assert (row.state, bytes(row.content)) == ("applied", b"")
    operator.post(answer["Location"], {"confirm": "yes"})
    assert Device.objects.count() == 2


def test_errors_are_shown_and_cannot_be_confirmed(operator: Client, org: Any) -> None:
    answer = upload(operator, lines(1) + "bad name!,00:11,org-a,\n")
    shown = operator.get(answer["Location"]).content.decode()
    assert "1 row with errors" in shown
    assert "Must be a valid mac address." in shown
    assert 'name="confirm"' not in shown
    operator.post(answer["Location"], {"confirm": "yes"})
    assert not Device.objects.exists()
    only = operator.get(answer["Location"], {"action": "error"}).content.decode()
    assert "<td>ap-0</td>" in shown
    assert "<td>ap-0</td>" not in only


def test_what_changed_since_the_check_is_found_when_it_is_imported(operator: Client, org: Any) -> None:
    answer = upload(operator, lines(2))
    factories.device(org, name="AP-1")
    shown = operator.post(answer["Location"], {"confirm": "yes"}, follow=True).content.decode()
    assert "nothing was imported" in shown
    assert Device.objects.count() == 1


def test_an_upload_is_its_persons_own_and_expires(operator: Client, staff: Any, org: Any) -> None:
    place = upload(operator, lines(1))["Location"]
    for stranger in (staff("operator"), staff(None)):
        assert stranger.get(place).status_code == 302
        assert stranger.post(place, {"confirm": "yes"}).status_code == 302
        assert stranger.get(place + "progress/").status_code == 404
    assert not Device.objects.exists()
    DeviceImport.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert operator.get(place).status_code == 302
    work.imports_sweep()
    assert not DeviceImport.objects.exists()


def test_a_large_table_is_worked_on_in_the_background_once(
    operator: Client, org: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "AT_ONCE", 2)
    place = upload(operator, lines(5))["Location"]
    row = DeviceImport.objects.get()
    assert row.state == "checking"
    assert "data-import-progress" in operator.get(place).content.decode()
    assert operator.get(place + "progress/").json() == {
        "state": "checking",
        "busy": True,
        "done": 0,
        "total": 5,
    }
    assert work.imports_sweep() == 1
    operator.post(place, {"confirm": "yes"})
    for _ in range(3):
        work.import_work(row.pk)
    row.refresh_from_db()
    assert row.state == "applied"
    assert Device.objects.count() == 5
    assert operator.get(place + "progress/").json()["busy"] is False


def test_a_worker_that_was_overtaken_imports_nothing(operator: Client, org: Any) -> None:
    upload(operator, lines(2))
    row = DeviceImport.objects.get()
    DeviceImport.objects.update(state="applying")
    row.refresh_from_db()
    DeviceImport.objects.update(state="applied")
    work._apply(row)
    assert not Device.objects.exists()


def test_what_is_no_table_is_told_on_the_page(operator: Client, org: Any) -> None:
    for text in ("", "name\n", "name,name\nx,x\n"):
        assert "mu-note--danger" in upload(operator, text).content.decode()
    assert operator.post(page("devices_device_import")).status_code == 200
    viewer = factories.user(role="viewer", organization=org, is_staff=True)
    client = Client()
    client.force_login(viewer)
    assert client.get(page("devices_device_import")).status_code == 403


def test_an_export_honours_filters_search_and_columns(operator: Client, org: Any) -> None:
    factories.configured(org, name="wanted-1")
    factories.device(org, name="wanted-2")
    factories.device(org, name="other")
    shown = operator.get(
        page("devices_device_export"), {"q": "wanted", "status": "modified"}
    ).content.decode()
    assert "Export 1 device<" in shown
    query = {"q": "wanted", "status": "modified", "file_format": "csv", "columns": ["name", "model"]}
    answer = operator.get(page("devices_device_export"), query)
    assert b"".join(answer.streaming_content) == b"name,model\r\nwanted-1,\r\n"
    chosen = Device.objects.get(name="other")
    data = {"action": "export_selected", "_selected_action": [str(chosen.pk)], "index": "0"}
    answer = operator.post(page("devices_device_changelist"), data)
    assert b"other" in (content := b"".join(answer.streaming_content))
    assert b"wanted" not in content


def test_a_deleted_device_is_restored(operator: Client, org: Any) -> None:
    device = factories.configured(org, name="gone-ap")
    configs.device_delete(device, force=True)
    kept = DeletedDevice.objects.get()
    assert "gone-ap" in operator.get(page("config_merge_deleteddevice_changelist")).content.decode()
    place = page("config_merge_deleteddevice_restore", kept.pk)
    assert place in operator.get(page("config_merge_deleteddevice_change", kept.pk)).content.decode()
    assert operator.get(place).status_code == 200
    answer = operator.post(place)
    assert answer["Location"] == page("devices_device_change", device.pk) or Device.objects.count() == 1
    assert Device.objects.get().name == "gone-ap"


def test_templates_are_cloned_from_the_list(operator: Client, org: Any, other: Any) -> None:
    template = factories.template(org, name="wifi", default=True)
    data = {"action": "clone_selected", "_selected_action": [str(template.pk)], "index": "0"}
    place = page("config_merge_template_changelist")
    asked = operator.post(place, data).content.decode()
    assert "Alpha" in asked and "Beta" not in asked
    operator.post(place, {**data, "confirmed": "1", "organization": str(other.pk)})
    assert Template.objects.count() == 1
    operator.post(place, {**data, "confirmed": "1", "organization": str(org.pk)})
    copy = Template.objects.get(name="wifi (Clone)")
    assert (copy.default, copy.organization) == (False, org)
