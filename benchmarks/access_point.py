"""A typical access point: two radios, four interfaces (bridged LAN, WAN, two SSIDs), in three templates.

The same shape as in design/performance.md, so that render times compare.
"""

from collections.abc import Sequence
from typing import Any

BACKEND = "netjsonconfig.OpenWrt"
OS = "OpenWrt 23.05.3 r23809-234f1a2efa"


def base() -> dict[str, Any]:
    """System, time, LEDs, a banner."""
    return {
        "general": {
            "timezone": "Europe/Rome",
            "maintainer": "network operations",
            "description": "{{ site }}",
        },
        "ntp": {"enabled": True, "server": ["0.openwrt.pool.ntp.org", "1.openwrt.pool.ntp.org"]},
        "led": [
            {
                "name": "USB1",
                "sysfs": "tp-link:green:usb1",
                "trigger": "usbdev",
                "dev": "1-1.1",
                "interval": 50,
            }
        ],
        "files": [{"path": "/etc/banner", "mode": "0644", "contents": "{{ site }}: authorized use only\n"}],
    }


def radios() -> dict[str, Any]:
    """Two radios."""
    return {
        "radios": [
            {"name": "radio0", "phy": "phy0", "driver": "mac80211", "protocol": "802.11n", "channel": 11,
             "channel_width": 20, "tx_power": 8, "country": "IT"},
            {"name": "radio1", "phy": "phy1", "driver": "mac80211", "protocol": "802.11ac", "channel": 36,
             "channel_width": 80, "tx_power": 10, "country": "IT"},
        ]
    }  # fmt: skip


def interfaces() -> dict[str, Any]:
    """A bridged LAN, a WAN and one encrypted SSID on each radio."""
    return {
        "interfaces": [
            {"name": "eth0", "type": "ethernet"},
            {"name": "eth1", "type": "ethernet", "addresses": [{"proto": "dhcp", "family": "ipv4"}]},
            {"name": "lan", "type": "bridge", "bridge_members": ["eth0", "wlan0"],
             "addresses": [{"proto": "static", "family": "ipv4", "address": "{{ lan_ip }}", "mask": 24}]},
            *(ssid(f"wlan{radio}", f"radio{radio}") for radio in (0, 1)),
        ],
        "dns_servers": ["10.11.12.13", "8.8.8.8"],
    }  # fmt: skip


def ssid(name: str, radio: str) -> dict[str, Any]:
    """One wireless interface."""
    return {
        "name": name, "type": "wireless",
        "wireless": {
            "radio": radio, "mode": "access_point", "ssid": "{{ site }} wireless", "isolate": True,
            "encryption": {"protocol": "wpa2_personal", "cipher": "ccmp", "key": "{{ wifi_key }}"},
        },
    }  # fmt: skip


def templates() -> Sequence[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, configuration and default values of each template, in merge order."""
    return (
        ("base", base(), {"site": "headquarters"}),
        ("radios", radios(), {}),
        ("interfaces", interfaces(), {"lan_ip": "192.168.1.1", "wifi_key": "correct horse battery"}),
    )
