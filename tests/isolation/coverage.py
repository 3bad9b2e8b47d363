"""Which walk covers which route; what no walk covers is a failure, so a new route cannot slip in unseen."""

from tests.isolation.rest_cases import CASES
from tests.isolation.routes import Route, routes

# Routes that show the same to everyone. They take no argument, and the test reads what they say.
OPEN = {
    "home": "redirects to the admin",
    "favicon": "redirects to an icon",
    "healthz": "whether the process lives",
    "readyz": "whether the installation works; counts and names of nobody",
    "metrics": "numbers of the whole installation, to this machine; tests/controller/test_metrics.py",
    "schema": "the API's own description",
    "schema-yaml": "the API's own description",
    "docs": "the API's documentation",
    "redoc": "the API's documentation",
    "users_password_reset": "asks for a letter; tests/tenancy/test_passwords.py",
    "users_password_reset_confirm": "needs a link; tests/tenancy/test_passwords.py",
    "admin_password_reset": "asks for a letter; tests/tenancy/test_passwords.py",
    "password_new": "needs a link; tests/tenancy/test_passwords.py",
    "users_token": "gives a token for a password; tests/tenancy/test_tokens.py has its refusals",
}
# Routes with refusals of their own, and the same for everyone else; the tests named here walk them.
TESTED = {"config_schema": "for all who have signed in; tests/config_merge/exchange/test_recovery.py"}
# Routes for whoever has a key, or a signed address: no person, no role.
KEYED = {
    "image_file": "one file for half a minute; tests/boot/images/test_serving.py",
}
AGENT = "agent"
BOOT = "boot"
CLOUD = "/pub/v1/"
ADMIN = "/admin/"


def walk_of(route: Route) -> str | None:
    """Return the walk that covers a route, such as "admin" or "rest"; None when there is none."""
    if route.name in OPEN:
        return "open" if not route.arguments else None
    if route.name in TESTED:
        return "tested" if not route.arguments else None
    if route.name in KEYED:
        return "keyed"
    if route.name == AGENT:
        return "agent"
    if route.name == BOOT:
        return "boot"
    if route.pattern.startswith(CLOUD):
        # Its last pattern answers whatever is no route.
        return "cloud" if route.rest_view is not None or route.pattern == CLOUD else None
    if route.pattern.startswith(ADMIN):
        return "admin"
    return "rest" if route.rest_view is not None and route.name in CASES else None


def uncovered(urlconf: str | None = None) -> list[str]:
    """Return the routes that no walk can build a case for."""
    return [str(route) for route in routes(urlconf) if walk_of(route) is None]
