"""The page of fleet settings with what its variables do to devices.

It stands in `devices`, which knows of no configuration; this adds the panel.
"""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest

from config_merge.admin.effect import MOST_DEVICES, EffectPanel
from config_merge.carrying import secret_names_of
from config_merge.services import job_previews, preview
from config_merge.services.preview import Preview
from devices.admin import FleetSettingsAdmin


class FleetSettingsPage(EffectPanel, FleetSettingsAdmin):
    """How an organization's devices register, and the variables they share."""

    effect_fields = frozenset({"context"})

    def secret_names(self, obj: Any, part: str) -> Iterable[str]:
        """A variable that a template of the organization puts at a secret place is one."""
        return secret_names_of([obj.pk])

    def effect(self, request: HttpRequest, obj: Any, form: Any) -> Preview:
        """Return what new variables do."""
        context = form.cleaned_data["context"]
        return preview.organization_variables_preview(obj, context, limit=MOST_DEVICES)

    def proposed(self, obj: Any, form: Any) -> dict[str, Any]:
        """Return the same for a job."""
        changes = {"context": form.cleaned_data["context"]}
        return job_previews.packed(kind="variables", pk=obj.pk, changes=changes)
