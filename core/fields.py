"""Model fields whose column holds ciphertext only.

Empty values ("" , {} , b"") are stored empty, so that a fleet of defaults costs neither space nor time.
None of them can be filtered on; store a digest beside a value that must be found.
"""

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.forms import JSONField as JSONFormField

from core.canonical import canonical_json
from core.crypto import decrypt, encrypt


class EncryptedMixin:
    """Marks a field whose raw column is a Fernet token; `rotate_encryption` finds fields by it."""


class EncryptedTextField(EncryptedMixin, models.TextField):
    """Text encrypted at rest."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        """Return the plain text of a stored token."""
        return decrypt(value.encode("ascii")).decode("utf-8") if value else value

    def validate(self, value: Any, model_instance: Any) -> None:
        """Bound the plain text by `max_length`, which for a text column is only a form's advice."""
        super().validate(value, model_instance)
        if self.max_length is not None and len(value) > self.max_length:
            raise ValidationError(f"Ensure this value has at most {self.max_length} characters.")

    def get_prep_value(self, value: Any) -> Any:
        """Return the token to store for a plain text."""
        value = super().get_prep_value(value)
        return encrypt(value.encode("utf-8")).decode("ascii") if value else value


class EncryptedBinaryField(EncryptedMixin, models.BinaryField):
    """Bytes encrypted at rest."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> bytes | None:
        """Return the plain bytes of a stored token."""
        return decrypt(bytes(value)) if value else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Return the token to store for plain bytes."""
        return super().get_db_prep_value(encrypt(bytes(value)) if value else value, connection, prepared)


class EncryptedJSONField(EncryptedMixin, models.TextField):
    """A JSON object encrypted at rest; {} is stored as an empty column."""

    # What type checkers are told of the attribute: the column holds text, the object does not.
    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        """Return the object of a stored token."""
        return json.loads(decrypt(value.encode("ascii"))) if value else {}

    def to_python(self, value: Any) -> Any:
        """Return `value`; text from forms and fixtures is parsed. Raises ValidationError for bad JSON."""
        if isinstance(value, str):
            try:
                return json.loads(value) if value.strip() else {}
            except ValueError as error:
                raise ValidationError("Enter a valid JSON.") from error
        return {} if value is None else value

    def validate(self, value: Any, model_instance: Any) -> None:
        """Accept a JSON object only."""
        if not isinstance(value, dict):
            raise ValidationError("The supplied value is not a JSON object.")
        try:
            canonical_json(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValidationError("The supplied value cannot be stored as JSON.") from error

    def get_prep_value(self, value: Any) -> Any:
        """Return the token to store for an object."""
        return encrypt(canonical_json(value)).decode("ascii") if value else ""

    def value_to_string(self, obj: models.Model) -> str:
        """Serialise for fixtures."""
        return canonical_json(self.value_from_object(obj)).decode("utf-8")

    def formfield(self, **kwargs: Any) -> Any:
        """Edit as JSON text."""
        return models.Field.formfield(self, **{"form_class": JSONFormField, **kwargs})
