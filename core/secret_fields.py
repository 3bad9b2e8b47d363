"""Form fields for what must not be printed into a page: a single secret, and JSON with secrets in it.

Invariant: the HTML of a form never holds a stored secret. A secret is an empty input that means "as it is"; JSON shows
marks (`core.redaction`), and a mark that is posted back is the secret it stands for.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from core.admin import JsonObjectField, SecretInput
from core.redaction import is_mark, mark_of, redacted, restored, secrets_in


class TypedSecret(str):
    """A secret a person has just typed; only that may be shown again, on a form with errors."""


class SecretField(forms.CharField):
    """One secret; left empty, it stays as it is (`stored`, which the form sets)."""

    widget = SecretInput
    stored = ""

    def clean(self, value: Any) -> str:
        """Return what was typed, or what is stored. Raises ValidationError."""
        text: str = super().clean(value)
        if is_mark(text):
            raise ValidationError("This is a mark in place of a secret; write the secret itself.")
        return text or self.stored

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tell whether something else than the stored secret was typed."""
        return not self.disabled and bool(data) and data != self.stored

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show again what was typed, unless it is what nobody may read here."""
        return TypedSecret(data) if data and data != self.stored else ""


class RedactedJsonField(JsonObjectField):
    """A JSON object whose secrets are marks; the form says what is `stored`.

    `secret_names` are names on the first level that are secret though their words do not tell, as those of variables
    that end up in a password.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stored: dict[str, Any] = {}
        self.secret_names: frozenset[str] = frozenset()

    def holds(self, stored: Mapping[str, Any], *, secret_names: Iterable[str] = ()) -> str:
        """Remember what is stored; returns the text to show."""
        self.stored, self.secret_names = dict(stored), frozenset(secret_names)
        return super().prepare_value(self.shown())

    def shown(self) -> dict[str, Any]:
        """Return the stored object with marks."""
        return hidden_object(self.stored, self.secret_names)

    def secrets(self) -> dict[str, Any]:
        """Return the stored secrets by their marks."""
        return object_secrets(self.stored, self.secret_names)

    def to_python(self, value: Any) -> Any:
        """Return the object with its secrets back in place. Raises ValidationError."""
        typed = super().to_python(value)
        same = {
            name: self.stored[name]
            for name, item in typed.items()
            if is_mark(item) and name in self.stored and mark_of(self.stored[name]) == item
        }
        rest = restored({name: item for name, item in typed.items() if name not in same}, stored=self.stored)
        return {name: same[name] if name in same else rest[name] for name in typed}

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show again what was typed; a stored secret that was revealed is a mark again."""
        text = str(data or "")
        for mark, secret in self.secrets().items():
            text = text.replace(json.dumps(secret, ensure_ascii=False), f'"{mark}"')
        return super().bound_data(text, initial)

    def prepare_value(self, value: Any) -> str:
        """Return the text to edit; only what was typed may hold secrets."""
        return str(value) if isinstance(value, str) else super().prepare_value(self.shown())

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tell whether the object differs from the stored one."""
        if self.disabled:
            return False
        try:
            return self.to_python(data) != self.stored
        except ValidationError:
            return True


def hidden_object(stored: Mapping[str, Any], secret_names: Iterable[str] = ()) -> dict[str, Any]:
    """Return an object with marks in place of its secrets."""
    shown: dict[str, Any] = redacted(stored)
    for name in set(secret_names) & shown.keys():
        value = stored[name]
        if value not in (None, "", True, False) and not isinstance(value, dict | list):
            shown[name] = mark_of(value)
    return shown


def object_secrets(stored: Mapping[str, Any], secret_names: Iterable[str] = ()) -> dict[str, Any]:
    """Return the secrets `hidden_object` hides, by their marks."""
    named = [stored[name] for name in secret_names if name in stored]
    return {
        mark_of(value): value
        for value in (*secrets_in(stored), *named)
        if isinstance(value, str | int | float)
    }
