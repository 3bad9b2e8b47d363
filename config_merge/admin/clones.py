"""Copying templates from their list."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget

from config_merge.models import Template
from config_merge.services.cloning import template_clone
from tenancy.admin_base import Refused, ScopedAdmin, reason_of, refusals, several
from tenancy.models import Organization
from tenancy.queries import organization_ids_where

MOST = 50


class TargetForm(forms.Form):
    """Where the copies go."""

    organization = forms.ModelChoiceField(
        queryset=Organization.objects.none(), required=False, widget=UnfoldAdminSelectWidget()
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["organization"]
        field.queryset = Organization.objects.all()
        if user.is_superuser:
            field.empty_label = "Shared with every organization"
        else:
            allowed = organization_ids_where(user, "add", Template)
            field.queryset = Organization.objects.filter(pk__in=list(allowed))
            field.required = True
            field.empty_label = None


class TemplateClones(ScopedAdmin):
    """Adds the action to the template list."""

    actions = ("clone_selected",)

    def has_clone_permission(self, request: HttpRequest) -> bool:
        """Whether the user may add templates somewhere."""
        return self.may(request, "add")

    @action(description="Clone", permissions=["clone"])
    def clone_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        """Copy the selected templates into an organization; no device gets a copy by itself."""
        form = TargetForm(request.POST if "confirmed" in request.POST else None, user=request.user)
        rows = list(Template.objects.filter(pk__in=queryset.values("pk")).order_by("name", "pk")[: MOST + 1])
        if len(rows) > MOST:
            messages.error(request, f"Select at most {MOST} templates at once.")
            return None
        if not form.is_bound:
            hidden = [
                ("action", request.POST["action"]),
                ("confirmed", "1"),
                ("index", request.POST.get("index", "0")),
            ]
            hidden += [("_selected_action", str(row.pk)) for row in rows]
            return self.page(
                request,
                "admin/tenancy/confirm.html",
                title=f"Clone {several('template', len(rows))}?",
                text="No device gets a copy by itself: copies are neither default nor required.",
                items=[row.name for row in rows[:10]],
                more=max(len(rows) - 10, 0),
                hidden=hidden,
                fields=form,
                button="Clone",
                back=request.get_full_path(),
            )
        if not form.is_valid():
            messages.error(request, "Choose one of the organizations offered.")
            return None
        made = 0
        for row in rows:
            try:
                with refusals():
                    template_clone(row, organization=form.cleaned_data["organization"], user=request.user)
                made += 1
            except Refused as refused:
                messages.warning(request, f"{row}: {reason_of(refused)}")
        if made:
            messages.success(request, f"{several('template', made)} cloned.")
        return None
