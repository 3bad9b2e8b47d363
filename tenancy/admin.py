"""Admin pages of people and organizations: users, organizations, API tokens, notifications.

Invariant: a token's secret is shown in the answer that creates it only.
"""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from unfold.decorators import action, display
from unfold.forms import UserChangeForm

from core.wake import ring
from tenancy import admin_audit, people, services, tasks
from tenancy.admin_api_keys import ApiKeyAdmin
from tenancy.admin_base import (
    OrganizationFilter,
    ScopedAdmin,
    badge_classes,
    refusals,
    several,
)
from tenancy.admin_members import MembershipInline
from tenancy.admin_people import InvitationForm, PasswordForm
from tenancy.admin_sign_in import sign_in_wait
from tenancy.admin_webhooks import WebhookAdmin
from tenancy.authority import may_read_account, obstacle_to, people_visible_to, shown_memberships
from tenancy.links import link_path, may_send
from tenancy.models import ApiToken, Notification, Organization, Role, User
from tenancy.organizations import organization_remove
from tenancy.policy import allows
from tenancy.queries import organization_ids_where, roles_of
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
LEVEL_TONES = {"info": "info", "warning": "warning", "error": "danger"}

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


@admin.register(ApiToken)
class ApiTokenAdmin(ScopedAdmin):
    """Bearer tokens: each person their own; superusers see everybody's, but not the secrets."""

    list_display = ("name", "user", "shown_prefix", "created", "expires_at", "last_used_at")
    search_fields = ("name", "prefix")
    fields = ("name", "expires_at")
    readonly_fields = ("user", "shown_prefix", "created", "last_used_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A token that exists has a story."""
        return (
            ("name", "user", "shown_prefix", "created", "expires_at", "last_used_at") if obj else self.fields
        )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Leave out what was revoked."""
        user: Any = request.user
        living = ApiToken.objects.select_related("user").filter(revoked_at__isnull=True)
        return living if user.is_superuser else living.filter(user=user)

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """Tokens belong to people: add, look at and revoke one's own; never change one."""
        user: Any = request.user
        if not (user.is_active and user.is_staff) or action == "change":
            return False
        return obj is None or user.is_superuser or obj.user_id == user.pk

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Everyone who may sign in here."""
        return self.may(request, "view")

    @display(description="Starts with", ordering="prefix")
    def shown_prefix(self, obj: Any) -> str:
        """The first digits, to tell tokens apart."""
        return format_html("<code>{}…</code>", obj.prefix)

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> ApiToken:
        """Issue through the service and keep the secret for this answer."""
        user: Any = request.user
        token, secret = services.token_issue(user=user, **form.values())
        request.muster_secret = secret  # type: ignore[attr-defined]
        return token

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret here and now: a message would travel in a cookie."""
        context = {"secret": request.muster_secret, "back": self.link("changelist")}  # type: ignore[attr-defined]
        response = self.page(
            request, "admin/tenancy/token_issued.html", title=f"API token {obj.name}", **context
        )
        response["Cache-Control"] = "no-store"
        return response

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """To delete a token is to revoke it."""
        services.token_revoke(obj)


def target_link(notification: Any) -> str:
    """Return the admin page of what a notification is about, or nothing."""
    if not notification.target_id:
        return ""
    for model in admin.site._registry:
        if model._meta.model_name == notification.target_type:
            try:
                name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
                return reverse(name, args=[notification.target_id])
            except NoReverseMatch:
                return ""
    return ""


@admin.register(Notification)
class NotificationAdmin(ScopedAdmin):
    """What people of an organization should know."""

    list_display = ("shown_level", "shown_message", "organization", "created", "is_read")
    list_display_links = ("shown_message",)
    list_filter = (OrganizationFilter, "level", "is_read")
    list_select_related = ("organization",)
    search_fields = ("message",)
    actions = ("mark_read", "mark_unread")
    fields = ("shown_level", "message", "target", "organization", "kind", "created", "is_read")
    readonly_fields = ("shown_level", "target", "created")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only the product writes notifications."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Their text stays as it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """They stay."""
        return False

    def has_mark_permission(self, request: HttpRequest) -> bool:
        """Whether someone may say that they were read."""
        return self.may(request, "change")

    @display(description="Level", ordering="level")
    def shown_level(self, obj: Any) -> str:
        """A coloured badge."""
        return format_html(
            '<span class="{}">{}</span>', badge_classes(LEVEL_TONES, obj.level), obj.get_level_display()
        )

    @display(description="Message", ordering="message")
    def shown_message(self, obj: Any) -> str:
        """Unread ones stand out."""
        return format_html('<span class="{}">{}</span>', "" if obj.is_read else "mu-strong", obj.message)

    @display(description="About")
    def target(self, obj: Any) -> str:
        """A link to the object, as long as it exists."""
        link = target_link(obj)
        return format_html('<a class="mu-link" href="{}">{}</a>', link, obj.target_type) if link else "-"

    @action(description="Mark as read", permissions=["mark"])
    def mark_read(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Mark the selected ones as read."""
        self._mark(request, queryset, is_read=True)

    @action(description="Mark as unread", permissions=["mark"])
    def mark_unread(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Mark the selected ones as unread."""
        self._mark(request, queryset, is_read=False)

    def _mark(self, request: HttpRequest, queryset: models.QuerySet[Any], *, is_read: bool) -> None:
        user: Any = request.user
        if not user.is_superuser:
            queryset = queryset.filter(organization__in=organization_ids_where(user, "change", Notification))
        count = services.notifications_mark(
            Notification.objects.filter(pk__in=queryset.values("pk")), is_read=is_read
        )
        messages.success(
            request, f"{several('notification', count)} marked as {'read' if is_read else 'unread'}."
        )


def unread_badge(request: HttpRequest) -> str:
    """Return how many notifications nobody has read yet, for the side bar; at most "99+"."""
    rows = admin.site._registry[Notification].get_queryset(request).filter(is_read=False).order_by()
    count = len(rows.values_list("pk", flat=True)[:100])
    return "" if not count else "99+" if count > 99 else str(count)
