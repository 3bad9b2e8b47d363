"""What people call a device of a site, and the host name that makes.

The cloud dialect's devices have names with blanks, and hosts have none (`Mock Device-9`, `mock-device-9`: seeds/003). A
device here has one name, which is a host name. How it was written is kept beside it (`SiteDevice.label`), and holds for
as long as the device is called so.
"""

import re

from django.core.exceptions import ValidationError

from config_merge.models import SiteDevice
from devices.validators import validate_device_name

_OTHERS = re.compile(r"[^a-z0-9]+")


def host_name(name: str) -> str:
    """Return the host name a device gets that people call `name`; itself where it is one, or nothing of it could be.

    >>> host_name("Mock Device-9"), host_name("AP-9.attic"), host_name("?")
    ('mock-device-9', 'AP-9.attic', '?')
    """
    try:
        validate_device_name(name)
    except ValidationError:
        return _OTHERS.sub("-", name.lower()).strip("-") or name
    return name


def label_of(name: str) -> str:
    """Return what has to be kept of how a name is written: nothing where it is a host name.

    >>> label_of("Mock Device-9"), label_of("mock-device-9")
    ('Mock Device-9', '')
    """
    return name if host_name(name) != name else ""


def name_of(place: SiteDevice) -> str:
    """Return what people call a device of a site; `place.device` is loaded."""
    label = place.label
    return label if label and host_name(label) == place.device.name else place.device.name
