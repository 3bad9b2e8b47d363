"""Reading what clients of this dialect send: stray blanks around member names, members that cannot be changed."""

from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError

_KINDS = {str: "a string", bool: "true or false", dict: "an object"}


def members(
    body: Any, *, like: Mapping[str, Any], writable: Mapping[str, type], required: Collection[str] = ()
) -> dict[str, Any]:
    """Return the writable members of a body. Blanks around names are dropped (seeds/003 prints `"timestamp "`).

    What else it says must be what `like`, the object as it is, says. Raises ValidationError.
    """
    if not isinstance(body, dict):
        raise ValidationError("A JSON object is needed.")
    clean: dict[str, Any] = {}
    for name, value in body.items():
        if name.strip() in clean:
            raise ValidationError(f"There are two members {name.strip()[:60]!r}.")
        clean[name.strip()] = value
    for name in required:
        if clean.get(name) is None:
            raise ValidationError(f"{name} is needed.")
    for name, value in clean.items():
        kind = writable.get(name)
        if kind is not None and type(value) is not kind:
            raise ValidationError(f"{name} must be {_KINDS[kind]}.")
        if kind is None and not (name in like and like[name] == value and type(like[name]) is type(value)):
            raise ValidationError(f"{name[:60]} cannot be changed here.")
    return {name: value for name, value in clean.items() if name in writable}
