"""The configuration languages the engine speaks, by the names OpenWISP gives them.

Invariant: a `Backend` is data; what differs between back ends is a field here and never an `if` on a name
elsewhere. Rules and schemas are netjsonconfig 1.3.1's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from netjsonconfig import OpenWisp, OpenWrt

from config_merge.engine.errors import UnknownBackend


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Which keys make two objects of a list "the same" when layers are folded.

    `default` is tried in order, the first present key decides; `composite` replaces it for elements of that
    `type`.
    """

    default: tuple[str, ...]
    composite: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """One configuration language.

    `quoted_words`: types and option names are quoted in the UCI text. `package_path` formats a package's
    path in the archive and `package_header` starts its file. `legacy_scripts`: OpenWISP 1.x install scripts
    are added.
    """

    name: str
    schema: Mapping[str, Any]
    identifiers: tuple[str, ...]
    interface_identifiers: Mapping[str, tuple[str, ...]]
    follows_os: bool
    quoted_words: bool
    package_path: str
    package_header: str
    legacy_scripts: bool

    def identifiers_for(self, config: Mapping[str, Any]) -> Identifiers:
        """The list rules for folding in `config`: composite ones apply when it has an `interfaces` key at
        all."""
        composite = self.interface_identifiers if "interfaces" in config else {}
        return Identifiers(default=self.identifiers, composite=composite)


_INTERFACES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {kind: tuple(keys) for kind, keys in OpenWrt.list_identifiers_interfaces.items() if kind is not None}
)

BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "netjsonconfig.OpenWrt": Backend(
            name="netjsonconfig.OpenWrt",
            schema=OpenWrt.schema,
            identifiers=tuple(OpenWrt.list_identifiers),
            interface_identifiers=_INTERFACES,
            follows_os=True,
            quoted_words=False,
            package_path="etc/config/{}",
            package_header="",
            legacy_scripts=False,
        ),
        "netjsonconfig.OpenWisp": Backend(
            name="netjsonconfig.OpenWisp",
            schema=OpenWisp.schema,
            identifiers=tuple(OpenWisp.list_identifiers),
            interface_identifiers=_INTERFACES,
            follows_os=False,
            quoted_words=True,
            package_path="uci/{}.conf",
            package_header="package {}\n\n",
            legacy_scripts=True,
        ),
    }
)


def backend_named(name: str) -> Backend:
    """The back end of that name.

    >>> backend_named("netjsonconfig.OpenWrt").follows_os
    True

    Raises UnknownBackend.
    """
    backend = BACKENDS.get(name) if isinstance(name, str) else None
    if backend is None:
        raise UnknownBackend(f"unknown back end {name!r}")
    return backend
