"""The page of fleet settings with what its variables do to devices.

It stands in `devices`, which knows of no configuration; this adds the panel.
"""

from typing import Any

from django.http import HttpRequest

from config_merge.admin.effect import MOST_DEVICES, EffectPanel
from config_merge.services import preview
from config_merge.services.preview import Preview
from devices.admin import FleetSettingsAdmin


class FleetSettingsPage(EffectPanel, FleetSettingsAdmin):
    """How an organization's devices register, and the variables they share."""

    effect_fields = frozenset({"context"})

    def effect(self, request: HttpRequest, obj: Any, form: Any) -> Preview:
        """Return what new variables do."""
        context = form.cleaned_data["context"]
        return preview.organization_variables_preview(obj, context, limit=MOST_DEVICES)
