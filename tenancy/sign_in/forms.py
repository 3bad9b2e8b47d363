"""The forms of the sign-in page and of one's own account."""

from typing import Any

from django import forms
from unfold.forms import AdminOwnPasswordChangeForm
from unfold.widgets import BASE_INPUT_CLASSES

from core import admin as core_admin
from tenancy.models import User
from tenancy.sign_in import door, factors, sessions


class SignInForm(core_admin.SignInForm):
    """Name and password, through the door. `pending` is who still owes a code, `wait` the seconds of a lock."""

    pending: User | None = None
    wait: int = 0

    def clean(self) -> dict[str, Any]:
        """Check the password; the form stays invalid for who owes a code."""
        login, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if login is None or not password:
            return self.cleaned_data
        try:
            user = door.password_check(request=self.request, login=login, password=password)
        except door.WrongCredentials as error:
            raise self.get_invalid_login_error() from error
        except door.LockedOut as locked:
            self.wait = locked.wait
            raise forms.ValidationError(locked.words, code="locked") from locked
        self.confirm_login_allowed(user)
        if factors.is_enabled(user):
            self.pending = user
            raise forms.ValidationError("A code is needed.", code="second_factor")
        door.entered(request=self.request, user=user)
        self.user_cache: Any = user
        return self.cleaned_data


class CodeInput(forms.TextInput):
    """Where a code of six digits or a recovery code is typed."""

    def __init__(self) -> None:
        super().__init__(
            attrs={
                "class": " ".join(BASE_INPUT_CLASSES),
                "autocomplete": "one-time-code",
                "autocapitalize": "none",
                "spellcheck": "false",
                "maxlength": "64",
            }
        )


class CodeForm(forms.Form):
    """The second step of signing in. `wait` is the seconds of a lock."""

    otp = forms.CharField(label="Code", max_length=64, widget=CodeInput)
    wait: int = 0

    def __init__(self, request: Any, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.user = request, user
        self.fields["otp"].widget.attrs["autofocus"] = ""

    def clean(self) -> dict[str, Any]:
        """Check the code."""
        cleaned = self.cleaned_data
        if "otp" not in cleaned:
            return cleaned
        try:
            door.code_check(request=self.request, user=self.user, code=cleaned["otp"])
        except door.WrongCode as error:
            raise forms.ValidationError({"otp": factors.WRONG_CODE}) from error
        except door.LockedOut as locked:
            self.wait = locked.wait
            raise forms.ValidationError(locked.words, code="locked") from locked
        door.entered(request=self.request, user=self.user)
        return cleaned

    def get_user(self) -> User:
        """Return who signs in."""
        return self.user


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """One's own password, asked for by the door and changed by the service. `wait` is the seconds of a lock."""

    request: Any
    keep: str | None = None
    wait: int = 0

    def clean_old_password(self) -> str:
        """Check the password."""
        password: str = self.cleaned_data["old_password"]
        try:
            door.own_password_check(request=self.request, user=self.user, password=password)
        except door.WrongCredentials as error:
            raise forms.ValidationError(
                self.error_messages["password_incorrect"], code="password_incorrect"
            ) from error
        except door.LockedOut as locked:
            self.wait = locked.wait
            raise forms.ValidationError(locked.words, code="locked") from locked
        return password

    def save(self, commit: bool = True) -> User:
        """Change it; all other sessions end."""
        user: User = self.user
        sessions.password_change(user=user, password=self.cleaned_data["new_password1"], keep=self.keep)
        return user


class EnrolForm(forms.Form):
    """The first code of a new second factor."""

    otp = forms.CharField(label="Code from the app", max_length=64, widget=CodeInput)


class ConfirmForm(forms.Form):
    """Password and code of who changes their second factor."""

    password = forms.CharField(
        max_length=4096,
        strip=False,
        widget=forms.PasswordInput(
            attrs={"class": " ".join(BASE_INPUT_CLASSES), "autocomplete": "current-password"}
        ),
    )
    otp = forms.CharField(label="Code from the app, or a recovery code", max_length=64, widget=CodeInput)
