"""The environment is read in one place, completely, or refused with a sentence."""

import base64
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from controller.arguments import adopt_arguments
from controller.env import Environment, table, unknown_names
from controller.env_values import ROOT, InvalidEnvironment

KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
SECRET = "k7Qw-0pZr2Lx9vNf4tYc1uHs8mBd3gJe6aXiOoWl5kE"
URL = "postgres://muster:pa%20ss@db.example.org:5433/fleet?sslmode=require"
GROWN = {
    "MUSTER_DATABASE_URL": URL,
    "MUSTER_REDIS_URL": "redis://127.0.0.1:6379/3",
    "MUSTER_SECRET_KEY": SECRET,
    "MUSTER_ENCRYPTION_KEYS": KEY,
}


def test_nothing_set_is_the_default_mode() -> None:
    environment = Environment.from_mapping({})
    assert environment.default_mode
    assert environment.data_dir == ROOT / "var"
    assert (environment.host, environment.port) == ("127.0.0.1", 8000)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Environment.from_mapping({"MUSTER_PORT": " ", "MUSTER_REDIS_URL": ""}) == Environment.from_mapping(
        {}
    )


def test_a_full_environment_is_read_into_types() -> None:
    environment = Environment.from_mapping(
        {
            **GROWN,
            "MUSTER_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "MUSTER_TLS": "yes",
            "MUSTER_DATA_DIR": "/srv/m",
        }
    )
    assert not environment.default_mode
    assert environment.database_url is not None
    assert environment.database_url.host == "db.example.org"
    assert environment.database_url.port == 5433
    assert environment.database_url.name == "fleet"
    assert environment.database_url.password == "pa ss"
    assert environment.database_url.options == (("sslmode", "require"),)
    assert [str(network) for network in environment.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert environment.tls is True
    assert environment.data_dir == Path("/srv/m")
    assert environment.encryption_keys == (KEY,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSTER_PORT", "0"),
        ("MUSTER_PORT", "65536"),
        ("MUSTER_PORT", "٨٠"),
        ("MUSTER_PORT", "8e3"),
        ("MUSTER_TLS", "maybe"),
        ("MUSTER_DATABASE_URL", "mysql://h/n"),
        ("MUSTER_DATABASE_URL", "postgres://h"),
        ("MUSTER_DATABASE_URL", "postgres://h:port/n"),
        ("MUSTER_DATABASE_URL", "postgres://[h/n"),
        ("MUSTER_REDIS_URL", "http://h"),
        ("MUSTER_REDIS_URL", "redis://"),
        ("MUSTER_ENCRYPTION_KEYS", "short"),
        ("MUSTER_ENCRYPTION_KEYS", "Schlüssel"),
        ("MUSTER_ENCRYPTION_KEYS", KEY + "," + KEY[:-4]),
        ("MUSTER_TRUSTED_PROXIES", "proxy.example.org"),
        ("MUSTER_CSRF_ORIGINS", "muster.example.org"),
        ("MUSTER_S3_ENDPOINT", "minio:9000"),
        ("MUSTER_LOG_LEVEL", "LOUD"),
        ("MUSTER_LOG_FORMAT", "xml"),
        ("MUSTER_TOKEN_RATE", "often"),
        ("MUSTER_WORKER_THREADS", "-1"),
    ],
)
def test_a_malformed_variable_is_named_in_the_refusal(name: str, value: str) -> None:
    with pytest.raises(InvalidEnvironment, match=f"^{name}: "):
        Environment.from_mapping({name: value})


@pytest.mark.parametrize("lacking", ["MUSTER_SECRET_KEY", "MUSTER_ENCRYPTION_KEYS"])
@pytest.mark.parametrize("url", ["MUSTER_DATABASE_URL", "MUSTER_REDIS_URL"])
def test_outside_the_default_mode_secrets_must_be_given(lacking: str, url: str) -> None:
    given = {
        name: value
        for name, value in GROWN.items()
        if name != lacking and (name == url or not name.endswith("_URL"))
    }
    with pytest.raises(InvalidEnvironment, match=f"{lacking} is missing"):
        Environment.from_mapping(given)


@pytest.mark.parametrize(
    "secret",
    [
        "x" * 31,
        "change-me-" * 5,
        "django-insecure-" + "a1B2c3D4" * 5,
        "secret" * 8,
        "an-example-of-a-long-enough-key-1234",
    ],
)
def test_a_known_or_short_secret_is_refused_outside_the_default_mode(secret: str) -> None:
    with pytest.raises(InvalidEnvironment, match="known default or shorter"):
        Environment.from_mapping({**GROWN, "MUSTER_SECRET_KEY": secret})


