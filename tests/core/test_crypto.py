"""Encryption at rest: ciphertext in the columns, a ring of keys, rotation."""

import io
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command
from django.db import connection

from config_merge.models import Config, ConfigRevision
from config_merge.services.configs import managed_device_create
from core.crypto import decrypt, encrypt, equal_tokens
from core.fields import EncryptedJSONField, EncryptedTextField
from devices.models import Device, FleetSettings
from tenancy.services import organization_create

pytestmark = pytest.mark.django_db
SECRET = "correct horse battery staple"


@pytest.fixture
def device() -> Device:
    """A device whose configuration holds a secret."""
    organization = organization_create(slug="acme")
    return managed_device_create(
        organization=organization, name="ap1", mac_address="00:11:22:33:44:55", key="device-key",
        config={
            "context": {"wifi_key": SECRET},
            "config": {"files": [{"path": "/secret", "mode": "0600", "contents": "{{ wifi_key }}"}]},
        },
    )  # fmt: skip


def raw() -> list[Any]:
    """Return every value of the tables that hold secrets, as the database has it."""
    values: list[Any] = []
    for model in (Device, FleetSettings, Config, ConfigRevision):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {model._meta.db_table}")
            values += [bytes(v) if isinstance(v, memoryview) else v for row in cursor.fetchall() for v in row]
    return values


def test_no_secret_stands_in_a_column(device: Device) -> None:
    shared = FleetSettings.objects.get().shared_secret
    archive = bytes(ConfigRevision.objects.get().artefact)
    for value in raw():
        text = value if isinstance(value, bytes) else str(value).encode()
        assert SECRET.encode() not in text
        assert b"device-key" not in text
        assert shared.encode() not in text
        assert archive not in text


def test_empty_values_stay_empty(device: Device) -> None:
    Config.objects.update(config={}, context={})
    with connection.cursor() as cursor:
        cursor.execute("SELECT config, context FROM config_merge_config")
        assert cursor.fetchone() == ("", "")
    assert Config.objects.get().context == {}


def test_rotation_moves_everything_under_the_first_key(device: Device, settings: Any) -> None:
    old, new = settings.MUSTER_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
    settings.MUSTER_ENCRYPTION_KEYS = [new, old]
    assert Config.objects.get().context == {"wifi_key": SECRET}
    out = io.StringIO()
    call_command("rotate_encryption", stdout=out)
    settings.MUSTER_ENCRYPTION_KEYS = [new]
    assert Config.objects.get().context == {"wifi_key": SECRET}
    assert Device.objects.get().key == "device-key"
    assert ConfigRevision.objects.get().checksum == Config.objects.get().checksum
    assert "config_merge.Config" in out.getvalue()
    settings.MUSTER_ENCRYPTION_KEYS = [old]
    with pytest.raises(ImproperlyConfigured, match="MUSTER_ENCRYPTION_KEYS"):
        Device.objects.get()


def test_a_wrong_ring_refuses_to_rotate(device: Device, settings: Any) -> None:
    settings.MUSTER_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ImproperlyConfigured):
        call_command("rotate_encryption", stdout=io.StringIO())


@pytest.mark.parametrize("value", [[1], "text", 3, {"n": float("nan")}, {"n": float("inf")}])
def test_only_json_objects_are_accepted(value: Any) -> None:
    with pytest.raises(ValidationError):
        EncryptedJSONField().clean(value, None)


def test_text_is_bounded() -> None:
    assert EncryptedTextField(max_length=3).clean("abc", None) == "abc"
    with pytest.raises(ValidationError):
        EncryptedTextField(max_length=3).clean("abcd", None)


def test_equal_texts_of_one_block_share_a_token() -> None:
    with equal_tokens():
        first, second, other = encrypt(b"a"), encrypt(b"a"), encrypt(b"b")
    assert first == second != other
    assert decrypt(first) == b"a" and decrypt(other) == b"b"
    assert encrypt(b"a") not in (first, encrypt(b"a"))
