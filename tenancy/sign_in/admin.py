"""What a superuser does to another person's sign-in: unlock, sign out everywhere, take a lost second factor away."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path

from tenancy import audit
from tenancy.models import User
from tenancy.queries import api_tokens_of
from tenancy.sign_in import factors, lockout, sessions
from tenancy.sign_in.pages import session_lines


class SignInAdmin:
    """Adds the page "Sign-in" to a person's page; mixed into the admin of users."""

    change_form_outer_before_template = "admin/tenancy/user_head.html"
    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        own = path(
            "<uuid:pk>/sign-in/", self.admin_site.admin_view(self.sign_in_view), name="tenancy_user_sign_in"
        )
        return [own, *super().get_urls()]  # type: ignore[misc]

    def sign_in_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Show how a person signs in; a POST names what to do about it."""
        pages: Any = self
        person = pages.get_object(request, str(pk))
        if person is None:
            answer: HttpResponse = pages.missing(request, pk)
            return answer
        # Who took a second factor away could be that person next: this is for superusers.
        if not getattr(request.user, "is_superuser", False):
            raise PermissionDenied
        if request.method == "POST":
            self._act(request, person)
            return HttpResponseRedirect(request.path)
        shown: HttpResponse = pages.page(
            request,
            "admin/tenancy/user_sign_in.html",
            original=person,
            title=f"Sign-in of {person}",
            person=person,
            factor=factors.factor_of(person),
            locked=lockout.locked_addresses(person),
            lines=session_lines(person, request),
            tokens=api_tokens_of(person).count(),
            back=pages.link("change", person.pk),
        )
        shown["Cache-Control"] = "no-store"
        return shown

    def _act(self, request: HttpRequest, person: User) -> None:
        match request.POST.get("action"):
            case "unlock":
                if lockout.unlock(person):
                    audit.record("user.unlocked", person, organization_id=None)
                messages.success(request, f"{person} may try again from everywhere.")
            case "everywhere":
                sessions.sign_out_everywhere(user=person, tokens="tokens" in request.POST)
                messages.success(request, f"{person} is signed out everywhere.")
            case "reset":
                factors.factor_reset(user=person)
                messages.success(request, f"{person} signs in with the password alone now.")
