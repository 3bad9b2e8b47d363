"""What a site that was never set up is offered to begin with (spec/cattlepi_ignitenet.md B6, `initial`).

Clients take the whole map, change what they want to and send it once.
"""

from typing import Final


def _entry(value: str) -> dict[str, str]:
    return {"value": value, "origin": "site"}


STARTING: Final = {
    key: _entry(value)
    for key, value in {
        "locale/": "locale",
        "locale/code": "US",
        "locale/deviceLang": "auto",
        "locale/timezone": "UTC",
        "ntp/": "ntp",
        "ntp/enable": "1",
        "ntp/server": "pool.ntp.org",
        "network/": "network",
        "network/lan/": "lan",
        "network/lan/enable": "1",
        "network/lan/proto": "dhcp",
        "radio/": "radio",
        "radio/r2/": "r2",
        "radio/r2/enable": "1",
        "radio/r2/channel": "auto",
        "radio/r5/": "r5",
        "radio/r5/enable": "1",
        "radio/r5/channel": "auto",
        "radio/global/": "global",
        "radio/global/bandSteering": "0",
    }.items()
}
# Forms for new entities, by their kind; clients copy one and change what they need.
FORMS: Final = {
    "ssid": {
        "ssid": "", "enable": "1", "broadcastSSID": "1", "encryption": "psk2", "key": "", "network": "lan",
        "preferredRadio": "r2,r5",
    },
    "user": {"name": "", "passwd": "", "shell": "0", "enable": "1"},
    "lan": {"name": "", "enable": "1", "proto": "static", "ipaddr": "", "netmask": "255.255.255.0", "vlan": ""},
}  # fmt: skip
