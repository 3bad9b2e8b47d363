"""What a device may be called and which addresses and keys are well formed (OpenWISP spec, sections 2.1 and 2.2)."""

from django.core.validators import RegexValidator

_LABEL = r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)"
MAC_PATTERN = r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|([0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}"

validate_mac_address = RegexValidator(
    rf"^(?:{MAC_PATTERN})\Z", "Must be a valid mac address.", code="invalid"
)
validate_device_name = RegexValidator(
    rf"^(?:{_LABEL}(?:\.{_LABEL})*|{MAC_PATTERN})\Z",
    "Must be either a valid hostname or mac address.",
    code="invalid",
)
validate_key = RegexValidator(
    r"^[^\s/.]+\Z", "This value must not contain spaces, dots or slashes.", code="invalid"
)


def same_mac(left: str, right: str) -> bool:
    """Tell whether two texts are the same MAC address, whatever separators and case they use.

    >>> same_mac("00:11:22:aa:44:55", "00-11-22-AA-44-55")
    True
    """
    return left.replace(":", "").replace("-", "").lower() == right.replace(":", "").replace("-", "").lower()
