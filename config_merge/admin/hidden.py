"""What pages show of configurations and files: marks in place of secrets, and what each mark stands for.

Invariant: a page is built from the hidden form only, for everybody; who may see secrets asks for them afterwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from config_merge import inputs
from config_merge.engine import Effective, File, Leaf, Variable, diff_files
from config_merge.hiding import (
    Secrecy,
    files_hidden,
    history_secrets,
    secret_path,
    secret_variables,
    tree_hidden,
    value_hidden,
    variables_hidden,
)
from config_merge.inputs import Inputs
from config_merge.models import Config, ConfigRevision
from core.redaction import MARK, is_mark, mark_of


@dataclass(frozen=True, slots=True)
class Hidden:
    """An effective configuration without its secrets; `secrets` are those left out, by their marks."""

    tree: dict[str, Any]
    leaves: Mapping[str, Leaf]
    variables: Mapping[str, Variable]
    secrets: dict[str, Any] = field(repr=False)


def inputs_of(config: Config | None) -> Inputs | None:
    """Return what a configuration is made of, None when there is none."""
    found = inputs.load([config]) if config is not None else []
    return found[0] if found else None


def known_secrets(config: Config | None, *revisions: ConfigRevision | None) -> frozenset[str]:
    """Return the secrets that a configuration, or revisions of it, may show."""
    return history_secrets(config, filter(None, revisions)) if config is not None else frozenset()


def hidden_effective(item: Inputs, effective: Effective) -> Hidden:
    """Return an effective configuration without secrets: by place, by variable, and by value in other texts."""
    secrecy = Secrecy()
    secrets = secrecy.secrets(item)
    carriers = variables_hidden(effective) | secret_variable_names(item) | secrecy.names(item.organization_id)
    left_out: dict[str, Any] = {mark_of(secret): secret for secret in secrets}

    def hide(value: Any, *, secret: bool) -> Any:
        shown = value_hidden(value, secrets, secret=secret)
        if is_mark(shown) and not is_mark(value):
            left_out[shown] = value
        return shown

    leaves = {}
    for pointer, leaf in effective.leaves().items():
        secret = secret_path(pointer) or bool(carriers.intersection(leaf.variables))
        overruled = tuple((source, hide(value, secret=secret)) for source, value in leaf.shadowed)
        leaves[pointer] = replace(leaf, value=hide(leaf.value, secret=secret), shadowed=overruled)
    variables = {}
    for name, variable in effective.variables.items():
        secret = name in carriers
        overruled = tuple((source, hide(value, secret=secret)) for source, value in variable.shadowed)
        value = hide(variable.value, secret=secret)
        variables[name] = replace(variable, value=value, shadowed=overruled)
    return Hidden(tree_hidden(effective.tree, secrets), leaves, variables, left_out)


def secret_variable_names(item: Inputs) -> set[str]:
    """Return the names of the variables that stand at secret places of any layer, overruled or not."""
    return {name for layer in item.layers for name in secret_variables(layer.config)}


def hidden_diff(old: Sequence[File], new: Sequence[File], secrets: Iterable[str]) -> str:
    """Return what differs, without secrets: the files lose them first, so that no half of a key is left."""
    known = frozenset(secrets)
    return diff_files(files_hidden(old, known), files_hidden(new, known))


def secrets_in_files(files: Sequence[File], secrets: Iterable[str]) -> dict[str, Any]:
    """Return what each mark in the hidden files stands for."""
    known = frozenset(secrets)
    found: dict[str, Any] = {mark_of(secret): secret for secret in known}
    for file, shown in zip(files, files_hidden(files, known), strict=True):
        found |= aligned(file.path, shown.path) | aligned(file.mode, shown.mode)
        if file.contents != shown.contents:
            found |= aligned(file.contents.decode(), shown.contents.decode())
    return found


def aligned(text: str, shown: str) -> dict[str, str]:
    """Return what each mark in `shown` stands for in `text`, which is the same but for the marks.

    >>> from core.redaction import redacted_text
    >>> text = "\\toption ssid 'x'\\n\\toption key 'it'\\\\''s me'\\n"
    >>> list(aligned(text, redacted_text(text)).values())
    ["it's me"]
    """
    found: dict[str, str] = {}
    between = MARK.split(shown)
    place = len(between[0])
    for mark, following in zip(MARK.findall(shown), between[1:], strict=True):
        end = _end_of(text, place, following, mark)
        if end < 0:
            # A secret written in another way (base64, JSON) does not show its mark; what follows it may.
            end = text.find(following, place)
            if end < 0:
                break
        else:
            found[mark] = text[place:end].replace("'\\''", "'")
        place = end + len(following)
    return found


def _end_of(text: str, start: int, following: str, mark: str) -> int:
    """Return where the secret at `start` ends: before `following`, at the place that fits its mark; -1 if nowhere."""
    if not following:
        return len(text)
    end = text.find(following, start)
    for _ in range(64):
        if end < 0 or mark_of(text[start:end].replace("'\\''", "'")) == mark:
            return end
        end = text.find(following, end + 1)
    return -1
