"""The Content-Security-Policy of each family of pages, as tight as the page's own code allows.

Invariant: no page may run an inline script, load anything from another host, be framed, or send a form
elsewhere. The exceptions below belong to vendored front ends and to nothing of ours: the admin's Alpine
evaluates expressions in attributes and both it and the browsable API carry style attributes; ReDoc writes
style elements and starts its search worker from a blob.
"""

from collections.abc import Callable, Mapping

from django.http import HttpRequest
from django.http.response import HttpResponseBase

Policy = Mapping[str, str]

DATA_ONLY: Policy = {"default-src": "'none'", "frame-ancestors": "'none'"}
OWN: Policy = {
    "default-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# The longest matching prefix decides.
EXCEPTIONS: Mapping[str, Policy] = {
    "/admin/": {"script-src": "'self' 'unsafe-eval'", "style-src": "'self' 'unsafe-inline'"},
    "/api/": {"style-src": "'self' 'unsafe-inline'"},
    "/api/v1/docs/": {},
    "/api/v1/redoc/": {"style-src": "'self' 'unsafe-inline'", "worker-src": "'self' blob:"},
}


def worded(policy: Policy) -> str:
    """The header's text.

    >>> worded({"default-src": "'self'", "img-src": "data:"})
    "default-src 'self'; img-src data:"
    """
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())


def policy_for(path: str, *, content_type: str) -> str:
    """The policy of one answer: data can do nothing at all, pages what their family needs."""
    if not content_type.startswith("text/html"):
        return worded(DATA_ONLY)
    prefix = max((prefix for prefix in EXCEPTIONS if path.startswith(prefix)), key=len, default="")
    return worded({**OWN, **EXCEPTIONS.get(prefix, {})})


class SecurityHeadersMiddleware:
    """Adds the policy unless a view has already set its own."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if "Content-Security-Policy" not in response:
            policy = policy_for(request.path, content_type=response.get("Content-Type", ""))
            response["Content-Security-Policy"] = policy
        return response
