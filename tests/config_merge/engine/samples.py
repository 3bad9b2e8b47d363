"""Configurations and Hypothesis strategies that the engine's tests share.

Invariant: together the trees of `CORPUS` run every converter of the library.
"""

import copy
import gzip
import io
import json
import tarfile
from typing import Any

from hypothesis import strategies as st
from netjsonconfig import OpenWisp, OpenWrt

OPENWRT = "netjsonconfig.OpenWrt"
OPENWISP = "netjsonconfig.OpenWisp"

ACCESS_POINT: dict[str, Any] = {
    "general": {"hostname": "ap-1", "timezone": "Europe/Rome", "description": "roof"},
    "ntp": {
        "enabled": True,
        "enable_server": False,
        "server": ["0.openwrt.pool.ntp.org", "1.openwrt.pool.ntp.org"],
    },
    "dns_servers": ["8.8.8.8", "1.1.1.1"],
    "dns_search": ["lan.example.org"],
    "radios": [
        {
            "name": "radio0",
            "phy": "phy0",
            "driver": "mac80211",
            "protocol": "802.11n",
            "channel": 6,
            "channel_width": 20,
            "tx_power": 10,
            "country": "IT",
            "band": "2g",
        },
        {
            "name": "radio1",
            "phy": "phy1",
            "driver": "mac80211",
            "protocol": "802.11ac",
            "channel": 36,
            "channel_width": 80,
            "country": "IT",
        },
    ],
    "interfaces": [
        {"name": "eth0", "type": "ethernet", "mtu": 1500, "addresses": [{"proto": "dhcp", "family": "ipv4"}]},
        {
            "name": "br-lan",
            "type": "bridge",
            "network": "lan",
            "bridge_members": ["eth1", "wlan0", "wlan1"],
            "stp": True,
            "addresses": [{"proto": "static", "family": "ipv4", "address": "192.168.1.1", "mask": 24}],
        },
        {
            "name": "wlan0",
            "type": "wireless",
            "wireless": {
                "radio": "radio0",
                "mode": "access_point",
                "ssid": "house",
                "encryption": {"protocol": "wpa2_personal", "key": "a long secret", "cipher": "ccmp"},
            },
        },
        {
            "name": "wlan1",
            "type": "wireless",
            "wireless": {
                "radio": "radio1",
                "mode": "access_point",
                "ssid": "house5",
                "ack_distance": 300,
                "encryption": {
                    "protocol": "wpa2_enterprise",
                    "key": "radius secret",
                    "server": "192.168.0.1",
                    "port": 1812,
                    "acct_server": "192.168.0.2",
                    "acct_server_port": 1813,
                },
            },
        },
    ],
    "routes": [{"device": "lan", "destination": "10.0.0.0/8", "next": "192.168.1.254", "cost": 5}],
    "files": [{"path": "/etc/banner", "mode": "0644", "contents": "hello\n" * 10}],
    "dropbear": [
        {"config_name": "dropbear", "config_value": "dropbear_1", "PasswordAuth": "off", "Port": 22}
    ],
}

