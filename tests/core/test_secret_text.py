"""Secrets in text: every way to write them, and that no text takes long."""

import base64
import html
import json
import re
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netjsonconfig import OpenVpn, OpenWrt, Wireguard

from controller.logs import without_query
from core.log_redaction import LONGEST, without_secrets
from core.redaction import (
    is_mark,
    is_secret_name,
    mark_of,
    redacted,
    redacted_text,
    restored,
    secrets_in,
    variables_of_secrets,
)

SECRET = "Zq7hunter22"
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{'MHcCAQEE' * 8}\n{'qUc3' * 4}\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"export WIFI_PASSWORD={SECRET}",
        f"uci set wireless.@wifi-iface[0].key='{SECRET}'",
        f"uci set wireless.wlan0.key={SECRET}",
        f'PASSWORD="{SECRET}" cmd',
        f'{{"password": "{SECRET}", "a": 1}}',
        f'{{"a": 1, "keys": ["x", "{SECRET}"]}}',
        f'[{{"password": {{"id": "1", "deep": {{"id": "2"}}, "value": "{SECRET}"}}}}]',
        f'{{\n "password": {{\n  "value": "{SECRET}"\n }}\n}}',
        f'"{{\\"password\\": \\"{SECRET}\\"}}"',
        f"cmd --password {SECRET} --verbose",
        f"cmd --password={SECRET} x",
        f'network={{ ssid="x" psk="{SECRET}" }}',
        f"password: {SECRET}",
        f"{{password: two {SECRET}, a: 1}}",
        f"password: |\n  {SECRET}\nnext: 1",
        f"<user><password>{SECRET}</password></user>",
        f'<user password="{SECRET}"/>',
        f"curl -H 'X-Api-Key: {SECRET}' 'http://h/?token={SECRET}&x=1'",
        f"\toption key '{SECRET}",
        f"\toption key '{SECRET}' # why",
        f"+\toption key 'a\n+{SECRET}'\n",
        f"password: it's {SECRET}",
        f"password=a\"b c\"{SECRET}'d e'",
        f"password='a {SECRET}",
    ],
    ids=range(24),
)
def test_what_follows_a_secret_name_is_hidden_wherever_it_stands(text: str) -> None:
    shown = redacted_text(text)
    assert SECRET not in shown and "redacted:" in shown
    assert redacted_text(shown) == shown, "twice is the same as once"


@pytest.mark.parametrize(
    "text",
    [
        "config key 'x'\n\toption ssid 'key'\n",
        "\toption persist_key '1'\n\toption key_mgmt 'WPA-PSK'\n\toption wep_key_index '1'\n",
        '{"ssid": "x", "key_length": 2048, "password": "", "token": null}',
        "http://keys.example.org/key: here",
        "the key of the house, --secret-file a.txt",
        "password:",
    ],
    ids=range(6),
)
def test_what_is_harmless_stays(text: str) -> None:
    assert redacted_text(text) == text


def test_what_stands_beside_a_secret_stays() -> None:
    shown = redacted_text(f'a=1 psk="{SECRET}", b=2; {{"pin": 1234, "c": 3}}')
    assert shown == f'a=1 psk="{mark_of(SECRET)}", b=2; {{"pin": {mark_of("1234")}, "c": 3}}'


# What an ordinary line was always shown as.
_LINE = re.compile(
    r"^(?P<head>[ \t+\- ]*(?:(?:option|list)[ \t]+)?(?P<quote>['\"]?)(?P<name>[\w.\-]+)(?P=quote)"
    r"[ \t]*(?:[=:][ \t]*|[ \t]+))(?P<value>'(?:[^']|'\\'')*'|\"[^\"]*\"|[^\n'\"]+?)(?P<tail>,?[ \t\r]*)$"
)


def _line_as_ever(line: str) -> str:
    found = _LINE.match(line)
    if not found or not is_secret_name(found["name"]):
        return line
    value = found["value"]
    mark = value[0] if value[0] in "'\"" else ""
    plain = value[1:-1].replace("'\\''", "'") if mark else value
    return f"{found['head']}{mark}{mark_of(plain)}{mark}{found['tail']}" if plain else line


