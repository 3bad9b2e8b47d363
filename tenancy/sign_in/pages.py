"""The admin's sign-in in two steps, and the pages of one's own account.

Invariant: between the steps the browser's session says who owes a code, never the form; a secret that was not
confirmed yet is in the session as ciphertext; recovery codes are in the answer that makes them only.
"""

import math
from collections.abc import Callable
from typing import Any

import segno
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache

from core.clock import now
from core.crypto import decrypt, encrypt
from tenancy.models import User
from tenancy.queries import api_tokens_of
from tenancy.sign_in import door, factors, sessions
from tenancy.sign_in.browsers import browser_in_words
from tenancy.sign_in.forms import CodeForm, ConfirmForm, EnrolForm, OwnPasswordForm

PENDING = "muster_pending"
PENDING_SECONDS = 300
ENROLLING = "muster_enrolling"
LOCKED_STATUS = 429


# --- signing in


class CodeView(LoginView):
    """Asks for the code and signs in."""

    template_name = "admin/tenancy/sign_in_code.html"
    authentication_form = CodeForm  # type: ignore[assignment]
    pending: Any = None

    def get_form_kwargs(self) -> dict[str, Any]:
        """Tell the form who it is about."""
        return {**super().get_form_kwargs(), "user": self.pending}

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in; who owed a code owes none now."""
        self.request.session.pop(PENDING, None)
        return super().form_valid(form)


def _pending_of(request: HttpRequest) -> User | None:
    """Return who owes a code; None when nobody does, or it was too long ago."""
    said = request.session.get(PENDING)
    if not said or now().timestamp() > said["until"]:
        return None
    user = User.objects.filter(pk=said["user"], is_active=True).first()
    if user is None or sessions.stamp_of(user.get_session_auth_hash()) != said["stamp"]:
        return None
    return user


def _frame(site: Any, request: HttpRequest) -> dict[str, Any]:
    context = {**site.each_context(request), "title": "Sign in", "app_path": request.get_full_path()}
    if REDIRECT_FIELD_NAME not in request.GET and REDIRECT_FIELD_NAME not in request.POST:
        context[REDIRECT_FIELD_NAME] = reverse("admin:index", current_app=site.name)
    return context


def _waiting(answer: HttpResponse, wait: float) -> HttpResponse:
    if wait:
        answer.status_code = LOCKED_STATUS
        answer["Retry-After"] = str(math.ceil(wait))
    return answer


def _locked(answer: Any, form: Any) -> HttpResponse:
    return _waiting(answer, getattr(form, "wait", 0))


def _form_of(answer: Any) -> Any:
    return (answer.context_data or {}).get("form") if isinstance(answer, TemplateResponse) else None


def sign_in(site: Any, request: HttpRequest, first_step: Callable[[], HttpResponse]) -> HttpResponse:
    """Answer the sign-in page: `first_step` is the house's own form of name and password."""
    if request.method == "POST" and "otp" in request.POST:
        return _second_step(site, request)
    answer = first_step()
    form = _form_of(answer)
    if form is None or request.method != "POST":
        return answer
    if (user := getattr(form, "pending", None)) is not None:
        request.session[PENDING] = {
            "user": str(user.pk),
            "stamp": sessions.stamp_of(user.get_session_auth_hash()),
            "until": now().timestamp() + PENDING_SECONDS,
        }
        return _asked(site, request, user)
    return _locked(answer, form)


def _asked(site: Any, request: HttpRequest, user: User) -> HttpResponse:
    view = CodeView(extra_context=_frame(site, request), pending=user)
    view.setup(request)
    form = CodeForm(request, user=user)
    answer = view.render_to_response(view.get_context_data(form=form))
    answer["Cache-Control"] = "no-store"
    return answer


def _second_step(site: Any, request: HttpRequest) -> HttpResponse:
    pending = _pending_of(request)
    if pending is None:
        request.session.pop(PENDING, None)
        messages.error(request, "That took too long. Sign in again.")
        return HttpResponseRedirect(request.get_full_path())
    answer = CodeView.as_view(extra_context=_frame(site, request), pending=pending)(request)
    answer["Cache-Control"] = "no-store"
    return _locked(answer, _form_of(answer))


# --- one's own account


def urls(site: Any) -> list[URLPattern]:
    """Return the routes of one's own account, below the admin's."""

    def guarded(view: Callable[[Any, HttpRequest], HttpResponse]) -> Any:
        return site.admin_view(never_cache(lambda request: view(site, request)))

    return [
        path("account/", guarded(account), name="account"),
        path("account/second-factor/", guarded(second_factor), name="account_second_factor"),
    ]


def _page(site: Any, request: HttpRequest, template: str, *, title: str, **context: Any) -> HttpResponse:
    frame = site.each_context(request)
    answer = TemplateResponse(
        request, f"admin/tenancy/{template}", {**frame, "title": title, "account": True, **context}
    )
    answer["Cache-Control"] = "no-store"
    return answer


def session_lines(user: User, request: HttpRequest) -> list[dict[str, Any]]:
    """Return a person's sessions as pages show them, the current one first."""
    lines = [
        {
            "row": row,
            "browser": browser_in_words(row.user_agent),
            "current": sessions.is_current(row, request),
        }
        for row in sessions.sessions_of(user)
    ]
    return sorted(lines, key=lambda line: not line["current"])


