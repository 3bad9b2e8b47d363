"""What this room answers when something is in the way."""

from typing import Any

from rest_framework import exceptions, status

from tenancy.api import base

BUSY: dict[int, Any] = {409: base.said("Not now: the detail says why.")}


class InTheWay(exceptions.APIException):
    """What was asked for does not fit the state of things."""

    status_code = status.HTTP_409_CONFLICT
