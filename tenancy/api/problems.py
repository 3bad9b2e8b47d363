"""Which key an object's error stands under; the REST dialect has its own rule for uniqueness."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models
from rest_framework import exceptions
from rest_framework.settings import api_settings


def _keys_of_constraints(model: type[models.Model]) -> dict[str, str]:
    """Return the key for each uniqueness message: the field, or `non_field_errors` for several."""
    return {
        str(constraint.violation_error_message): (
            constraint.fields[0] if len(constraint.fields) == 1 else api_settings.NON_FIELD_ERRORS_KEY
        )
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields
    }


def worded(error: ValidationError, model: type[models.Model]) -> dict[str, list[str]]:
    """Return the body of a 400: field, `__all__` or `non_field_errors` to messages."""
    if not hasattr(error, "error_dict"):
        return {NON_FIELD_ERRORS: list(error.messages)}
    keys, body = _keys_of_constraints(model), defaultdict(list)
    for field, messages in error.message_dict.items():
        for message in messages:
            body[keys.get(message, field) if field == NON_FIELD_ERRORS else field].append(message)
    return dict(body)


@contextlib.contextmanager
def worded_for(model: type[models.Model]) -> Iterator[None]:
    """Turn a service's ValidationError into the 400 of the REST dialect."""
    try:
        yield
    except ValidationError as error:
        raise exceptions.ValidationError(worded(error, model)) from error
