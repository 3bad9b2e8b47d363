"""Forms of the admin's page of people: inviting somebody, and setting a password.

Invariant: whoever is invited by a manager works in an organization of that manager from the first moment; a password
goes through the service, which ends sessions and tokens.
"""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from core.acting import current
from tenancy import people
from tenancy.models import Membership, Organization, Role, User
from tenancy.policy import RANK
from tenancy.queries import organization_ids_where, roles_of


class InvitationForm(UserCreationForm):
    """A new person, where they work and as what; without a password they get a link."""

    request: HttpRequest
    organization = forms.ModelChoiceField(
        queryset=Organization.objects.none(),
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Where the person works; more organizations can follow.",
    )
    role = forms.ChoiceField(
        choices=Role.choices, required=False, initial=Role.VIEWER, widget=UnfoldAdminSelectWidget
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        user: Any = self.request.user
        where: Any = self.fields["organization"]
        if "usable_password" in self.fields:
            self.fields["usable_password"].label = "Password"
            self.fields["usable_password"].help_text = ""
            self.fields["usable_password"].widget.choices = [
                ("true", "I set one now"),
                ("false", "The person sets one with a link that works once"),
            ]
        if user.is_superuser:
            where.queryset = Organization.objects.all()
            return
        where.queryset = Organization.objects.filter(pk__in=organization_ids_where(user, "add", Membership))
        where.required = True
        highest = max((RANK[role] for role in roles_of(user).values()), default=0)
        role: Any = self.fields["role"]
        role.choices = [(value, label) for value, label in Role.choices if RANK[value] <= highest]

    def memberships(self) -> list[dict[str, Any]]:
        """Return what the person becomes, as keywords of `people.member_set`."""
        where = self.cleaned_data.get("organization")
        role = self.cleaned_data.get("role") or Role.VIEWER.value
        return [{"organization": where, "role": role}] if where else []


class PasswordForm(AdminPasswordChangeForm):
    """Sets somebody's password through the service; for one's own there is a page that asks for the old one."""

    def save(self, commit: bool = True) -> User:
        """Store the new password, or that there is none."""
        usable = self.cleaned_data["set_usable_password"]
        password = self.cleaned_data["password1"] if usable else None
        actor_id = current().user_id
        if actor_id is None:
            raise PermissionDenied
        by = User.objects.get(pk=actor_id)
        people.password_set(self.user, by=by, password=password, field="password2")
        return self.user
