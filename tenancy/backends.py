"""Sign-in by username or e-mail, and Django permissions derived from roles.

A staff member's admin permission on a model is the best their roles allow in any organization; which objects
they then see is the querysets' business.
"""

from typing import Any

from django.contrib.auth.backends import BaseBackend

from tenancy.models import User
from tenancy.policy import ACTIONS, allows
from tenancy.queries import roles_of
from tenancy.services import authenticate_person
from tenancy.sign_in.factors import is_enabled


class MembershipBackend(BaseBackend):
    """The only authentication backend of the house."""

    def authenticate(
        self, request: Any, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        """Return the user with this login and password."""
        if username is None or password is None:
            return None
        user = authenticate_person(login=username, password=password)
        # Whoever comes this way was not asked for a code; the doors that ask do not come this way.
        return None if user is not None and is_enabled(user) else user

    def get_user(self, user_id: Any) -> User | None:
        """Return the active user of a session."""
        return User.objects.filter(pk=user_id, is_active=True).first()

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        """Answer Django's "app.action_model" by the roles of the user."""
        app, _, codename = perm.partition(".")
        action, _, model = codename.partition("_")
        if action not in ACTIONS:
            return False
        return any(allows(role, action, f"{app}.{model}") for role in roles_of(user_obj).values())

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        """Members see the apps in the admin; each model then answers for itself."""
        return bool(roles_of(user_obj))
