"""Tokens that signing in over REST gives: they keep working, and their number is bounded.

Clients sign in again whenever they start and never give a token back. Invariant: a person has at most KEPT tokens named
NAME; of more, those are revoked that were not used for longest. A token with another name is never touched.
"""

from django.db import transaction
from django.db.models.functions import Coalesce

from core.clock import now
from core.db import locked
from tenancy import services
from tenancy.models import ApiToken, User

NAME = "sign-in"
KEPT = 20


@transaction.atomic
def sign_in_token_issue(*, user: User) -> str:
    """Issue a token and revoke those in excess; returns its secret."""
    locked(User.objects.filter(pk=user.pk)).get()
    token, secret = services.token_issue(user=user, name=NAME)
    living = ApiToken.objects.filter(user=user, name=NAME, revoked_at__isnull=True).exclude(pk=token.pk)
    by_use = living.order_by(Coalesce("last_used_at", "created").desc(), "id")
    excess = list(by_use.values_list("pk", flat=True)[KEPT - 1 :])
    if excess:
        ApiToken.objects.filter(pk__in=excess).update(revoked_at=now())
    return secret