def test_an_encryption_key_of_equal_bytes_is_refused_outside_the_default_mode() -> None:
    zeros = base64.urlsafe_b64encode(bytes(32)).decode()
    with pytest.raises(InvalidEnvironment, match="key 2 is a known default"):
        Environment.from_mapping({**GROWN, "MUSTER_ENCRYPTION_KEYS": f"{KEY},{zeros}"})


def test_secrets_stay_out_of_repr_and_refusals() -> None:
    environment = Environment.from_mapping({**GROWN, "MUSTER_ADMIN_PASSWORD": "hush-hush"})
    for secret in (SECRET, KEY, "pa ss", "pa%20ss", "hush-hush"):
        assert secret not in repr(environment)
    with pytest.raises(InvalidEnvironment) as refusal:
        Environment.from_mapping({"MUSTER_ENCRYPTION_KEYS": "hush-hush"})
    assert "hush-hush" not in str(refusal.value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MUSTER_ALLOWED_HOSTS": "a.example, .b.example"}, ("a.example", ".b.example")),
        ({"MUSTER_HOST": "0.0.0.0"}, ("*",)),
        ({"MUSTER_HOST": "0.0.0.0", "MUSTER_ALLOWED_HOSTS": "a.example"}, ("a.example",)),
    ],
)
def test_host_names_follow_what_was_given(variables: dict[str, str], expected: tuple[str, ...]) -> None:
    assert Environment.from_mapping(variables).hosts == expected


def test_any_host_name_is_never_the_default_of_a_grown_installation() -> None:
    hosts = Environment.from_mapping({**GROWN, "MUSTER_HOST": "0.0.0.0"}).hosts
    assert "*" not in hosts
    assert "localhost" in hosts


def test_an_address_listened_on_is_a_host_name_too() -> None:
    assert "192.0.2.7" in Environment.from_mapping({"MUSTER_HOST": "192.0.2.7"}).hosts
    assert "[2001:db8::7]" in Environment.from_mapping({"MUSTER_HOST": "2001:db8::7"}).hosts


def test_options_of_up_reach_the_settings_and_other_commands_keep_theirs() -> None:
    environ = {"MUSTER_PORT": "1"}
    adopt_arguments(environ, arguments=["up", "--port=9001", "--data-dir", "d", "--unknown", "x"])
    assert environ["MUSTER_PORT"] == "9001"
    assert environ["MUSTER_DATA_DIR"] == str(Path("d").absolute())
    adopt_arguments(environ, arguments=["simulate", "--port", "9002"])
    assert environ["MUSTER_PORT"] == "9001"


def test_a_misspelt_variable_is_found() -> None:
    assert unknown_names({"MUSTER_PROT": "1", "MUSTER_PORT": "1", "PATH": "x"}) == ["MUSTER_PROT"]


def test_every_field_has_a_name_and_one_line_of_explanation() -> None:
    for item in fields(Environment):
        assert item.metadata["name"] == f"MUSTER_{item.name.upper()}"
        assert item.metadata["doc"].endswith(".")
        assert "\n" not in item.metadata["doc"]


def test_the_page_shows_the_table_the_program_obeys() -> None:
    page = (ROOT / "docs/environment.md").read_text()
    shown = page.partition("<!-- table -->\n")[2].partition("<!-- /table -->")[0]
    assert shown == table()


def test_the_example_names_only_known_variables_and_refuses_to_start_unfilled() -> None:
    lines = (ROOT / "deploy/env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert unknown_names(example) == []
    with pytest.raises(InvalidEnvironment, match="MUSTER_SECRET_KEY is missing"):
        Environment.from_mapping(example)


Manage = Callable[..., subprocess.CompletedProcess[str]]


def test_a_refused_environment_is_one_line_and_no_traceback(manage: Manage, tmp_path: Path) -> None:
    done = manage("up", MUSTER_DATA_DIR=str(tmp_path), MUSTER_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.startswith("muster: MUSTER_SECRET_KEY is missing")
    assert done.stderr.count("\n") == 1


def test_check_warns_of_a_variable_nothing_reads(manage: Manage, tmp_path: Path) -> None:
    done = manage("check", MUSTER_DATA_DIR=str(tmp_path), MUSTER_REDIS="x")
    assert done.returncode == 0
    assert "MUSTER_REDIS is not a variable Muster knows" in done.stderr


def test_the_environment_command_prints_the_table(manage: Manage, tmp_path: Path) -> None:
    assert manage("environment", MUSTER_DATA_DIR=str(tmp_path)).stdout == table()
