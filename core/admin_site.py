"""The admin site: unfold's, with two of its views made safe against any query a person may type.

Invariant: a bad page number or a malformed id is answered like an unknown one.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

from django.contrib.admin.apps import AdminConfig
from django.core.exceptions import ValidationError
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path
from unfold.sites import UnfoldAdminSite


class House(UnfoldAdminSite):
    """The one admin site of the product."""

    site_title = site_header = "Muster"
    index_title = "Dashboard"
    enable_nav_sidebar = True
    # How long an address must wait before it may try to sign in, in seconds; None when it may. Set by tenancy.
    sign_in_wait: Callable[[HttpRequest], float | None] | None = None
    # The pages of one's own account and how one signs in (a module with `sign_in`, `urls`, `password_change`); set by
    # tenancy.
    account: Any = None

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Search models by name; a page that is not there is a 404."""
        try:
            return super().search(request, extra_context)
        except (ValueError, InvalidPage) as error:
            raise Http404 from error

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Sign in; an address that tries too often is sent away for a while."""
        wait = self.sign_in_wait(request) if self.sign_in_wait and request.method == "POST" else None
        if wait is None:
            if self.account is None:
                return super().login(request, extra_context)
            step = functools.partial(super().login, request, extra_context)
            answered: HttpResponse = self.account.sign_in(self, request, step)
            return answered
        answer = HttpResponse(
            "Too many attempts from this address. Try again later.", status=429, content_type="text/plain"
        )
        answer["Retry-After"] = str(math.ceil(wait))
        return answer

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Put our own "view on site" before Django's."""
        own = path(
            "r/<path:content_type_id>/<path:object_id>/", self.admin_view(self.nowhere), name="view_on_site"
        )
        account = self.account.urls(self) if self.account is not None else []
        return [own, *account, *super().get_urls()]

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Change one's own password."""
        if self.account is None:
            return super().password_change(request, extra_context)
        answered: HttpResponse = self.account.password_change(self, request, extra_context)
        return answered

    def nowhere(self, request: HttpRequest, content_type_id: str, object_id: str) -> HttpResponse:
        """Objects of this product have no public page."""
        raise Http404

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """Offer choices; a query the database cannot even look for has none."""
        try:
            return super().autocomplete_view(request)
        except (ValueError, ValidationError) as error:
            raise Http404 from error


class HouseConfig(AdminConfig):
    """Makes Django's `admin.site` the one above."""

    default_site = "core.admin_site.House"
