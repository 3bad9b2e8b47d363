"""Whose request is it? The client's address behind trusted proxies only."""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# The longest address has 45 characters; the rest is room for "%" and an interface's name.
ADDRESS_LENGTH = 64
HOPS = 32
# Where `controller.wsgi` keeps the path of a request as its server has decoded it, a byte a character.
SENT_PATH = "muster.path"


def trusted_networks(proxies: Sequence[str]) -> tuple[Network, ...]:
    """Parse addresses and CIDR blocks of trusted proxies; raises ValueError for anything else."""
    return tuple(ipaddress.ip_network(proxy, strict=False) for proxy in proxies)


def valid_address(text: str) -> str | None:
    """Return the canonical form of an IP address, or None when `text` is not one.

    The scope of an IPv6 address means something on the machine that wrote it only; it is left out.

    >>> valid_address("10.0.0.1"), valid_address("notanip"), valid_address("FE80::1%eth0")
    ('10.0.0.1', None, 'fe80::1')
    """
    if len(text) > ADDRESS_LENGTH:
        return None
    try:
        return str(ipaddress.ip_address(text.strip())).partition("%")[0]
    except ValueError:
        return None


def is_trusted(peer: str | None, trusted: Sequence[Network]) -> bool:
    """Tell whether `peer` is one of our proxies, whose X-Forwarded-For is worth reading.

    >>> is_trusted("127.0.0.1", trusted_networks(["127.0.0.0/8"])), is_trusted(None, ())
    (True, False)
    """
    address = valid_address(peer) if peer else None
    return address is not None and any(ipaddress.ip_address(address) in network for network in trusted)


def client_address(peer: str | None, forwarded_for: str, trusted: Sequence[Network]) -> str | None:
    """Return the address of the client as far as it can be trusted.

    `peer` is the socket's other end, `forwarded_for` the X-Forwarded-For header. Walking from the right,
    the first address that is not one of our proxies is the client's; nothing left of it is believed, and
    nothing left of the last HOPS addresses is looked at.

    >>> client_address("127.0.0.1", "1.2.3.4, 10.0.0.9", trusted_networks(["127.0.0.1", "10.0.0.0/8"]))
    '1.2.3.4'
    >>> client_address("9.9.9.9", "1.2.3.4", trusted_networks(["127.0.0.1"]))
    '9.9.9.9'
    """
    current = valid_address(peer) if peer else None
    for hop in reversed([part for part in forwarded_for.rsplit(",", HOPS) if part.strip()]):
        if not is_trusted(current, trusted):
            return current
        claimed = valid_address(hop)
        if claimed is None:
            return current
        current = claimed
    return current


def source_of(address: str | None) -> str:
    """Return who may be behind an address: itself, or of IPv6 the /64 that one customer has all of; empty for none.

    >>> source_of("192.0.2.1"), source_of("::ffff:192.0.2.1"), source_of("2001:db8:1:2:3::4"), source_of(None)
    ('192.0.2.1', '192.0.2.1', '2001:db8:1:2::/64', '')
    """
    valid = valid_address(address) if address else None
    if valid is None:
        return ""
    parsed = ipaddress.ip_address(valid)
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return str(getattr(parsed, "ipv4_mapped", None) or parsed)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
