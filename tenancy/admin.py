"""Admin pages of people and organizations; importing it registers all admin pages of this app."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import display
from unfold.forms import UserChangeForm

from core.wake import ring
from tenancy import admin_audit, people, services, tasks
from tenancy.admin_api_keys import ApiKeyAdmin
from tenancy.admin_base import (
    ScopedAdmin,
    refusals,
)
from tenancy.admin_members import MembershipInline
from tenancy.admin_notifications import NotificationAdmin
from tenancy.admin_people import InvitationForm, PasswordForm
from tenancy.admin_sign_in import sign_in_wait
from tenancy.admin_tokens import ApiTokenAdmin
from tenancy.admin_webhooks import WebhookAdmin
from tenancy.authority import may_read_account, obstacle_to, people_visible_to, shown_memberships
from tenancy.links import link_path, may_send
from tenancy.models import Organization, Role, User
from tenancy.organizations import organization_remove
from tenancy.policy import allows
from tenancy.queries import roles_of
from tenancy.sign_in import pages as account_pages
from tenancy.sign_in.admin import SignInAdmin

__all__ = [
    "ApiKeyAdmin",
    "ApiTokenAdmin",
    "NotificationAdmin",
    "OrganizationAdmin",
    "UserAdmin",
    "WebhookAdmin",
    "admin_audit",
]

admin.site.unregister(Group)
admin.site.sign_in_wait = sign_in_wait  # type: ignore[attr-defined]
admin.site.account = account_pages  # type: ignore[attr-defined]


@admin.register(Organization)
class OrganizationAdmin(ScopedAdmin):
    """Organizations and who works in them."""

    organization_path = "pk"
    list_display = ("name", "slug", "is_active", "member_count", "created")
    list_filter = ("is_active",)
    search_fields = ("name", "slug", "email")
    ordering = ("name", "id")
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("name", "slug", "is_active", "description")}),
        ("Contact", {"fields": ("email", "url")}),
    )

    def organization_id_of(self, obj: Any) -> UUID | None:
        """An organization belongs to itself."""
        identifier: UUID = obj.pk
        return identifier

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Count members in the same query."""
        return super().get_queryset(request).annotate(members=models.Count("memberships"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Only a superuser renames in URLs or switches an organization off."""
        user: Any = request.user
        return () if user.is_superuser else ("slug", "is_active")

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Members are added once the organization exists."""
        return self.inlines if obj else ()

    @display(description="Members", ordering="members")
    def member_count(self, obj: Any) -> int:
        """How many people work in it."""
        count: int = obj.members
        return count

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Organization:
        """Create or change through the service."""
        values = form.values()
        if change:
            return services.organization_update(obj, **values)
        return services.organization_create(**values)

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service, which keeps organizations whose devices are in use."""
        organization_remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Delete them in the order in which organizations are locked."""
        super().delete_queryset(request, queryset.order_by("pk"))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Write memberships through their services."""
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        by: Any = request.user
        changed = [row for row in formset.forms if row.has_changed() and row not in formset.deleted_forms]
        named = [row.cleaned_data["user"].pk for row in changed]
        named += [row.instance.user_id for row in formset.deleted_forms if row.instance.pk]
        with refusals():
            people.hold(by=by, people=named, organizations=[form.instance.pk])
        # A new owner before the old one goes, so that there always is one.
        for row in sorted(changed, key=lambda row: row.cleaned_data["role"] != Role.OWNER):
            known = not row.instance._state.adding
            explicit = not row.fields["can_reveal"].disabled
            with refusals():
                stored = people.member_set(
                    by=by,
                    user=row.cleaned_data["user"],
                    organization=form.instance,
                    role=row.cleaned_data["role"],
                    can_reveal=row.cleaned_data["can_reveal"] if explicit else None,
                )
            (
                formset.changed_objects.append((stored, row.changed_data))
                if known
                else formset.new_objects.append(stored)
            )
        for row in formset.deleted_forms:
            if row.instance.pk:
                with refusals():
                    people.member_remove(row.instance, by=by)
                formset.deleted_objects.append(row.instance)


@admin.register(User)
class UserAdmin(SignInAdmin, DjangoUserAdmin, ScopedAdmin):
    """People: managers see those of their organizations. What they may do follows from their memberships."""

    form = UserChangeForm
    add_form = InvitationForm
    change_password_form = PasswordForm
    list_display = ("username", "email", "full_name", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("username", "email", "first_name", "last_name")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined", "works_in")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser", "works_in")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "email", "first_name", "last_name")}),
        ("Access", {"fields": ("organization", "role", "is_staff")}),
        ("Password", {"fields": ("usable_password", "password1", "password2")}),
    )
    # What a manager may not ask the list for: it is not everyone's to know.
    private = ("email", "last_login")

    def organization_id_of(self, obj: Any) -> UUID | None:
        """Users stand above organizations."""
        return None

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Superusers see everyone, managers the people of their organizations."""
        return people_visible_to(request.user).order_by(*self.ordering)

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """Ask the policy whether at all, and for an account who stands behind it."""
        user: Any = request.user
        if not (user.is_active and user.is_staff):
            return False
        if user.is_superuser:
            return True
        if not any(allows(role, action, User) for role in roles_of(user).values()):
            return False
        return obj is None or action == "view" or not obstacle_to(user, obj)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Leave private columns to superusers."""
        return self._public(request, self.list_display)

    def get_search_fields(self, request: HttpRequest) -> Any:
        """Leave private columns to superusers."""
        return self._public(request, self.search_fields)

    def _public(self, request: HttpRequest, names: Any) -> Any:
        user: Any = request.user
        return names if user.is_superuser else tuple(name for name in names if name not in self.private)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:  # type: ignore[override]
        """Refuse to find people by what one may not see."""
        user: Any = request.user
        if not user.is_superuser and lookup.split("__")[0] in self.private:
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what only superusers give, and what this person does not show."""
        user: Any = request.user
        if obj is not None:
            obj.shown_memberships = shown_memberships(user, obj)
        hidden = {"password"} if obj and not self.may(request, "change", obj) else set()
        if not user.is_superuser:
            hidden.add("is_superuser")
        if obj and not may_read_account(user, obj):
            hidden |= set(self.private)
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in hidden]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    @display(description="Name")
    def full_name(self, obj: Any) -> str:
        """First and last name."""
        name: str = obj.get_full_name()
        return name or "-"

    @display(description="Works in")
    def works_in(self, obj: Any) -> str:
        """Organizations with the role in each."""
        rows = sorted(getattr(obj, "shown_memberships", ()), key=lambda row: row.organization.name)
        return ", ".join(f"{row.organization} ({row.get_role_display().lower()})" for row in rows) or "-"

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> User:
        """Create or change through the service."""
        own = {"username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser"}
        values = {name: value for name, value in form.cleaned_data.items() if name in own}
        by: Any = request.user
        if change:
            return people.person_update(obj, by=by, **values)
        usable = form.cleaned_data.get("usable_password", True) not in (False, "false")
        password = form.cleaned_data.get("password1") if usable else None
        person = people.person_create(
            by=by, password=password or None, memberships=form.memberships(), **values
        )
        if not password:
            request.muster_invited = person  # type: ignore[attr-defined]
        return person

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Set somebody's password; who wants another one of their own is asked for the old one."""
        person = self.get_object(request, unquote(id))
        if person is not None and person.pk == request.user.pk:
            return HttpResponseRedirect(reverse("admin:password_change"))
        answer: HttpResponse = super().user_change_password(request, id, form_url)
        return answer

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the link by which a person without a password sets one."""
        person = getattr(request, "muster_invited", None)
        if person is None:
            return super().response_add(request, obj, post_url_continue)
        mailed = person.email if may_send() else ""
        if mailed:
            ring(tasks.send_password_links, person.username)
        link = request.build_absolute_uri(link_path(person))
        back = self.link("change", person.pk)
        title = f"{person.username} was invited"
        context = {"link": link, "mailed": mailed, "back": back}
        response = self.page(request, "admin/tenancy/invited.html", title=title, **context)
        response["Cache-Control"] = "no-store"
        return response

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service; nobody deletes themselves."""
        by: Any = request.user
        people.person_delete(obj, by=by)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Delete all through the service, or none."""
        by: Any = request.user
        with refusals():
            people.people_delete(queryset, by=by)
