"""The widgets of the device form: ordered templates with what one needs to choose, and variables as rows."""

from typing import Any
from uuid import UUID

from unfold.widgets import UnfoldAdminTextareaWidget

from config_merge.models import Template
from core.admin import OrderedSelect


def template_facts(template: Template) -> dict[str, Any]:
    """Return what a chip shows of a template: its badges as (text, tone), and whether it may be taken away."""
    badges = [(template.get_backend_display(), "plain")]
    organization = template.organization
    badges.append((organization.name, "plain") if organization is not None else ("shared", "info"))
    if template.required:
        badges.append(("required", "warning"))
    elif template.default:
        badges.append(("default", "success"))
    return {"name": template.name, "badges": badges, "locked": template.required}


class TemplatesSelect(OrderedSelect):
    """Chosen templates in merge order, dragged by a handle."""

    def create_option(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Add what the chip shows."""
        option: dict[str, Any] = super().create_option(*args, **kwargs)
        template: Any = getattr(option["value"], "instance", None)
        if isinstance(template, Template):
            facts = template_facts(template)
            option["attrs"] |= {
                "data-name": facts["name"],
                "data-badges": "|".join(f"{text}:{tone}" for text, tone in facts["badges"]),
            }
            if facts["locked"]:
                option["attrs"]["data-locked"] = ""
        return option


class VariablesEditor(UnfoldAdminTextareaWidget):
    """Variables as rows of name and value beside those the system defines; the JSON stays one click away."""

    template_name = "admin/config_merge/variables_widget.html"

    class Media:
        js = ("config_merge/variables.js",)
        css = {"all": ("config_merge/device.css",)}

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        given = {"rows": 8, "spellcheck": "false", "autocomplete": "off", "data-variables-text": ""}
        super().__init__(attrs={**given, **(attrs or {})})
        self.attrs["class"] = f"{self.attrs.get('class', '')} mu-variables__text".strip()
        self.system_url = ""
        self.device_id: UUID | None = None

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Add where the system's variables come from."""
        context: dict[str, Any] = super().get_context(name, value, attrs)
        context["widget"]["system"] = {"url": self.system_url, "device": self.device_id or ""}
        return context
