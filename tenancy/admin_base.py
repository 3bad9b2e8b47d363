"""What admin pages of tenant-owned objects share: which rows, which permissions, how writes are refused.

Invariant: rows, choices and filters start from the organizations of the user; an object of another
organization is answered exactly like an unknown one; permissions come from `tenancy.policy` and from nowhere
else. Writes go through services, and what a service refuses is shown on the form.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    FieldDoesNotExist,
    ObjectDoesNotExist,
    PermissionDenied,
    ValidationError,
)
from django.db import DataError, IntegrityError, models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from core.admin import JsonEditor, JsonObjectField
from core.errors import Conflict, Forbidden
from core.fields import EncryptedJSONField
from tenancy.models import Organization
from tenancy.policy import allows
from tenancy.queries import organization_ids_where, restrict, roles_of

JSON_OVERRIDE = {"form_class": JsonObjectField, "widget": JsonEditor}


class Refused(Exception):
    """A service said no to a form; `error` tells why, by field."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn what services raise on purpose into `Refused`."""
    try:
        yield
    except ValidationError as error:
        raise Refused(error) from error
    except (Forbidden, Conflict) as error:
        raise Refused(ValidationError(str(error))) from error
    except IntegrityError as error:
        raise Refused(ValidationError("The change conflicts with another object.")) from error
    except DataError as error:
        raise Refused(ValidationError("The database cannot store one of the values.")) from error
    except ObjectDoesNotExist as error:
        raise Refused(ValidationError("The object does not exist any more.")) from error


def reason_of(refused: Refused) -> str:
    """Return a refusal as one line of text."""
    return " ".join(refused.error.messages)


class RefusalMixin(forms.ModelForm):
    """Shows a service's refusal as the form's errors."""

    request: HttpRequest

    def full_clean(self) -> None:
        """Validate, then add what a service said about these values."""
        super().full_clean()
        refused: ValidationError | None = getattr(self.request, "muster_refused", None)
        if not self.is_bound or refused is None or self.errors:
            return
        by_field = (
            refused.message_dict if hasattr(refused, "error_dict") else {NON_FIELD_ERRORS: refused.messages}
        )
        for name, texts in by_field.items():
            self.add_error(name if name in self.fields else None, texts)


class ServiceForm(RefusalMixin):
    """A form whose object is written by a service."""

    def values(self) -> dict[str, Any]:
        """Return the cleaned values of the model's own fields."""
        own = {field.name for field in self._meta.model._meta.fields}
        return {name: value for name, value in self.cleaned_data.items() if name in own}


class ScopedChangeList(ChangeList):
    """A list that leaves out the columns it does not show."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> models.QuerySet[Any]:
        """Return the page's rows without `list_deferred`."""
        queryset = super().get_queryset(request, exclude_parameters)
        deferred: Sequence[str] = getattr(self.model_admin, "list_deferred", ())
        return queryset.defer(*deferred) if deferred else queryset

    def get_results(self, request: HttpRequest) -> None:
        """Count once; "Show all" is only offered where something was left out."""
        super().get_results(request)
        if not (self.query or self.has_active_filters):
            self.full_result_count = self.result_count