_NAMES = st.sampled_from(
    ["ssid", "key", "psk2", "wpa_passphrase", "pin", "public_key", "key_mgmt", "mode", "secret"]
)
_VALUES = st.sampled_from(["x", "it'\\''s", "a b", "1", "pass phrase", "Ab1+/=", "10.0.0.1/24", ""])
_SETTINGS = st.one_of(
    st.builds("{}option {} '{}'".format, st.sampled_from(["\t", "+\t", "-\t", ""]), _NAMES, _VALUES),
    st.builds("\tlist {} '{}'{}".format, _NAMES, _VALUES, st.sampled_from(["", " ", "\r"])),
    st.builds("{} = {}".format, _NAMES, st.sampled_from(["x", "a b", "1", "Ab1+/="])),
    st.builds("{}: {}".format, _NAMES, st.sampled_from(["x", "a b", "1", "Ab1+/="])),
    st.builds(
        '    "{}": "{}"{}'.format, _NAMES, st.sampled_from(["x", "a b", ""]), st.sampled_from(["", ","])
    ),
    st.sampled_from(["config wifi-iface 'x'", "", "@@ -1,2 +1 @@", "# a comment", "\t}"]),
)


@given(st.lists(_SETTINGS, max_size=6))
@settings(deadline=None)
def test_ordinary_text_is_shown_as_ever(lines: list[str]) -> None:
    assert redacted_text("\n".join(lines)) == "\n".join(map(_line_as_ever, lines))


@pytest.mark.parametrize("secret", ['it\'s <my> "p&ss" wörd', "plain-secret", "back\\slash/ed"])
@pytest.mark.parametrize(
    "written",
    [
        str,
        lambda secret: secret.replace("'", "'\\''"),
        lambda secret: json.dumps(secret)[1:-1],
        lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
        lambda secret: quote(secret, safe=""),
        html.escape,
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    ],
    ids=range(8),
)
def test_a_known_secret_is_hidden_however_it_is_written(secret: str, written: Callable[[str], str]) -> None:
    assert redacted_text(f"a {written(secret)} b", secrets={secret}) == f"a {mark_of(secret)} b"


def test_a_known_secret_is_hidden_inside_longer_base64() -> None:
    for user in ("u", "us", "use"):
        text = base64.b64encode(f"{user}:{SECRET}:rest".encode()).decode()
        assert mark_of(SECRET) in redacted_text(f"see {text}", secrets={SECRET})


def test_a_known_secret_of_several_lines_is_hidden_in_a_diff() -> None:
    secret = "first-line-of-it\nsecond-line-of-it\n3"
    for start in ("", "+", "-", " "):
        text = "\n".join(f"{start}{line}" for line in ["a", *secret.split("\n"), "b"])
        assert redacted_text(text, secrets={secret}) == f"{start}a\n{start}{mark_of(secret)}\n{start}b"
    assert "second" not in redacted_text("@@\n+second-line-of-it\n", secrets={secret})


def test_the_longest_secret_wins_and_marks_are_left_alone() -> None:
    mark = mark_of("x")
    secrets = {"abcd", "abcdefgh", "redacted", mark[9:13], "efgh"}
    assert (
        redacted_text(f"abcdefgh {mark} abcd", secrets=secrets)
        == f"{mark_of('abcdefgh')} {mark} {mark_of('abcd')}"
    )


def test_short_secrets_are_hidden_as_the_value_of_a_setting_only() -> None:
    shown = redacted_text("\toption note 'abc'\nset x.note='abc' abc\nabc\n", secrets={"abc", "1"})
    assert shown == f"\toption note '{mark_of('abc')}'\nset x.note='{mark_of('abc')}' abc\nabc\n"
    assert mark_of("7") in redacted_text("\toption pin '7'")


def test_hundreds_of_secrets_take_no_longer_than_one_would_think() -> None:
    secrets = {f"secret-{number:04}-{'x' * (number % 60)}" for number in range(500)}
    text = "\n".join(sorted(secrets)) * 8
    started = time.process_time()
    assert "secret-" not in redacted_text(text, secrets=secrets)
    assert time.process_time() - started < 5


def test_private_keys_end_where_they_end() -> None:
    assert redacted_text(f"a {PEM} b") == f"a {mark_of(PEM)} b"
    cut = PEM[: PEM.index("-----END")].rstrip("\n")
    assert redacted_text(f"{cut}\nand text") == f"{mark_of(cut)}\nand text"
    assert redacted_text(f"{cut}\n{PEM}\nz").endswith("\nz")
    tree = {"files": [{"contents": cut}]}
    assert restored(redacted(tree), stored=tree) == tree


OBJECTS = {
    "password": {"value": "hunter22", "user": "ann", "id": 7},
    "keys": [{"data": "one", "name": "n", "key_type": "rsa", "bits": 2048}, {"of": [{"deep": ["two", 3]}]}],
    "encryption": {"protocol": "wpa2", "key": "three"},
    "token": {"0": "four"},
}