def account(site: Any, request: HttpRequest) -> HttpResponse:
    """Show one's own account; a POST names what to do to a session, or to all."""
    user: Any = request.user
    if request.method == "POST":
        return _account_action(request, user)
    factor = factors.factor_of(user)
    return _page(
        site,
        request,
        "account.html",
        title="Your account",
        person=user,
        factor=factor,
        codes_left=factors.recovery_codes_left(factor) if factor else 0,
        codes_made=factors.RECOVERY_CODES,
        lines=session_lines(user, request),
        tokens=api_tokens_of(user).count(),
    )


def _account_action(request: HttpRequest, user: User) -> HttpResponse:
    here = HttpResponseRedirect(reverse("admin:account"))
    match request.POST.get("action"):
        case "revoke":
            try:
                row = sessions.sessions_of(user).filter(pk=request.POST.get("session", "")).first()
            except (ValidationError, ValueError):
                row = None
            if row is None:
                messages.warning(request, "That session had ended already.")
                return here
            sessions.session_revoke(row)
            messages.success(request, "The session was ended.")
        case "everywhere":
            ended, revoked = sessions.sign_out_everywhere(user=user, tokens="tokens" in request.POST)
            request.session.flush()
            tokens = f" and {revoked} API token{'s'[: revoked != 1]} revoked" if revoked else ""
            messages.success(request, f"You are signed out everywhere: {ended} ended{tokens}.")
            return HttpResponseRedirect(reverse("admin:login"))
    return here


def second_factor(site: Any, request: HttpRequest) -> HttpResponse:
    """Enrol an app; or, with one, make new recovery codes or disable it."""
    user: Any = request.user
    if factors.is_enabled(user):
        return _manage(site, request, user)
    return _enrol(site, request, user)


def _enrol(site: Any, request: HttpRequest, user: User) -> HttpResponse:
    stored = request.session.get(ENROLLING)
    secret = decrypt(stored.encode()).decode() if stored else factors.secret_new()
    form, wait = EnrolForm(request.POST if request.POST.get("action") == "enable" else None), 0
    if form.is_bound and stored and form.is_valid():
        try:
            otp = form.cleaned_data["otp"]
            codes = door.factor_enable(request=request, user=user, secret=secret, code=otp)
        except door.WrongCode:
            form.add_error("otp", factors.WRONG_CODE)
        except door.LockedOut as locked:
            wait = locked.wait
            form.add_error("otp", locked.words)
        except ValidationError as error:
            form.add_error("otp", error.messages)
        else:
            del request.session[ENROLLING]
            return _codes(site, request, codes, title="The second factor is on")
    if not stored:
        request.session[ENROLLING] = encrypt(secret.encode()).decode()
    code = segno.make(factors.uri_of(username=user.username, secret=secret), error="m")
    answer = _page(
        site,
        request,
        "second_factor_enrol.html",
        title="Second factor",
        form=form,
        picture=code.svg_data_uri(scale=5, border=4, dark="#000", light="#fff"),
        secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        copied=secret,
    )
    return _waiting(answer, wait)


def _codes(site: Any, request: HttpRequest, codes: list[str], *, title: str) -> HttpResponse:
    return _page(site, request, "recovery_codes.html", title=title, codes=codes, copied="\n".join(codes))


def _manage(site: Any, request: HttpRequest, user: User) -> HttpResponse:
    wanted = request.POST.get("action")
    form = ConfirmForm(request.POST if wanted in ("renew", "disable") else None)
    wait = 0
    if form.is_bound and form.is_valid():
        said = form.cleaned_data
        try:
            door.own_password_and_code_check(
                request=request, user=user, password=said["password"], code=said["otp"]
            )
        except door.WrongCredentials:
            form.add_error("password", "The password is wrong.")
        except door.WrongCode:
            form.add_error("otp", factors.WRONG_CODE)
        except door.LockedOut as locked:
            wait = locked.wait
            form.add_error(None, locked.words)
        else:
            if wanted == "renew":
                codes = factors.recovery_codes_renew(user=user)
                return _codes(site, request, codes, title="New recovery codes")
            factors.factor_remove(user=user)
            messages.success(request, "The second factor is off: your password alone signs you in.")
            return HttpResponseRedirect(reverse("admin:account"))
    factor = factors.factor_of(user)
    left = factors.recovery_codes_left(factor) if factor else 0
    answer = _page(
        site, request, "second_factor_manage.html", title="Second factor", form=form, codes_left=left
    )
    return _waiting(answer, wait)


class OwnPasswordView(PasswordChangeView):
    """Changes one's own password; this session goes on, all others end."""

    form_class = OwnPasswordForm
    template_name = "registration/password_change_form.html"

    def get_form(self, form_class: Any = None) -> Any:
        """Tell the form who asks from where."""
        form: Any = super().get_form(form_class)
        form.request = self.request
        return form

    def form_invalid(self, form: Any) -> HttpResponse:
        """Say what is wrong, and how long a lock lasts."""
        return _locked(super().form_invalid(form), form)

    def form_valid(self, form: Any) -> HttpResponse:
        """Change it, and follow this session to its new key."""
        before = form.keep = self.request.session.session_key
        answer = super().form_valid(form)
        sessions.session_moved(self.request, before=before)
        messages.success(self.request, "Your password was changed; you are signed out everywhere else.")
        return answer


def password_change(site: Any, request: HttpRequest, extra_context: dict[str, Any] | None) -> HttpResponse:
    """Answer the page on which one changes one's own password."""
    context = {**site.each_context(request), **(extra_context or {})}
    view: Any = OwnPasswordView.as_view(extra_context=context, success_url=reverse("admin:account"))
    answered: HttpResponse = view(request)
    return answered
