"""Asks the machine what it is: name, MAC, model, system, boot, and the address of an interface.

Invariant: reads only; a fact the machine does not tell is an empty string.
"""

import fcntl
import os
import platform
import secrets
import socket
import struct
import time
from pathlib import Path

from muster_agent.deadline import Moment

LONGEST = 64
SIOCGIFADDR = 0x8915
NET = Path("/sys/class/net")
_NO_MAC = "00:00:00:00:00:00"
_UNKNOWN_BOOT = secrets.token_hex(16)


def mac_address(interface: str = "") -> str:
    """The MAC of `interface`, or of the first real one by name; upper case, as OpenWrt prints it."""
    names = [interface] if interface else sorted(path.name for path in NET.glob("*") if path.name != "lo")
    for name in names:
        mac = _text(NET / name / "address")
        if len(mac) == len(_NO_MAC) and mac != _NO_MAC:
            return mac.upper()
    return ""


def interface_address(interface: str) -> str:
    """The first IPv4 address of `interface`, else its first global IPv6 one, else ""."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            request = struct.pack("256s", interface.encode()[:15])
            return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)[20:24])
        except OSError:
            return _ipv6_address(interface)


def _ipv6_address(interface: str) -> str:
    for line in _text(Path("/proc/net/if_inet6")).splitlines():
        digits, _, _, scope, _, name = line.split()
        if name == interface and scope == "00":
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
    return ""


def hostname() -> str:
    """The kernel's host name without its domain."""
    return platform.node().partition(".")[0]


def model() -> str:
    """The board's name as OpenWrt, the device tree or the firmware tells it; at most 64 characters."""
    places = ("/tmp/sysinfo/model", "/proc/device-tree/model", "/sys/class/dmi/id/product_name")  # noqa: S108
    return next((text for text in (_text(Path(place)) for place in places) if text), "")[:LONGEST]


def os_name() -> str:
    """The distribution's description; at most 64 characters."""
    for line in _text(Path("/etc/os-release")).splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip("\"'")[:LONGEST]
    return f"{platform.system()} {platform.release()}".strip()[:LONGEST]


def system() -> str:
    """The system on chip, or else the machine type; at most 64 characters."""
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("system type", "Hardware"):
            return value.strip()[:LONGEST]
    return platform.machine()[:LONGEST]


def boot_id() -> str:
    """Differs after every boot of the machine."""
    return _text(Path("/proc/sys/kernel/random/boot_id"))


def moment() -> Moment:
    """Now. Where the kernel tells no boot, every run of the agent counts as one."""
    return Moment(boot=boot_id() or _UNKNOWN_BOOT, seconds=time.clock_gettime(time.CLOCK_BOOTTIME))


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def memory_used() -> float | None:
    """The share of memory in use, from 0 to 1; None where the kernel does not tell."""
    values = {}
    for line in _text(Path("/proc/meminfo")).splitlines():
        name, _, value = line.partition(":")
        values[name] = value.split()[0] if value.split() else ""
    total, available = values.get("MemTotal", ""), values.get("MemAvailable", "")
    if not (total.isdigit() and available.isdigit() and int(total)):
        return None
    return round(1 - int(available) / int(total), 3)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip("\x00\n ")
    except OSError:
        return ""
