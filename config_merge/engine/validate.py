"""Whether a configuration is valid for its back end, and what to tell its author when it is not.

Invariant: netjsonconfig's schema under its own draft 4 validator decides; the compiled validator only
spares the good configurations the 12 ms that one takes. A configuration the compiled one refuses is put
before the stock one, which either words the error or, where it is laxer (Python's `$` matches before a
final line break), lets it pass.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft4Validator, FormatChecker, ValidationError  # type: ignore[import-untyped]
from netjsonconfig.backends.base.backend import format_checker as stock_formats

from config_merge.engine.backends import backend_named
from config_merge.engine.errors import InvalidConfiguration, fragment
from config_merge.engine.legacy_scripts import with_explicit_radios
from config_merge.engine.places import archive_path, file_mode, is_package, require_package_name
from config_merge.engine.strict_json import kind, plain_object

_FORMATS = ("cidr", "hostname", "ipv4", "ipv6")
_SECRETS = frozenset(
    {
        "key",
        "password",
        "secret",
        "private_key",
        "preshared_key",
        "priv_key_pwd",
        "auth_secret",
        "acct_secret",
    }
    | {"dae_secret", "key1", "contents", "wps_pin", "pin", "password2"}
)
NOT_VALID = "not valid"
_LONGEST_VALUE = 120
_LONGEST_MESSAGE = 500
_AUTO_CHANNEL_PROTOCOLS = ("802.11n", "802.11ax")


def validate(*, backend: str, tree: Mapping[str, Any], worded: bool = True) -> None:
    """Raises InvalidConfiguration unless `tree`, variables already put in, is valid for `backend`.

    The path is the stock validator's (an offending element below the root); the message is the stock
    one, but quotes no objects and no secrets, and for elements with alternatives adds what is wrong with
    the nearest one. Beyond the schema: file paths and modes, UCI package names, "auto" channels, one
    primary VLAN per bridge port (spec/openwisp.md 2.5; netjsonconfig 1.3.1 `OpenWrt.validate`). Without
    `worded` the verdict is the same and the message may be a bare one, which costs 10 ms less. Raises
    UnknownBackend.

    >>> validate(backend="netjsonconfig.OpenWrt", tree={"interfaces": [{"name": "eth0", "type": "ethernet"}]})
    >>> try:
    ...     validate(backend="netjsonconfig.OpenWrt", tree={"dns_servers": ["8.8.8.8", 4]})
    ... except InvalidConfiguration as error:
    ...     error.path, error.message
    ('#/dns_servers/1', "4 is not of type 'string'")
    """
    language = backend_named(backend)
    tree = plain_object(tree)
    if language.legacy_scripts:
        tree = with_explicit_radios(tree)
    _require_schema(backend, tree, worded=worded)
    _require_known_bands(tree)
    for index, entry in enumerate(tree.get("files", [])):
        archive_path(entry["path"], index=index)
        file_mode(entry["mode"], index=index)
    _require_single_primary_vlan(tree)
    for key in sorted(tree.keys() - language.schema["properties"].keys()):
        if is_package(tree[key]):
            require_package_name(key)


def _require_schema(backend: str, tree: dict[str, Any], *, worded: bool) -> None:
    fast, stock = _validators(backend)
    first = next(fast.iter_errors(tree), None)
    if first is None:
        return
    if not worded and _is_plain(first.instance):
        raise InvalidConfiguration(NOT_VALID, path=fragment(first.instance_path))
    match first.instance_path:
        case [str() as key, int() as index, *_]:
            # The stock validator takes 3 ms per interface: it is asked about the suspect alone first.
            found = _stock_verdict(backend, key, index, json.dumps(tree[key][index]))
            if found is not None:
                message, where = found
                raise InvalidConfiguration(message, path=where)
    error = next(stock.iter_errors(tree), None)
    if error is not None:
        path = list(error.absolute_path)
        raise InvalidConfiguration(_worded(error, path), path=fragment(path))


@lru_cache(maxsize=256)
def _stock_verdict(backend: str, key: str, index: int, element: str) -> tuple[str, str] | None:
    """Why and where the stock validator refuses an element (as JSON) of the list `key`; None when it does not.

    Remembered, because a change of what thousands share makes the same element wrong in each of them.
    """
    error = next(_validators(backend)[1].iter_errors({key: [json.loads(element)]}), None)
    if error is None:
        return None
    path = [key, index, *list(error.absolute_path)[2:]]
    return _worded(error, path), fragment(path)


def _is_plain(value: object) -> bool:
    """Tell whether no text in `value` is such that Python's regular expressions could be laxer about it."""
    match value:
        case str():
            return value.isascii() and "\n" not in value
        case Mapping():
            return all(_is_plain(each) for pair in value.items() for each in pair)
        case list():
            return all(map(_is_plain, value))
        case _:
            return True


