"""TLS: an unknown certificate is refused, a given CA is trusted, and --no-verify trusts anything."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from muster_agent.errors import ExitCode
from tests.agent.driving import LINKED, alive, settings_for, turn, wait_for
from tests.agent.fake_controller import FakeController


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 followed by its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[FakeController]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    fake = FakeController(tls=context)
    yield fake
    fake.close()


def test_an_unknown_certificate_is_refused(secure: FakeController, root: Path) -> None:
    assert turn(settings_for(secure.url, root)) == ExitCode.INCOMPLETE
    assert secure.operations() == []


def test_a_given_ca_is_trusted(secure: FakeController, root: Path, certificate: Path) -> None:
    assert turn(settings_for(secure.url, root, ca_file=certificate)) == ExitCode.OK


def test_verification_can_be_switched_off(secure: FakeController, root: Path) -> None:
    assert turn(settings_for(secure.url, root, verify_tls=False)) == ExitCode.OK


@pytest.mark.parametrize("trust", [{"ca_file": True}, {"verify_tls": False}])
def test_the_link_trusts_what_polling_trusts(
    secure: FakeController, root: Path, certificate: Path, tmp_path: Path, trust: dict[str, Any]
) -> None:
    secure.links.enabled = True
    options = {"ca_file": certificate} if "ca_file" in trust else trust
    assert turn(settings_for(secure.url, root, **options)) == ExitCode.OK
    with alive(settings_for(secure.url, root, once=False, timing=LINKED, **options), tmp_path / "log"):
        wait_for(secure.links.up)
    assert secure.links.last.headers["x-device-key"] == secure.device.key


def test_the_link_refuses_an_unknown_certificate(
    secure: FakeController, root: Path, certificate: Path, tmp_path: Path
) -> None:
    secure.links.enabled = True
    turn(settings_for(secure.url, root, ca_file=certificate))
    log = tmp_path / "log"
    with alive(settings_for(secure.url, root, once=False, timing=LINKED), log):
        wait_for(lambda: log.exists() and log.read_text().count("link_down") >= 2)
    assert "CERTIFICATE_VERIFY_FAILED" in log.read_text()
    assert secure.links.opened == []
