"""Form fields and widgets of the admin that know no domain word: JSON objects, secrets, ordered choices.

Invariant: whatever a person types comes back as a form error, never as another exception, and a value is
shown again exactly as it was typed.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NoReturn

from django import forms
from django.core.exceptions import ValidationError
from django.forms.widgets import Script
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from unfold.forms import AuthenticationForm
from unfold.widgets import (
    INPUT_CLASSES,
    SELECT_CLASSES,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminTextareaWidget,
)

from core.api_fields import MAX_DEPTH, problem_with
from core.canonical import canonical_json


class SignInForm(AuthenticationForm):
    """Says that an e-mail address will do as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "Username or e-mail address"


DOTS = "\u2022" * 12


class JsonEditor(UnfoldAdminTextareaWidget):
    """A JSON editor that says while one types what is wrong; without its script a monospace text area.

    The attributes that tell it of a schema and of a check by the server are described in json-editor.js.
    """

    class Media:
        css: ClassVar[dict[str, Any]] = {"all": ("core/json-editor.css",)}
        js = (Script("core/json-editor.js", type="module"),)

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs={"rows": 12, "spellcheck": "false", "autocomplete": "off", **(attrs or {})})
        self.attrs["class"] = f"{self.attrs.get('class', '')} mu-json".strip()

    def build_attrs(self, base_attrs: dict[str, Any], extra_attrs: dict[str, Any] | None = None) -> Any:
        """Name the editor's module; its address is known only once files are served."""
        attrs = super().build_attrs(base_attrs, extra_attrs)
        return {**attrs, "data-bundle": static("vendor/vanilla-jsoneditor/standalone.js")}


class SecretInput(forms.TextInput):
    """A text input for a secret that is never printed: empty means unchanged, and who may, asks to see it.

    The form sets `reveal_url` and `reveal_part` for who may see the stored secret, and `is_known` when there is one.
    """

    template_name = "core/secret_input.html"
    reveal_url = ""
    reveal_part = ""
    is_known = False

    class Media:
        js = ("core/secrets.js",)

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        classes = " ".join([*INPUT_CLASSES, "mu-secret__input"])
        given = {"class": classes, "autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        super().__init__(attrs={**given, **(attrs or {})})

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """Add whether there is something to reveal."""
        placeholder = {"placeholder": f"{DOTS} unchanged unless edited"} if self.is_known else {}
        context = super().get_context(name, value or None, {**(attrs or {}), **placeholder})
        context["widget"]["reveal"] = {"url": self.reveal_url, "part": self.reveal_part or name}
        return context


def secret_text(value: str, *, reveal_url: str = "", part: str = "key") -> SafeString:
    """Return dots in place of a stored secret, with buttons for who may see it; the secret is not in the page."""
    buttons = (
        mark_safe(
            '<button type="button" class="mu-button mu-button--small" data-secret-show>Reveal</button>'
            '<button type="button" class="mu-button mu-button--small" data-secret-copy>Copy</button>'
        )
        if reveal_url and value
        else ""
    )
    return format_html(
        '<span class="mu-secret" data-secret data-reveal-url="{}" data-reveal-part="{}">'
        '<code class="mu-secret__text" data-secret-text>{}</code>{}</span>',
        reveal_url,
        part,
        DOTS if value else "-",
        buttons,
    )


def json_text(value: Any) -> SafeString:
    """Return a JSON value for reading."""
    return format_html('<pre class="mu-code">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


class TypedJson(str):
    """Text of a JSON field as a person typed it, to be shown again unchanged."""


# The same limits as over REST.
PROBLEMS = {
    "null_character": "Null characters are not allowed.",
    "too_deep": f"The supplied value is nested too deeply (at most {MAX_DEPTH} levels).",
}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(text: str) -> Any:
    """Parse JSON that can be stored and rendered. Raises ValidationError that names line and column."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        problem = problem_with(value)
        if problem is None:
            canonical_json(value)
    except json.JSONDecodeError as error:
        raise ValidationError(
            f"Not valid JSON: {error.msg} (line {error.lineno}, column {error.colno}).", code="invalid"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValidationError("Not valid JSON that can be stored.", code="invalid") from error
    if problem is not None:
        raise ValidationError(PROBLEMS[problem], code=problem)
    return value


class JsonObjectField(forms.CharField):
    """A JSON object as text; empty means {}."""

    widget = JsonEditor

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("encoder", None)
        kwargs.pop("decoder", None)
        super().__init__(**{**kwargs, "strip": False, "required": False})

    def to_python(self, value: Any) -> dict[str, Any]:
        """Return the object. Raises ValidationError."""
        if isinstance(value, dict):
            return value
        text = str(value or "")
        if "\x00" in text:
            raise ValidationError("Null characters are not allowed.", code="null_characters_not_allowed")
        if not text.strip():
            return {}
        parsed = parse_json(text)
        if not isinstance(parsed, dict):
            raise ValidationError("The supplied value is not a JSON object.", code="invalid")
        return parsed

    def run_validators(self, value: Any) -> None:
        """Validators of text do not apply to an object."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show again what was typed."""
        return initial if self.disabled else TypedJson(data or "")

    def prepare_value(self, value: Any) -> str:
        """Return the text to edit."""
        if isinstance(value, TypedJson):
            return value
        return json.dumps(value or {}, indent=2, ensure_ascii=False)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tell whether the object differs; blanks and the order of keys do not count."""
        if self.disabled:
            return False
        start = initial() if callable(initial) else initial
        try:
            return self.to_python(data) != (start or {})
        except ValidationError:
            return True


class OrderedSelect(UnfoldAdminSelectMultipleWidget):
    """A multiple select whose chosen options come first, in order; so a browser submits them in that order.

    The script turns it into a list with buttons; without it, it is the plain select.
    """

    template_name = "core/ordered_select.html"
    option_template_name = "core/ordered_option.html"

    class Media:
        js = ("core/ordered-select.js",)
        css = {"all": ("core/ordered.css",)}

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs={"class": " ".join(SELECT_CLASSES), "size": 8, **(attrs or {})})

    def optgroups(self, name: str, value: Sequence[str], attrs: dict[str, Any] | None = None) -> Any:
        """Return one group of options, the chosen first."""
        place = {chosen: index for index, chosen in enumerate(value)}
        options = [option for _, group, _ in super().optgroups(name, list(value), attrs) for option in group]
        options.sort(key=lambda option: place.get(str(option["value"]), len(place)))
        return [(None, options, 0)]


class OrderedChoiceField(forms.ModelMultipleChoiceField):
    """Rows in the order they were chosen."""

    widget = OrderedSelect

    def clean(self, value: Any) -> list[Any]:
        """Return the chosen rows in order, each once. Raises ValidationError."""
        rows = {str(row.pk): row for row in super().clean(value)}
        return [rows[key] for key in dict.fromkeys(str(item) for item in value or ()) if key in rows]

    def prepare_value(self, value: Any) -> Any:
        """Return keys as text, in order."""
        if isinstance(value, Iterable) and not isinstance(value, str):
            return [str(getattr(item, "pk", item)) for item in value]
        return super().prepare_value(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tell whether rows or their order differ."""
        before = [str(getattr(item, "pk", item)) for item in initial or ()]
        return not self.disabled and before != [str(item) for item in data or ()]
