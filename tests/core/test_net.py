"""Addresses as strangers write them."""

import time

import pytest

from core.net import client_address, is_trusted, trusted_networks, valid_address

PROXIES = trusted_networks(["127.0.0.1", "10.0.0.0/8"])


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("fe80::1%eth0", "fe80::1"),
        (" FE80:0::1%wlan0-mesh ", "fe80::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1%eth0", None),
        ("fe80::1%" + "e" * 100, None),
        (" " * 100 + "10.0.0.1", None),
        ("", None),
    ],
)
def test_an_address_is_canonical_without_scope_and_never_long(written: str, address: str | None) -> None:
    assert valid_address(written) == address


def test_only_proxies_of_ours_are_trusted() -> None:
    assert is_trusted("10.1.2.3", PROXIES)
    assert not is_trusted("11.1.2.3", PROXIES)
    assert not is_trusted("nonsense", PROXIES)
    assert not is_trusted(None, PROXIES)


def test_the_client_is_the_last_one_that_is_no_proxy() -> None:
    assert client_address("127.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.9", PROXIES) == "1.2.3.4"
    assert client_address("9.9.9.9", "1.2.3.4", PROXIES) == "9.9.9.9"
    assert client_address("127.0.0.1", "nonsense, 10.0.0.9", PROXIES) == "10.0.0.9"


def test_a_chain_without_end_is_not_followed() -> None:
    endless = "1.2.3.4," + "10.0.0.9," * 200_000
    started = time.process_time()
    assert client_address("127.0.0.1", endless, PROXIES) == "10.0.0.9"
    assert time.process_time() - started < 2