CORPUS: tuple[dict[str, Any], ...] = (
    {},
    {"general": {"hostname": "ap1", "timezone": "UTC"}},
    {"general": {"hostname": "ap1", "ula_prefix": "fd8e:f40a:6701::/48", "globals_id": "ula"}},
    ACCESS_POINT,
    {"interfaces": [{"name": "eth0", "type": "ethernet", "mtu": 1300}]},
    {
        "general": {"hostname": "sw", "id": "sys"},
        "ntp": {"id": "clock", "server": ["pool.ntp.org"]},
        "led": [
            {
                "name": "USB1",
                "sysfs": "tp-link:green:usb1",
                "trigger": "usbdev",
                "dev": "1-1.1",
                "interval": 50,
            },
            {"name": "WLAN", "sysfs": "wlan", "trigger": "phy0tpt", "default": False, "id": "led_1"},
        ],
        "switch": [
            {
                "name": "switch0",
                "reset": True,
                "enable_vlan": True,
                "vlan": [
                    {"device": "switch0", "vlan": 1, "ports": "0t 2 3 4 5"},
                    {"device": "switch0", "vlan": 2, "ports": "0t 1", "vid": 9},
                ],
            }
        ],
        "ip_rules": [
            {
                "in": "eth0",
                "src": "192.168.1.0/24",
                "dest": "192.168.2.0/24",
                "tos": 2,
                "action": "blackhole",
            },
            {"src": "fd00::/64", "lookup": "main", "name": "six"},
        ],
        "routes": [
            {"device": "eth1", "destination": "fd89::1/128", "next": "fd88::1", "cost": 0, "name": "six"},
            {
                "device": "eth1",
                "destination": "192.168.3.1/24",
                "next": "192.168.2.1",
                "cost": 2,
                "onlink": True,
            },
        ],
    },
    {
        "dns_servers": ["10.0.0.1"],
        "interfaces": [
            {
                "name": "lo",
                "type": "loopback",
                "addresses": [{"address": "127.0.0.1", "mask": 8, "proto": "static", "family": "ipv4"}],
            },
            {
                "name": "eth0.5",
                "type": "ethernet",
                "mac": "00:11:22:33:44:55",
                "autostart": False,
                "disabled": True,
                "addresses": [
                    {
                        "address": "10.27.251.1",
                        "mask": 24,
                        "proto": "static",
                        "family": "ipv4",
                        "gateway": "10.27.251.254",
                    },
                    {"address": "fd87::1", "mask": 64, "proto": "static", "family": "ipv6"},
                    {"proto": "dhcp", "family": "ipv6"},
                ],
            },
            {"name": "br-guest", "type": "bridge", "bridge_members": []},
        ],
    },
    {
        "interfaces": [
            {
                "name": "br-vlan",
                "type": "bridge",
                "bridge_members": ["lan1", "lan2"],
                "vlan_filtering": [
                    {
                        "vlan": 1,
                        "ports": [
                            {"ifname": "lan1", "tagging": "t", "primary_vid": True},
                            {"ifname": "lan2", "tagging": "u"},
                        ],
                    },
                    {"vlan": 2, "ports": [{"ifname": "lan1", "tagging": "t", "primary_vid": False}]},
                ],
                "addresses": [],
            },
            {
                "name": "br-vlan.1",
                "type": "ethernet",
                "addresses": [{"proto": "dhcp", "family": "ipv4"}],
            },
        ]
    },
    {
        "interfaces": [
            {"name": "eth0", "type": "8021q", "vid": 1, "ingress_qos_mapping": ["1:2"]},
            {"name": "eth0", "type": "8021q", "vid": 2, "mac": "E8:6A:64:3E:4A:3A"},
            {"name": "br-lan", "type": "8021ad", "vid": 6, "network": "six"},
        ]
    },
    {
        "interfaces": [
            {"name": "eth0", "type": "ethernet", "network": "same"},
            {"name": "eth1", "type": "ethernet", "network": "same", "mtu": 1400},
        ]
    },
    {
        "interfaces": [
            {
                "name": "wg0",
                "type": "wireguard",
                "private_key": "QFdbnuYr7rrF4eONCAs7FhZwP7BXX/jD/jq2LXCpaXI=",
                "port": 51820,
                "mtu": 1420,
                "nohostroute": False,
                "addresses": [{"proto": "static", "family": "ipv4", "address": "10.0.0.5", "mask": 32}],
            },
            {"name": "vxlan1", "type": "vxlan", "vtep": "10.0.0.1", "port": 4789, "vni": 1, "tunlink": "wg0"},
        ],
        "wireguard_peers": [
            {
                "interface": "wg0",
                "public_key": "94a+MnZSdzHCzOy5y2K+0+Xe7lQzaa4v7lEiBZ7elVE=",
                "allowed_ips": ["10.0.0.1/32"],
                "endpoint_host": "wireguard.test.com",
                "endpoint_port": 51820,
                "persistent_keepalive": 60,
                "route_allowed_ips": True,
            },
            {
                "interface": "wg0",
                "public_key": "94a+MnZSdzHCzOy5y2K+0+Xe7lQzaa4v7lEiBZ7elVF=",
                "allowed_ips": ["10.0.0.2/32"],
                "endpoint_host": "",
                "endpoint_port": 51820,
            },
        ],
    },
    {
        "general": {"hostname": "vpn"},
        "openvpn": [
            {
                "name": "client-tap",
                "mode": "p2p",
                "proto": "udp",
                "dev": "tap0",
                "dev_type": "tap",
                "tls_client": True,
                "remote": [
                    {"host": "vpn1.test.com", "port": 1194},
                    {"host": "vpn2", "port": 1195, "proto": "tcp"},
                ],
                "nobind": True,
                "ca": "/etc/x509/ca.pem",
                "cert": "/etc/x509/cert.pem",
                "key": "/etc/x509/key.pem",
                "tls_auth": "-----BEGIN OpenVPN Static key V1-----\nabc\n-----END OpenVPN Static key V1-----",
                "data_ciphers": [{"cipher": "AES-128-GCM", "optional": False}],
                "up": "/etc/up.sh",
                "down": "/etc/down.sh",
                "resolv_retry": "infinite",
                "verb": 3,
            }
        ],
        "zerotier": [
            {
                "name": "global",
                "networks": [{"id": "9536600adf654321", "ifname": "owzt654321"}],
                "secret": "zt-secret",
            }
        ],
        "files": [
            {"path": "/etc/openwisp/zerotier/devicemap", "mode": "0600", "contents": "mine"},
            {"path": "/crontabs/root", "mode": "0644", "contents": "* * * * * true"},
            {"path": "/etc/a", "mode": "755", "contents": "first"},
            {"path": "/etc/a", "mode": "600", "contents": "second"},
        ],
    },
    {
        "network": [{"config_name": "rule", "config_value": "extra", "weight": 1.5}],
        "olsrd2": [
            {
                "config_name": "global",
                "config_value": "global-1",
                "pidfile": "/var/run/o.pid",
                "lockfile": "",
            },
            {"config_name": "log", "info": ["one", "two", 3, True], "on": True, "off": False, "none": None},
            "not a section",
        ],
        "ignored": {"config_name": "x"},
        "system": [{"config_name": "system", "config_value": "system", "log_size": 64}],
        "general": {"hostname": "ap1"},
    },
    {
        "radios": [
            {
                "name": "radio0",
                "phy": "phy0",
                "driver": "ath9k",
                "protocol": "802.11n",
                "channel": 1,
                "channel_width": 20,
            },
            {
                "name": "radio1",
                "phy": "phy1",
                "driver": "mac80211",
                "protocol": "802.11ax",
                "channel": 0,
                "channel_width": 80,
                "band": "6g",
                "htmode": "HE160",
            },
        ],
        "interfaces": [
            {
                "name": "mesh0",
                "type": "wireless",
                "addresses": [{"address": "10.0.0.1", "mask": 8, "proto": "static", "family": "ipv4"}],
                "wireless": {"mode": "802.11s", "radio": "radio0", "mesh_id": "ninux", "network": ["lan"]},
            },
            {
                "name": "sta0",
                "type": "wireless",
                "mac": "00:11:22:33:44:55",
                "wireless": {
                    "mode": "station",
                    "radio": "radio0",
                    "ssid": "mesh",
                    "bssid": "00:11:22:33:44:66",
                    "encryption": {"protocol": "wep_open", "key": "wepkey1"},
                },
            },
            {"name": "ppp0", "type": "dialup", "proto": "pppoe", "username": "u", "password": "p"},
            {"name": "modem0", "type": "modem-manager", "apn": "apn", "pin": "1234", "device": "/sys/usb1"},
        ],
    },
)

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-3, max_value=70000),
    st.sampled_from([0.5, 1.0, -2.25]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="'"), max_size=6),
    st.sampled_from(
        ["lan", "eth0", "br-lan", "bridge", "wireless", "ipv4", "static", "10.0.0.1", "{{ a }}", ""]
    ),
)
JSON = st.recursive(
    st.one_of(_SCALARS, st.text(max_size=6), st.floats(), st.integers()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


class LooseOpenWrt(OpenWrt):
    """The library's back end as it treats configurations stored before a rule existed: unvalidated."""

    def validate(self) -> None:
        """Accepts everything."""


class LooseOpenWisp(OpenWisp):
    """As above, with the one change that `validate` makes to the configuration."""

    __module__ = OpenWisp.__module__  # where the library looks for its templates

    def validate(self) -> None:
        self._sanitize_radios()


def plain(tree: Any) -> Any:
    """A deep copy with sorted keys that shares no object with the original."""
    return json.loads(json.dumps(tree, sort_keys=True))


def untarred(archive: bytes) -> dict[str, bytes]:
    """What unpacking an archive leaves: the last member of a name wins."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


@st.composite
def damaged(draw: st.DrawFn, trees: tuple[dict[str, Any], ...] = CORPUS) -> dict[str, Any]:
    """A tree of the corpus, or two put together, with up to three changes at random places."""
    tree = copy.deepcopy(draw(st.sampled_from(trees)) | draw(st.sampled_from(trees)))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(tree))
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "remove", "again", "move"])):
            case "replace":
                container[key] = draw(_SCALARS)
            case "remove":
                del container[key]
            case "again" if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case _:
                other, other_key = draw(st.sampled_from(places))
                container[key] = copy.deepcopy(other[other_key])
    return tree


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key in value:
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for index in range(len(value)):
            yield value, index
            yield from _places(value[index])
