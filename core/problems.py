"""How the REST dialect words errors: DRF's JSON, for Django's and our own exceptions too."""

import logging
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db import DataError, IntegrityError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from core.acting import request_id
from core.errors import Conflict, Forbidden, NotFound

ALL = NON_FIELD_ERRORS
logger = logging.getLogger(__name__)


class Busy(exceptions.APIException):
    """The database could not do it now: a deadlock, a lock held too long, a lost connection."""

    status_code = 503
    default_detail = "The change could not be made just now; nothing was stored. Try again."
    default_code = "busy"
    wait = 5


def as_drf_validation_error(error: ValidationError) -> exceptions.ValidationError:
    """Turn a model's or service's error into DRF's, keeping its fields (`__all__` for the whole object)."""
    if hasattr(error, "error_dict"):
        return exceptions.ValidationError(error.message_dict)
    return exceptions.ValidationError({ALL: error.messages})


def translate(error: Exception) -> Exception:
    """Return the DRF exception that says what `error` says."""
    match error:
        case ValidationError():
            return as_drf_validation_error(error)
        case NotFound() | Http404():
            return exceptions.NotFound(str(error) or None)
        case ObjectDoesNotExist():
            return exceptions.NotFound()
        case Forbidden() | PermissionDenied():
            return exceptions.PermissionDenied(str(error) or None)
        case Conflict():
            return exceptions.ValidationError({ALL: [str(error)]})
        case IntegrityError():
            return exceptions.ValidationError({ALL: ["The change conflicts with another object."]})
        case OperationalError():
            logger.error("the database could not do it", exc_info=error)
            return Busy()
        case DataError():
            return exceptions.ValidationError({ALL: ["A value cannot be stored."]})
        case _:
            return error


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler behind our translation; what it does not know becomes a 500 and is logged.

    A failure of ours names the request, for whoever asks us about it; other bodies are DRF's own.
    """
    response = drf_exception_handler(translate(error), context)
    if response is not None and response.status_code >= 500 and isinstance(response.data, dict):
        response.data["request_id"] = request_id.get()
    return response
