"""Which walk covers which route; what no walk covers is a failure, so a new route cannot slip in unseen."""

from tests.isolation.rest_cases import CASES
from tests.isolation.routes import Route, routes

# Routes that show the same to everyone. They take no argument, and the test reads what they say.
OPEN = {
    "home": "redirects to the admin",
    "favicon": "redirects to an icon",
    "healthz": "whether the process lives",
    "readyz": "whether the installation works; counts and names of nobody",
    "schema": "the API's own description",
    "schema-yaml": "the API's own description",
    "docs": "the API's documentation",
    "redoc": "the API's documentation",
    "users_token": "gives a token for a password; tests/tenancy/test_tokens.py has its refusals",
}
AGENT = "agent"
ADMIN = "/admin/"


def walk_of(route: Route) -> str | None:
    """Return the name of the walk that covers a route: open, agent, admin, rest; None when there is none."""
    if route.name in OPEN:
        return "open" if not route.arguments else None
    if route.name == AGENT:
        return "agent"
    if route.pattern.startswith(ADMIN):
        return "admin"
    return "rest" if route.rest_view is not None and route.name in CASES else None


def uncovered(urlconf: str | None = None) -> list[str]:
    """Return the routes that no walk can build a case for."""
    return [str(route) for route in routes(urlconf) if walk_of(route) is None]
