"""Links by which people set a password themselves: their addresses, and the letter that brings one.

Invariant: a letter is sent only where MUSTER_EMAIL_URL says how, to an address of MUSTER_PUBLIC_URL and never to a
host name that a request claims; whoever asks learns nothing about who exists.
"""

import logging
import smtplib
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.db.models import Q
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from tenancy.models import User

logger = logging.getLogger(__name__)
SUBJECT = "Set your password for Muster"
LETTER = """Hello {name},

somebody, probably you, asked to set the password of your account "{username}".
This link does it once, within {days} days:

{link}

If it was not you, nothing has changed and nothing needs to be done.
"""


def password_link(person: User) -> tuple[str, str]:
    """Return uid and token of a link by which `person` sets a password once, within PASSWORD_RESET_TIMEOUT."""
    return urlsafe_base64_encode(force_bytes(str(person.pk))), default_token_generator.make_token(person)


def person_of_link(*, uid: str, token: str) -> User | None:
    """Return the active user whom a link is for, as long as it works."""
    try:
        identifier = UUID(urlsafe_base64_decode(uid).decode("ascii"))
    except (ValueError, OverflowError):
        return None
    person = User.objects.filter(pk=identifier, is_active=True).first()
    return person if person is not None and default_token_generator.check_token(person, token) else None


def may_send() -> bool:
    """Tell whether this installation sends letters."""
    return bool(settings.MUSTER.email_url)


def link_path(person: User) -> str:
    """Return path and query of a fresh link."""
    uid, token = password_link(person)
    return f"{reverse('password_new')}?{urlencode({'uid': uid, 'token': token})}"


def people_called(login: str) -> list[User]:
    """Return the active people with this username or e-mail address who can get a letter."""
    named = Q(username=login) | Q(email__iexact=login)
    return list(User.objects.filter(named, is_active=True).exclude(email="")) if login else []


def send_links(login: str) -> int:
    """Send a link to whoever has this username or e-mail address; returns how many letters left."""
    if not may_send():
        return 0
    sent = 0
    for person in people_called(login):
        words = {
            "name": person.get_full_name() or person.username,
            "username": person.username,
            "days": settings.PASSWORD_RESET_TIMEOUT // 86400,
            "link": settings.MUSTER.public_url.rstrip("/") + link_path(person),
        }
        try:
            sent += send_mail(SUBJECT, LETTER.format(**words), None, [person.email])
        except (smtplib.SMTPException, OSError) as error:
            logger.error("a letter could not be sent: %s", type(error).__name__)
    return sent
