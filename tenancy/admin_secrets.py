"""Secrets on admin pages: forms that never print them, and the one door through which a person may see them.

Invariant: a secret leaves only by a POST of someone who may see the object and `may_reveal` in its organization, and
every time it does is written to the audit trail.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, path

from core.admin import SecretInput
from core.redaction import mark_of
from core.secret_fields import RedactedJsonField, SecretField, object_secrets
from tenancy import audit
from tenancy.admin_base import ScopedAdmin, ServiceForm
from tenancy.queries import may_reveal

Secrets = Mapping[str, Any]


@transaction.atomic
def secret_revealed(obj: models.Model, *, organization_id: UUID | None, part: str) -> None:
    """Write down that the current actor is shown the secrets of a part of an object."""
    audit.record("secret.revealed", obj, organization_id=organization_id, changes={"part": ("", part)})


class SecretForm(ServiceForm):
    """A form whose secret fields know what is stored; `reveal_url` is empty for who may not see it."""

    reveal_url = ""
    secret_names: Callable[[Any, str], Iterable[str]] = staticmethod(lambda _obj, _part: ())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = not self.instance._state.adding
        for name, field in self.fields.items():
            if isinstance(field, SecretField):
                field.stored = (getattr(self.instance, name, "") or "") if known else ""
                field.required = field.required and not field.stored
                self.initial[name] = ""
                widget: Any = field.widget
                if isinstance(widget, SecretInput):
                    widget.is_known = bool(field.stored)
                    widget.reveal_url = self.reveal_url if field.stored else ""
            elif isinstance(field, RedactedJsonField):
                stored = getattr(self.instance, name, None) if known else None
                names = self.secret_names(self.instance, name) if stored else ()
                self.initial[name] = field.holds(
                    stored if isinstance(stored, dict) else {}, secret_names=names
                )
                self.offer_reveal(name)

    def offer_reveal(self, name: str) -> None:
        """Let the page offer to reveal a JSON field that holds marks."""
        field = self.fields[name]
        if isinstance(field, RedactedJsonField) and field.secrets() and self.reveal_url:
            field.widget.attrs |= {"data-reveal-url": self.reveal_url, "data-reveal-part": name}

    def values(self) -> dict[str, Any]:
        """Leave out secrets nobody edited: they may have been replaced since the form was opened."""
        untouched = {
            name
            for name, field in self.fields.items()
            if isinstance(field, SecretField) and field.stored and name not in self.changed_data
        }
        return {name: value for name, value in super().values().items() if name not in untouched}


class SecretsAdmin(ScopedAdmin):
    """Adds the door. `secret_fields` are single secrets of the model, `redacted_fields` its JSON with secrets in it."""

    form = SecretForm
    secret_fields: tuple[str, ...] = ()
    redacted_fields: tuple[str, ...] = ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Use the fields that print no secret."""
        if db_field.name in self.secret_fields:
            kwargs |= {"form_class": SecretField, "widget": SecretInput()}
        elif db_field.name in self.redacted_fields:
            kwargs |= {"form_class": RedactedJsonField}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Tell the form where secrets are revealed, if its user may see them."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.reveal_url = self.reveal_url(request, obj)
        form.secret_names = staticmethod(self.secret_names)
        return form

    def secret_names(self, obj: Any, part: str) -> Iterable[str]:
        """Return the names in a JSON field that are secret though their words do not tell."""
        return ()

    def may_reveal(self, request: HttpRequest, obj: Any) -> bool:
        """Tell whether the user may see the object's secrets."""
        return self.may(request, "view", obj) and may_reveal(request.user, self.organization_id_of(obj))

    def reveal_url(self, request: HttpRequest, obj: Any) -> str:
        """Return where to ask for the object's secrets, "" for who may not."""
        return self.link("reveal", obj.pk) if obj is not None and self.may_reveal(request, obj) else ""

    def get_urls(self) -> list[URLPattern]:
        """Put ours before Django's, whose last pattern matches everything."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_reveal"
        own = path("<uuid:pk>/reveal/", self.admin_site.admin_view(self.reveal_view), name=name)
        return [own, *super().get_urls()]

    def secrets_of_part(self, obj: Any, part: str) -> Secrets | None:
        """Return the secrets of a part of the object by their marks; None when there is no such part."""
        if part in self.secret_fields:
            value = getattr(obj, part)
            return {mark_of(value): value} if value else {}
        if part in self.redacted_fields:
            return object_secrets(getattr(obj, part) or {}, self.secret_names(obj, part))
        return None

    def reveal_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Answer with secrets by their marks, and write down who saw them."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        obj = self.get_object(request, str(pk))
        if obj is None:
            return self.missing(request, pk)
        if not self.may_reveal(request, obj):
            raise PermissionDenied
        part = request.POST.get("part", "")
        secrets = self.secrets_of_part(obj, part)
        if secrets is None:
            return JsonResponse({"error": "There is nothing of this name to reveal."}, status=400)
        secret_revealed(obj, organization_id=self.organization_id_of(obj), part=part)
        return JsonResponse({"secrets": secrets}, headers={"Cache-Control": "no-store"})