class ScopedPermissions:
    """Permissions by role in the object's organization; mixed into pages and inlines."""

    has_shared = False

    def organization_id_of(self, obj: Any) -> UUID | None:
        """Return the organization an object belongs to; None when it is shared."""
        identifier: UUID | None = obj.organization_id
        return identifier

    def may(self, request: HttpRequest, action: str, obj: Any = None) -> bool:
        """Tell whether the user may do `action` to `obj`, or to some object when none is named."""
        user: Any = request.user
        model = self.model  # type: ignore[attr-defined]
        if not (user.is_active and user.is_staff):
            return False
        if user.is_superuser:
            return True
        roles = roles_of(user)
        identifier = self.organization_id_of(obj) if obj is not None else None
        if identifier is not None:
            return allows(roles.get(identifier), action, model)
        shared_row = obj is not None
        if shared_row and not (self.has_shared and action == "view"):
            return False
        return any(allows(role, action, model) for role in roles.values())

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """By role."""
        return self.may(request, "view", obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """By role."""
        return self.may(request, "add", obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """By role."""
        return self.may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """By role."""
        return self.may(request, "delete", obj)


def choices_of(admin: "BaseModelAdmin[Any]", field: Any, request: HttpRequest) -> models.QuerySet[Any]:
    """Return what a relation may be set to: organizations one writes in, else what the other page lists."""
    target: Any = field.related_model
    if target is Organization:
        user: Any = request.user
        if user.is_superuser:
            return Organization.objects.all()
        return Organization.objects.filter(pk__in=organization_ids_where(user, "add", admin.model))
    registered = admin.admin_site._registry.get(target)
    return registered.get_queryset(request) if registered else target._default_manager.none()


class ScopedAdmin(ScopedPermissions, ModelAdmin):
    """The base of every page. Subclasses set `organization_path`, `has_shared`, and `write` / `remove`."""

    form = ServiceForm
    organization_path = "organization"
    list_deferred: Sequence[str] = ()
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 200
    list_filter_submit = True
    warn_unsaved_form = True
    formfield_overrides = {
        EncryptedJSONField: JSON_OVERRIDE,
        models.JSONField: JSON_OVERRIDE,
        models.URLField: {"assume_scheme": "https"},
    }
    bulk_limit = 500

    def write(self, request: HttpRequest, obj: Any, form: Any, *, change: bool) -> Any:
        """Hand the form's values to the service; returns the stored object."""
        raise ValidationError("This object cannot be edited here.")

    def remove(self, request: HttpRequest, obj: Any) -> None:
        """Hand the object to the service that deletes it."""
        raise ValidationError("This object cannot be deleted here.")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Use the list above."""
        return ScopedChangeList

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Keep the rows of the user's organizations."""
        queryset = super().get_queryset(request)
        return restrict(queryset, request.user, shared=self.has_shared, path=self.organization_path)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Give the form class of this request its request."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        if not issubclass(form, RefusalMixin):
            form = type(form.__name__, (RefusalMixin, form), {})
        form.request = request
        return form

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Choices come without pop-up buttons."""
        formfield: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if formfield is not None and isinstance(formfield.widget, RelatedFieldWidgetWrapper):
            formfield.widget = formfield.widget.widget
        return formfield

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer and accept only what the user may point at."""
        kwargs.setdefault("queryset", choices_of(self, db_field, request))
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.related_model is Organization and not getattr(request.user, "is_superuser", False):
            field.required = True
            field.help_text = ""
        return field

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the form again with the service's words when it refuses; nothing was written then."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refused as refused:
            request.muster_refused = refused.error  # type: ignore[attr-defined]
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write through the service."""
        with refusals():
            stored = self.write(request, obj, form, change=change)
        obj.pk = stored.pk
        obj._state.adding = False

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        with refusals():
            self.remove(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Delete all through the service, or none."""
        for obj in queryset:
            self.delete_model(request, obj)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show why an action on several objects did nothing."""
        if ACTION_CHECKBOX_NAME in request.POST:
            self._drop_malformed_selection(request)
        try:
            return super().changelist_view(request, extra_context)
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return HttpResponseRedirect(request.get_full_path())

    def _drop_malformed_selection(self, request: HttpRequest) -> None:
        """Leave only keys in the selection that could exist; without any, nothing is selected."""
        primary: Any = self.opts.pk
        keys = []
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            with contextlib.suppress(ValidationError):
                primary.to_python(key)
                keys.append(key)
        posted: Any = request.POST.copy()
        posted.setlist(ACTION_CHECKBOX_NAME, keys)
        request.POST = posted

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Filter by declared filters and own columns only: behind a relation may be another organization's rows."""
        values = value if isinstance(value, list | tuple) else (value,)
        if any("\x00" in str(item) for item in values):
            return False  # no text of PostgreSQL's holds it, not even one to compare with
        declared = {getattr(entry, "parameter_name", None) for entry in self.get_list_filter(request)}
        if lookup in declared:
            return True
        name, *path = lookup.split("__")
        try:
            field: Any = self.opts.pk if name == "pk" else self.opts.get_field(name)
        except FieldDoesNotExist:
            return False
        if not field.concrete or field.many_to_many:
            return False
        if field.is_relation and path not in ([], ["exact"], ["in"], ["isnull"]):
            return False
        return super().lookup_allowed(lookup, value, request)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show why an object stays."""
        try:
            return super().delete_view(request, object_id, extra_context)
        except Refused as refused:
            messages.error(request, reason_of(refused))
            return HttpResponseRedirect(self.link("change", object_id))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name the objects alone: to collect what hangs on a template of 10,000 devices takes minutes."""
        rows = list(objs)
        lacking = (
            {self.opts.verbose_name}
            if any(not self.has_delete_permission(request, row) for row in rows)
            else set()
        )
        return [str(row) for row in rows], {self.opts.verbose_name_plural: len(rows)}, lacking, []

    def link(self, page: str, *args: Any) -> str:
        """Return the path of one of this model's pages."""
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)

    def require(self, request: HttpRequest, action: str, obj: Any) -> None:
        """Raise PermissionDenied unless the user may do `action` to `obj`, which they can see."""
        if not self.may(request, action, obj):
            raise PermissionDenied

    def missing(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Answer for an object that is not there, or not for this user."""
        return self._get_obj_does_not_exist_redirect(request, self.opts, str(object_id))

    def page(
        self, request: HttpRequest, template: str, *, original: Any = None, title: str, **context: Any
    ) -> TemplateResponse:
        """Render a page of our own inside the admin's frame."""
        frame = self.admin_site.each_context(request)
        own = {"opts": self.opts, "original": original, "title": title, "model_admin": self}
        return TemplateResponse(request, template, {**frame, **own, **context})

    def confirm(
        self, request: HttpRequest, *, original: Any, title: str, text: str, button: str, danger: bool = False
    ) -> TemplateResponse:
        """Ask before an action on one object; the answer is a POST to the same address."""
        context = {"text": text, "button": button, "danger": danger, "back": self.link("change", original.pk)}
        return self.page(request, "admin/tenancy/confirm.html", original=original, title=title, **context)


def several(singular: str, count: int, plural: str = "") -> str:
    """Return "1 device" or "2 devices".

    >>> several("device", 1), several("device", 0), several("entry", 2, "entries")
    ('1 device', '0 devices', '2 entries')
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def badge_classes(tones: Mapping[str, str], value: str) -> str:
    """Return the classes of a coloured badge."""
    return f"mu-badge mu-badge--{tones.get(value, 'plain')}"
