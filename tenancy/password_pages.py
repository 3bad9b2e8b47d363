"""Pages for people who cannot sign in: ask for a link, and set a new password with it.

Invariant: neither page tells who exists; the link's token is in the query, which no log keeps, and works once.
"""

import math
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from core.wake import ring
from tenancy import people, tasks
from tenancy.admin_sign_in import sign_in_wait
from tenancy.links import may_send, person_of_link

SENT = "If this account exists and has an e-mail address, a link to set a new password is on its way."
NO_MAIL = (
    "This installation sends no e-mail. Ask somebody who manages your organization to set a new password."
)


class AskForm(forms.Form):
    """Who asks."""

    login = forms.CharField(
        label="Username or e-mail address",
        max_length=254,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "username"}),
    )


class NewPasswordForm(forms.Form):
    """What the link said, and the new password twice."""

    uid = forms.CharField(max_length=128, widget=forms.HiddenInput)
    token = forms.CharField(max_length=128, widget=forms.HiddenInput)
    new_password1 = forms.CharField(
        label="New password",
        max_length=4096,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )
    new_password2 = forms.CharField(
        label="New password again",
        max_length=4096,
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
    )

    def clean(self) -> dict[str, Any]:
        """Compare both, then set it."""
        given: dict[str, Any] = super().clean() or {}
        if self.errors:
            return given
        if given["new_password1"] != given["new_password2"]:
            raise ValidationError({"new_password2": "The two password fields didn't match."})
        people.password_confirm(uid=given["uid"], token=given["token"], password=given["new_password1"])
        return given


def _page(request: HttpRequest, title: str, **context: Any) -> HttpResponse:
    frame = {**admin.site.each_context(request), "title": title}
    return TemplateResponse(request, "tenancy/password.html", {**frame, **context})


def _too_many(request: HttpRequest) -> HttpResponse | None:
    wait = sign_in_wait(request) if request.method == "POST" else None
    if wait is None:
        return None
    text = "Too many attempts from this address. Try again later."
    answer = HttpResponse(text, status=429, content_type="text/plain")
    answer["Retry-After"] = str(math.ceil(wait))
    return answer


@never_cache
def ask(request: HttpRequest) -> HttpResponse:
    """Ask for a link by e-mail."""
    title = "Forgotten password"
    if not may_send():
        return _page(request, title, text=NO_MAIL)
    if (refused := _too_many(request)) is not None:
        return refused
    form = AskForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        ring(tasks.send_password_links, form.cleaned_data["login"])
        return _page(request, title, text=SENT)
    words = "We send you a link by which you set a new password."
    return _page(request, title, form=form, text=words, button="Send the link")


@sensitive_post_parameters()
@never_cache
def new(request: HttpRequest) -> HttpResponse:
    """Set a new password with a link."""
    title = "New password"
    if (refused := _too_many(request)) is not None:
        return refused
    given = request.POST if request.method == "POST" else request.GET
    uid, token = given.get("uid", ""), given.get("token", "")
    person = person_of_link(uid=uid, token=token)
    if person is None:
        return _page(request, title, text=people.BAD_LINK)
    form = NewPasswordForm(
        request.POST if request.method == "POST" else None, initial={"uid": uid, "token": token}
    )
    if request.method == "POST" and form.is_valid():
        return _page(request, title, text="Your password was changed. You can sign in now.")
    return _page(request, title, form=form, text=f"For {person.username}.", button="Set the password")


urlpatterns = [
    path("reset/", ask, name="admin_password_reset"),
    path("new/", new, name="password_new"),
]
