"""Sessions begin and end inside Django, which tells by its own signals, whichever door was used. Imported at start."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out

from tenancy import audit
from tenancy.sign_in import sessions


def on_signed_in(sender: Any, request: Any, user: Any, **_others: Any) -> None:
    """Note the new session."""
    sessions.session_note(request, user_id=user.pk)


def on_signed_out(sender: Any, request: Any, user: Any, **_others: Any) -> None:
    """Forget the session that is about to end."""
    session = getattr(request, "session", None)
    if user is None or session is None:
        return
    sessions.session_forget(session.session_key)
    audit.record("user.signed_out", user, organization_id=None)


user_logged_in.connect(on_signed_in, dispatch_uid="muster.signed_in")
user_logged_out.connect(on_signed_out, dispatch_uid="muster.signed_out")
