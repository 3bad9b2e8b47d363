"""Secrets at rest: ciphertext in the column, a ring of keys, and a way from an old key to a new one."""

import io
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command
from django.db import connection

from config_merge.models import Config, ConfigRevision
from core.fields import EncryptedMixin
from devices.models import Device, FleetSettings
from tests import factories

pytestmark = pytest.mark.django_db


def raw_columns() -> list[tuple[str, Any]]:
    """Return every value of every encrypted column as the database holds it."""
    found = []
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedMixin):
                with connection.cursor() as cursor:
                    cursor.execute(f'SELECT "{field.column}" FROM "{model._meta.db_table}"')
                    found += [(f"{model._meta.label}.{field.name}", row[0]) for row in cursor.fetchall()]
    return found


@pytest.fixture
def device(org: Any) -> Device:
    template = factories.template(
        org, config=factories.interface("secret-if"), default_values={"psk": "secret-value"}
    )
    group = factories.group(org, context={"psk": "secret-value"})
    factories.fleet_of(org, context={"psk": "secret-value"}, shared_secret="secret-shared")
    return factories.device(
        org,
        group=group,
        key="secret-key",
        config={
            "templates": [template],
            "context": {"psk": "secret-value"},
            "config": {"secret-section": {}},
        },
    )


def as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value or b"")


def test_no_plain_text_reaches_a_column(device: Device) -> None:
    columns = raw_columns()
    assert {name.rsplit(".", 1)[1] for name, value in columns if value} == {
        "key", "shared_secret", "context", "config", "default_values", "artefact", "inputs",
    }  # fmt: skip
    for name, value in columns:
        assert b"secret" not in as_bytes(value), name
        assert not value or as_bytes(value).startswith(b"gAAAA"), name


def test_what_was_stored_is_read_back(device: Device) -> None:
    assert Device.objects.get().key == "secret-key"
    assert FleetSettings.objects.get().shared_secret == "secret-shared"
    assert Config.objects.get().context == {"psk": "secret-value"}
    assert ConfigRevision.objects.get().artefact.startswith(b"\x1f\x8b")


def test_empty_values_stay_empty(org: Any) -> None:
    factories.device(org, config={"backend": "netjsonconfig.OpenWisp"})
    stored = dict(raw_columns())
    assert stored["config_merge.Config.config"] == stored["config_merge.Config.context"] == ""
    assert Config.objects.get().config == {}


def test_a_new_first_key_takes_over(device: Device, settings: Any) -> None:
    old, new = settings.MUSTER_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    before = raw_columns()
    settings.MUSTER_ENCRYPTION_KEYS = [new, old]
    assert Device.objects.get().key == "secret-key"
    output = io.StringIO()
    call_command("rotate_encryption", stdout=output)
    assert f"{sum(1 for _, value in before if value)} values" in output.getvalue()
    assert not {as_bytes(v) for _, v in before if v} & {as_bytes(v) for _, v in raw_columns()}
    settings.MUSTER_ENCRYPTION_KEYS = [new]
    assert Device.objects.get().key == "secret-key"
    assert Config.objects.get().context == {"psk": "secret-value"}
    assert ConfigRevision.objects.get().artefact.startswith(b"\x1f\x8b")


def test_a_ring_without_the_key_says_so_and_nothing_secret(device: Device, settings: Any) -> None:
    settings.MUSTER_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ImproperlyConfigured, match="MUSTER_ENCRYPTION_KEYS") as caught:
        Device.objects.get()
    assert "secret" not in str(caught.value).replace("stored secret", "")
    with pytest.raises(ImproperlyConfigured, match="MUSTER_ENCRYPTION_KEYS"):
        call_command("rotate_encryption", stdout=io.StringIO())


@pytest.mark.parametrize("value", [[1], "text", 1, {"a": float("nan")}, {"a": "\ud800"}])
def test_only_json_objects_are_stored(org: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        factories.group(org, context=value)
