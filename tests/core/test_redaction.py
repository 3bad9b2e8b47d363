"""Secrets inside configurations: what is shown of them, and what an edited copy brings back."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from core.redaction import is_mark, is_secret_name, mark_of, redacted, redacted_text, restored

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
TREE: dict[str, Any] = {
    "interfaces": [
        {"name": "wlan0", "wireless": {"ssid": "x", "encryption": {"protocol": "wpa2", "key": "hunter22"}}},
        {"name": "wlan1", "wireless": {"ssid": "y", "encryption": {"protocol": "wpa2", "key": "{{ psk }}"}}},
    ],
    "files": [{"path": "/etc/x", "contents": f"a\n{PEM}\nb"}],
    "keys": ["one-secret", "two-secret"],
    "pin": 1234,
}


def test_secrets_are_marks_and_everything_else_stays() -> None:
    shown = redacted(TREE)
    assert shown["interfaces"][0]["wireless"]["encryption"] == {
        "protocol": "wpa2",
        "key": mark_of("hunter22"),
    }
    assert shown["interfaces"][1] == TREE["interfaces"][1], "a variable names its secret elsewhere"
    assert "PRIVATE" not in shown["files"][0]["contents"]
    assert all(is_mark(value) for value in (*shown["keys"], shown["pin"]))


def test_what_was_shown_comes_back_whole() -> None:
    assert restored(redacted(TREE), stored=TREE) == TREE


def test_a_reordered_copy_comes_back_reordered() -> None:
    shown = redacted(TREE)
    shown["interfaces"].reverse()
    assert restored(shown, stored=TREE)["interfaces"] == TREE["interfaces"][::-1]


@pytest.mark.parametrize(
    "tree",
    [
        {"general": {"hostname": mark_of("hunter22")}},
        {"general": {"description": f"it is {mark_of('hunter22')}"}},
        {"files": [{"contents": mark_of("hunter22")}]},
        {"key": mark_of("never stored")},
    ],
)
def test_a_secret_cannot_be_moved_to_where_it_would_be_shown(tree: Any) -> None:
    with pytest.raises(ValidationError):
        restored(tree, stored=TREE)


def test_rendered_text_hides_settings_keys_and_known_secrets() -> None:
    text = "config wifi-iface\n\toption ssid 'x'\n\toption key 'hunter22'\n+\toption password \"pw-1\"\n"
    text += f"{PEM}\nnote abcd-secret\n"
    shown = redacted_text(text, secrets=frozenset({"abcd-secret"}))
    for secret in ("hunter22", "pw-1", "PRIVATE", "abcd-secret"):
        assert secret not in shown
    assert "option ssid 'x'" in shown and mark_of("hunter22") in shown and mark_of("pw-1") in shown


@pytest.mark.parametrize(
    "name", ["wpa_key", "PSK", "admin-password", "privateKey", "auth_token", "sae_password"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["public_key", "pubkey", "ssid", "keyboard", "key_length", "token_type", "passthrough", "name"]
)
def test_names_that_only_sound_like_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_marks_are_not_marked_again() -> None:
    assert redacted(redacted(TREE)) == redacted(TREE)
    text = redacted_text("\toption key 'hunter22'\n")
    assert redacted_text(text) == text