def test_objects_under_secret_names_are_secret_but_for_their_ordinary_names() -> None:
    shown = redacted(OBJECTS)
    assert shown == {
        "password": {"value": mark_of("hunter22"), "user": "ann", "id": 7},
        "keys": [
            {"data": mark_of("one"), "name": "n", "key_type": "rsa", "bits": 2048},
            {"of": [{"deep": [mark_of("two"), mark_of(3)]}]},
        ],
        "encryption": {"protocol": "wpa2", "key": mark_of("three")},
        "token": {"0": mark_of("four")},
    }
    assert restored(shown, stored=OBJECTS) == OBJECTS
    assert secrets_in(OBJECTS) == ["hunter22", "one", "two", 3, "three", "four"]
    assert redacted(OBJECTS["password"], secret=True)["user"] == mark_of("ann")


def test_the_variables_inside_them_carry_secrets_too() -> None:
    tree = {
        "keys": [{"data": "{{ a }}", "name": "{{ b }}"}],
        "password": {"value": "x{{ c }}"},
        "d": "{{ d }}",
    }
    assert variables_of_secrets(tree) == {"a", "c"}


# Texts that made expressions look at every part of them again and again.
HOSTILE = [
    "'", '"', "a ", "x", " ", "key ", "key '", "key='", 'key="\\"', "{key: [", "<key", "password=a'b\\",
    "-----BEGIN A PRIVATE KEY-----\n", "-----END ", "Key (key", "Failing row contains (", "params: [",
    "://a:", "Bearer ", "cookie'", "option key '''\\''", "\\\"key\\\":\\\"", "{{ ", "a?", "[key: |\n",
    "redacted:", "key\\",
]  # fmt: skip
FUNCTIONS: dict[str, Callable[[str], object]] = {
    "redacted_text": redacted_text,
    "with short secrets": lambda text: redacted_text(text, secrets=frozenset({"ab", "a'b", "long-secret"})),
    "redacted": lambda text: redacted({"key": text, "files": [{"contents": text}], text: {"x": text}}),
    "restored": lambda text: restored({"a": f"{text}\n{mark_of(PEM)}"}, stored={"a": PEM}),
    "variables_of_secrets": lambda text: variables_of_secrets({"key": text}),
    "without_secrets": without_secrets,
    "without_query": without_query,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("start", ["", "password: '"])
def test_no_text_takes_long(name: str, start: str) -> None:
    function = FUNCTIONS[name]
    for piece in HOSTILE:
        text = start + piece * (200_000 // len(piece))
        began = time.process_time()
        function(text)
        assert time.process_time() - began < 6, piece


def test_long_log_texts_are_cut_and_no_half_of_a_secret_is_left() -> None:
    shown = without_secrets("word " * 10_000)
    assert len(shown) < LONGEST + 40 and shown.endswith("more characters)")
    for before in range(60):
        text = f"{'x ' * (LONGEST // 2 - 30)}{'y' * before} postgres://u:{SECRET}@db password='{SECRET} {SECRET}' z"
        assert SECRET[:6] not in without_secrets(text + " " + "z " * 50)
    assert without_secrets("a" * LONGEST) == "a" * LONGEST
    row = f"Failing row contains (1, {SECRET}, {'x ' * LONGEST})."
    assert SECRET not in without_secrets(row)


# Every name in netjsonconfig's schemas that is taken for a secret's.
HIDDEN_BY_NAME = {
    "acct_secret", "dae_secret", "key", "password", "pin", "preshared_key", "priv_key", "priv_key_pwd",
    "private_key", "secret", "wps_pin",
}  # fmt: skip


def test_of_the_names_in_the_schemas_only_those_of_secrets_are_hidden() -> None:
    names: set[str] = set()

    def read(node: object) -> None:
        if isinstance(node, dict):
            properties = node.get("properties")
            names.update(properties if isinstance(properties, dict) else ())
            for value in node.values():
                read(value)
        elif isinstance(node, list):
            for value in node:
                read(value)

    for backend in (OpenWrt, OpenVpn, Wireguard):
        read(backend.schema)
    assert {"encryption", "ssid", "auth_user_pass", "persist_key", "public_key"} <= names
    assert {name for name in names if is_secret_name(name)} == HIDDEN_BY_NAME
    assert not any(is_mark(value) for value in redacted(dict.fromkeys(names - HIDDEN_BY_NAME, "x")).values())
