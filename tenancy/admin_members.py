"""The members of an organization, as a table on its page.

Invariant: nobody hands out, changes or takes away a role above their own, or names people they share no
organization with.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from unfold.admin import TabularInline

from tenancy.admin_base import ScopedPermissions
from tenancy.authority import may_let_reveal
from tenancy.models import Membership, Organization, Role, User
from tenancy.policy import RANK
from tenancy.queries import organization_ids_where, roles_of


def grantable_roles(user: Any, organization_id: UUID | None) -> list[tuple[str, str]]:
    """Return the roles a user may give in an organization: those not above their own."""
    if user.is_superuser:
        return list(Role.choices)
    rank = RANK.get(roles_of(user).get(organization_id, "") if organization_id else "", 0)
    return [(value, label) for value, label in Role.choices if RANK[value] <= rank]


class MembershipForm(forms.ModelForm):
    """One row of an organization's members; who it is about does not change afterwards."""

    request: HttpRequest
    organization_id: UUID | None = None

    class Meta:
        model = Membership
        fields = ("user", "role", "can_reveal")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        user: Any = self.request.user
        roles = grantable_roles(user, self.organization_id)
        current = self.instance.role if self.instance.pk and not self.instance._state.adding else None
        if current is not None:
            self.fields["user"].disabled = True
            if current not in dict(roles):
                roles = [(current, Role(current).label)]
                self.fields["role"].disabled = True
        role: Any = self.fields["role"]
        role.choices = roles
        self.fields["can_reveal"].disabled = self.fields["role"].disabled or not may_let_reveal(
            user, self.organization_id
        )


class MembershipFormSet(forms.BaseInlineFormSet):
    """Refuses to remove a member whose role is above one's own."""

    request: HttpRequest

    def clean(self) -> None:
        """Check what is to be deleted."""
        super().clean()
        roles = dict(grantable_roles(self.request.user, self.instance.pk))
        for form in self.deleted_forms:
            if form.instance.role not in roles:
                raise ValidationError("You cannot remove a member whose role is above yours.")


class MembershipInline(ScopedPermissions, TabularInline):
    """The members of an organization."""

    model = Membership
    form = MembershipForm
    formset = MembershipFormSet
    fields = ("user", "role", "can_reveal")
    extra = 0
    verbose_name_plural = "members"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Read names with the rows; without permission there are none."""
        queryset = super().get_queryset(request).select_related("user")
        user: Any = request.user
        if user.is_superuser:
            return queryset
        return queryset.filter(organization__in=organization_ids_where(user, "view", Membership))

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Tell forms who asks and for which organization."""
        formset: Any = super().get_formset(request, obj, **kwargs)
        formset.request = formset.form.request = request
        formset.form.organization_id = obj.pk if obj else None
        return formset

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Choices come without pop-up buttons."""
        formfield: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if formfield is not None and isinstance(formfield.widget, RelatedFieldWidgetWrapper):
            formfield.widget = formfield.widget.widget
        return formfield

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer the people one already shares an organization with."""
        if db_field.name == "user":
            kwargs["queryset"] = self.people(request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def people(self, request: HttpRequest) -> models.QuerySet[User]:
        """Return the users who may be named here."""
        user: Any = request.user
        if user.is_superuser:
            return User.objects.order_by("username")
        known = Membership.objects.filter(organization__in=organization_ids_where(user, "view", Membership))
        return User.objects.filter(pk__in=known.values("user_id")).order_by("username")

    def organization_id_of(self, obj: Any) -> UUID | None:
        """Inlines are asked about their parent, the organization."""
        return obj.pk if isinstance(obj, Organization) else obj.organization_id
