"""The form of a boot configuration: scripts as text, images as address and digest, the rest as JSON.

Invariant: a member that was not edited is stored again byte for byte, whatever its text looks like here.
"""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from boot import editing
from boot.documents import IMAGES, SCRIPTS
from boot.models import BootConfig
from core.admin import JsonEditor, parse_json
from tenancy.admin_base import ServiceForm

NO_TEXT = "What is stored is no text: it stays as it is as long as this is empty."
HELP = {
    "bootcode": "Runs before the root file system is there; a script that fails stops the boot.",
    "usercode": "Runs once the machine is up.",
}


class ScriptField(forms.CharField):
    """A script as text, with the line ends of Unix."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(
            attrs={
                "rows": 10,
                "spellcheck": "false",
                "autocapitalize": "none",
                "autocomplete": "off",
                "data-boot-script": "",
            }
        )
        widget.attrs["class"] = f"{widget.attrs.get('class', '')} mu-boot-script"
        super().__init__(required=False, strip=False, widget=widget, **kwargs)

    def to_python(self, value: Any) -> str:
        """Return the text."""
        return _unix(super().to_python(value) or "")

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Browsers send the line ends of DOS, which are no edit."""
        return _unix(initial or "") != _unix(data or "")


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


class JsonValueField(forms.CharField):
    """Any JSON value as text; empty means {}."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False, strip=False, widget=JsonEditor(attrs={"data-boot-json": ""}), **kwargs
        )

    def to_python(self, value: Any) -> Any:
        """Return the value. Raises ValidationError."""
        text = str(value or "")
        if "\x00" in text:
            raise ValidationError("Null characters are not allowed.", code="null_characters_not_allowed")
        return parse_json(text) if text.strip() else {}

    def run_validators(self, value: Any) -> None:
        """Validators of text do not apply."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Tell whether the value differs; blanks and the order of keys do not count."""
        try:
            return bool(self.to_python(data) != self.to_python(initial))
        except ValidationError:
            return True


def _address() -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(
        attrs={"spellcheck": "false", "autocomplete": "off", "data-boot-text": ""}
    )
    return forms.CharField(label="Address", required=False, max_length=2000, widget=widget)


def _digest() -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(
        attrs={"spellcheck": "false", "autocomplete": "off", "data-boot-text": ""}
    )
    help_text = "32 hexadecimal digits; the machine checks what it has downloaded."
    return forms.CharField(label="MD5", required=False, max_length=32, widget=widget, help_text=help_text)


class BootConfigForm(ServiceForm):
    """What one device of a key boots, `default` for all without a configuration of their own."""

    device = forms.CharField(
        label="Device",
        max_length=255,
        strip=False,
        help_text="What the machine calls itself, usually its MAC address in lower case, such as b8:27:eb:00:00:01; "
        "default is for all that have none of their own.",
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )
    initfs_url, initfs_md5sum = _address(), _digest()
    rootfs_url, rootfs_md5sum = _address(), _digest()
    bootcode = ScriptField(label="Boot code", help_text=HELP["bootcode"])
    usercode = ScriptField(label="User code", help_text=HELP["usercode"])
    config = JsonValueField(label="Configuration", help_text="Any JSON; devices get it as it is.")

    class Meta:
        model = BootConfig
        fields = ("api_key", "device")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        row: BootConfig = self.instance
        self.stored: Mapping[str, Any] = row.document if row.body else editing.EMPTY
        if "bootcode" not in self.fields:
            return
        shown: Mapping[str, Any] = getattr(self, "shown", None) or editing.hidden(self.stored)
        for name in IMAGES:
            for part in ("url", "md5sum"):
                self.initial[f"{name}_{part}"] = shown[name][part]
        for name in SCRIPTS:
            if editing.is_text(self.stored[name]):
                self.initial[name] = editing.script_text(shown[name])
            else:
                self.fields[name].help_text = f"{HELP[name]} {NO_TEXT}"
        self.initial["config"] = json.dumps(shown["config"], indent=2, ensure_ascii=False)

    def document(self) -> dict[str, Any]:
        """Return the whole document that was asked for. Raises ValidationError by field."""
        shown: Mapping[str, Any] = getattr(self, "shown", None) or editing.hidden(self.stored)
        sent: dict[str, Any] = {}
        for name in IMAGES:
            parts = {part: self.cleaned_data[f"{name}_{part}"] for part in ("url", "md5sum")}
            sent[name] = {**shown[name], **parts}
        for name in SCRIPTS:
            edited = name in self.changed_data
            sent[name] = editing.script_member(self.cleaned_data[name]) if edited else shown[name]
        sent["config"] = self.cleaned_data["config"] if "config" in self.changed_data else shown["config"]
        if shown == self.stored:
            return sent
        return editing.put_back(sent, stored=self.stored)
