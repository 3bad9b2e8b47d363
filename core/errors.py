"""The small error hierarchy services raise; each dialect words it at its own edge.

Invalid input is Django's `ValidationError` (a dict of field to messages), because models raise it anyway.
"""


class MusterError(Exception):
    """Base of every error a service raises on purpose; `str()` is safe to show to the caller."""


class NotFound(MusterError):
    """The object does not exist for this caller; a foreign object is indistinguishable from it."""


class Forbidden(MusterError):
    """The object is visible but this caller or state does not allow the action."""


class Conflict(MusterError):
    """The object's state has moved on, so the action does not apply any more."""