@lru_cache(maxsize=8)
def _validators(backend: str) -> tuple[jsonschema_rs.Draft4Validator, Draft4Validator]:
    schema = dict(backend_named(backend).schema)
    checker = FormatChecker(formats=())
    formats = {name: _format(name) for name in _FORMATS}
    for name, check in formats.items():
        checker.checks(name)(check)
    return (
        jsonschema_rs.Draft4Validator(schema, formats=formats, validate_formats=True),
        Draft4Validator(schema, format_checker=checker),
    )


def _format(name: str) -> Callable[[object], bool]:
    """The library's own check of a format. Only strings have one; its `cidr` would fail on other types."""
    return lambda value: not isinstance(value, str) or stock_formats.conforms(value, name)


def _worded(error: ValidationError, path: list[str | int]) -> str:
    """The message for an error at `path`, and what is wrong with the nearest alternative below it."""
    message = _without_values(error)
    if not error.context:
        return message
    nearest = _nearest(error)
    below = [*path, *list(nearest.absolute_path)[len(error.absolute_path) :]]
    return f"{message}; {fragment(below)}: {_without_values(nearest)}"


def _nearest(error: ValidationError) -> ValidationError:
    """The first error of the alternative the author most likely meant: the one that fits in most places.

    An alternative whose `type`, `mode` or `protocol` is another one fails at an `enum` close to its root.
    """
    alternatives: dict[Any, list[ValidationError]] = {}
    for below in error.context:
        alternatives.setdefault(below.schema_path[0], []).append(below)
    meant = min(alternatives.values(), key=_distance)
    first = meant[0]
    return _nearest(first) if first.context else first


def _distance(errors: Iterable[ValidationError]) -> tuple[int, int]:
    found = list(errors)
    return sum(error.validator == "enum" and len(error.relative_path) == 1 for error in found), len(found)


def _without_values(error: ValidationError) -> str:
    """The stock message without quoting objects, long values or secrets: error texts end up in logs."""
    shown = repr(error.instance)
    path = error.absolute_path
    secret = bool(path) and path[-1] in _SECRETS
    message = str(error.message)
    if error.validator == "oneOf" and not error.context:
        return f"{kind(error.instance)} fits more than one of the allowed forms"
    if isinstance(error.instance, Mapping | list) or secret or len(shown) > _LONGEST_VALUE:
        message = message.replace(shown, "this value" if secret else kind(error.instance))
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."


def _require_known_bands(tree: Mapping[str, Any]) -> None:
    """With channel "auto" nothing but `band` or `hwmode` tells the frequency band."""
    for index, radio in enumerate(tree.get("radios", [])):
        told = radio.get("band") is not None or radio.get("hwmode") is not None
        if radio["protocol"] in _AUTO_CHANNEL_PROTOCOLS and radio.get("channel") == 0 and not told:
            raise InvalidConfiguration(
                '"channel" cannot be set to "auto" when "hwmode" or "band" property is not configured.',
                path=fragment(("radios", index)),
            )


def _require_single_primary_vlan(tree: Mapping[str, Any]) -> None:
    for index, interface in enumerate(tree.get("interfaces", [])):
        if interface.get("type") != "bridge":
            continue
        primary: set[str] = set()
        for vlan in interface.get("vlan_filtering", []):
            for port in vlan.get("ports", []):
                if not port.get("primary_vid", False):
                    continue
                if port["ifname"] in primary:
                    raise InvalidConfiguration(
                        "Primary VID can be set only one VLAN for a port.",
                        path=fragment(("interfaces", index)),
                    )
                primary.add(port["ifname"])
