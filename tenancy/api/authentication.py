"""`Authorization: Bearer <token>`: the REST dialect's credential (spec section 0)."""

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from tenancy.models import ApiToken, User
from tenancy.services import token_holder


class BearerTokenAuthentication(BaseAuthentication):
    """Looks the token up by its digest; revoked, expired and unknown ones are refused alike with 401."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return the token's user, or None when the request carries no bearer token."""
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != self.keyword.lower().encode():
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("Invalid token header.")
        holder = token_holder(parts[1].decode("latin-1"))
        if holder is None:
            raise AuthenticationFailed("Invalid token.")
        return holder

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate, which turns a refusal into 401."""
        return self.keyword
