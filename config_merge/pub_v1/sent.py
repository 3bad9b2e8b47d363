"""Reading what clients of this dialect send: stray blanks around member names, marks that stand for secrets."""

from collections.abc import Collection, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from core.redaction import is_mark, mark_of
from core.secret_names import is_secret_name

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


def settings_sent(
    changes: Any,
    *,
    own: Mapping[str, Mapping[str, Any]],
    inherited: Mapping[str, Mapping[str, Any]] | None = None,
) -> Any:
    """Return changes with the stored secrets in place of the marks that stand for them. Raises ValidationError."""
    if not isinstance(changes, dict):
        return changes
    return {key: _restored(key, entry, (own, inherited or {})) for key, entry in changes.items()}


def _restored(key: str, entry: Any, levels: Collection[Mapping[str, Mapping[str, Any]]]) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {
        name: _plain(key, value, levels) if name.strip() == "value" else value
        for name, value in entry.items()
    }


def _plain(key: str, value: Any, levels: Collection[Mapping[str, Mapping[str, Any]]]) -> Any:
    if not is_mark(value):
        return value
    held = [level[key]["value"] for level in levels if key in level and level[key]["value"]]
    for secret in held if is_secret_name(key) else ():
        if mark_of(secret) == value:
            return secret
    raise ValidationError(
        f"{key}: {value} stands for no secret that is stored here; write the secret itself."
    )
