"""Reading the parameters of a request: each member by its kind, everything else passed over."""

import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from devices.link.rpc import INVALID_PARAMS, RpcError


def invalid(name: str, wanted: str) -> RpcError:
    """Return the error that says what a member must be."""
    return RpcError(INVALID_PARAMS, f"{name} must be {wanted}", {"member": name})


def text(params: Mapping[str, Any], name: str, *, most: int, default: str | None = None) -> str:
    """Return a text of at most `most` characters without control characters. Raises RpcError."""
    value = params.get(name, default)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise invalid(name, f"a text of at most {most} printable characters")
    return value


def words(params: Mapping[str, Any], name: str, *, most: int) -> str:
    """Return what a device says in its own words: cut at `most` characters, control characters as blanks."""
    value = params.get(name) or ""
    if not isinstance(value, str):
        raise invalid(name, "a text")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in value[:most])


def texts(params: Mapping[str, Any], name: str, *, most: int, length: int) -> list[str]:
    """Return a list of short texts. Raises RpcError."""
    values = params.get(name, [])
    fits = isinstance(values, list) and len(values) <= most
    if not fits or not all(isinstance(v, str) and len(v) <= length and v.isprintable() for v in values):
        raise invalid(name, f"at most {most} texts of at most {length} characters")
    return list(values)


def hexadecimal(params: Mapping[str, Any], name: str, *, digits: int) -> str:
    """Return lower-case hexadecimal digits; empty when the member is null, absent or empty. Raises RpcError."""
    value = params.get(name) or ""
    if value == "":
        return ""
    if not isinstance(value, str) or len(value) != digits or not set(value) <= set("0123456789abcdef"):
        raise invalid(name, f"{digits} lower-case hexadecimal digits")
    return value


def identifier(params: Mapping[str, Any], name: str) -> UUID | None:
    """Return a uuid, or None for null. Raises RpcError."""
    value = params.get(name)
    if value is None:
        return None
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise invalid(name, "a uuid or null") from error


def number(params: Mapping[str, Any], name: str) -> int:
    """Return a whole number from 0 to 2^31 - 1; 0 when the member is null or absent. Raises RpcError."""
    value = params.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise invalid(name, "a whole number")
    return value


def amount(params: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number that is not negative, or None. Raises RpcError."""
    value = params.get(name)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value < 1e15
    ):
        raise invalid(name, "a number that is not negative")
    return float(value)
