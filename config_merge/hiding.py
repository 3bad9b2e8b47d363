"""Which secrets a configuration is made of, and how its files and its explanation are shown without them.

Invariant: a secret is hidden wherever it went: under its own name, in the variable that carried it, in the values
that variable overruled, and in the text of every file it was put into.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from config_merge.carrying import secret_names_by, secret_names_of
from config_merge.engine import Effective, EngineError, File
from config_merge.inputs import Inputs, load
from config_merge.models import Config, ConfigRevision, Template
from core.redaction import (
    MARK,
    Names,
    is_secret_name,
    is_secret_place,
    mark_of,
    redacted,
    redacted_text,
    secrets_in,
    variables_of_secrets,
)

# Shorter values are too common to be looked for in texts.
SHORTEST = 4


def secret_variables(tree: Any) -> frozenset[str]:
    """Return the names of the variables that stand at secret places of a configuration."""
    return variables_of_secrets(tree)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one layer, or one layer's variables, hold by themselves: names of secret variables, and secret values."""

    names: frozenset[str]
    values: frozenset[str] = field(repr=False)


def _part(tree: Any) -> _Part:
    values = frozenset(str(value) for value in secrets_in(tree))
    return _Part(frozenset(secret_variables(tree)), values - {""})


def secrets_of(
    item: Inputs, names: Names = frozenset(), *, part: Callable[[Any], _Part] = _part
) -> frozenset[str]:
    """Return every secret among the layers and variables of a configuration, as text.

    `names` are the variables that are secret in the organization whatever this configuration does with them
    (`carrying.secret_names_by`); what a device is called is no secret on their account.
    """
    parts = [part(layer.config) for layer in item.layers]
    own = frozenset[str]().union(*(each.names for each in parts))
    found = set[str]().union(*(each.values for each in parts))
    for variables in item.variables:
        found |= part(variables.values).values
        carriers = own if variables.source.layer == "identity" else own | names
        found.update(texts_at(variables.values, carriers))
    return frozenset(found - {""})


def texts_at(values: Mapping[str, Any], names: Names) -> Iterator[str]:
    """Yield as text what stands under some names among variables, whole and value by value."""
    for name in names & values.keys():
        if values[name] is not None and not isinstance(values[name], bool):
            yield str(values[name])
        if isinstance(values[name], list | dict):
            yield from map(str, secrets_in({name: values[name]}, names=names))


def effective_secrets(item: Inputs, names: Names = frozenset()) -> frozenset[str]:
    """Return the secrets of a configuration, and those that are put together from several variables."""
    found = secrets_of(item, names)
    try:
        merged = secrets_in(item.effective().tree)
    except EngineError:
        return found
    return found | {str(value) for value in merged}


def template_words(template: Template, text: str) -> str:
    """Return what the engine says of a template by itself, without the template's secrets."""
    names = variables_of_secrets(template.config) | secret_names_of([template.organization_id])
    found = {str(value) for value in secrets_in(template.config)}
    if isinstance(template.default_values, Mapping):
        found.update(str(value) for value in secrets_in(template.default_values, names=names))
    return words_hidden(text, found)


class Secrecy:
    """What is secret in the configurations of one run: the templates of each organization are read once.

    Layers that many configurations share are looked through once, until `forget`.
    """

    def __init__(self) -> None:
        self._names: dict[UUID, frozenset[str]] = {}
        self._parts: dict[int, tuple[Any, _Part]] = {}
        self._holds: dict[int, tuple[Any, bool]] = {}

    def learn(self, organization_ids: Iterable[UUID | None]) -> None:
        """Read which variables are secret in organizations, of those not known yet (one query)."""
        if unknown := {pk for pk in organization_ids if pk is not None} - self._names.keys():
            self._names |= secret_names_by(unknown)

    def forget(self) -> None:
        """Let go of the layers that were looked through."""
        self._parts.clear()
        self._holds.clear()

    def names(self, organization_id: UUID | None) -> frozenset[str]:
        """Return the variables that are secret in an organization."""
        if organization_id is None:
            return frozenset()
        self.learn([organization_id])
        return self._names[organization_id]

    def secrets(self, item: Inputs) -> frozenset[str]:
        """Return every secret among the layers and variables of a configuration, as text."""
        return secrets_of(item, self.names(item.organization_id), part=self._part)

    def words(self, item: Inputs, text: str) -> str:
        """Return what the engine says of a configuration, without secrets."""
        return words_hidden(text, effective_secrets(item, self.names(item.organization_id)))

    def owners(self, item: Inputs) -> frozenset[UUID | None]:
        """Return the organizations whose secrets a configuration may show; None stands for shared objects."""
        names = self.names(item.organization_id)
        used = frozenset[str]().union(*(self._part(layer.config).names for layer in item.layers))
        return item.owners | {
            guest.organization_id
            for guest in item.guests
            if self._holds_secrets(guest.config)
            or self._holds_secrets(guest.default_values)
            or (names | used) & guest.default_values.keys()
        }

    def _part(self, tree: Any) -> _Part:
        if id(tree) not in self._parts:
            # The tree is kept beside: its id must not become another's.
            self._parts[id(tree)] = (tree, _part(tree))
        return self._parts[id(tree)][1]

    def _holds_secrets(self, tree: Any) -> bool:
        if id(tree) not in self._holds:
            self._holds[id(tree)] = (tree, tree_hidden(tree, ()) != tree)
        return self._holds[id(tree)][1]


def text_hidden(text: str, secrets: Iterable[str]) -> str:
    """Return a text with the secrets in it as marks."""
    return redacted_text(text, secrets=frozenset(secrets))


def hidden_once_more(text: str, secrets: Iterable[str]) -> str:
    """Return a text that has marks already, with more secrets as marks; the marks stay as they are.

    >>> hidden_once_more("redacted:00112233aabb beef", []) == "redacted:00112233aabb beef"
    True
    """
    known = [secret for secret in secrets if len(secret) >= SHORTEST]
    between = MARK.split(text)
    if not any(secret in part for secret in known for part in between):
        return text
    marks = [*MARK.findall(text), ""]
    return "".join(text_hidden(part, known) + mark for part, mark in zip(between, marks, strict=True))


def words_hidden(text: str, secrets: Iterable[str]) -> str:
    """Return an error text without secrets: it may quote them as Python does, and end in the middle of one."""
    known = frozenset(secrets)
    for secret in sorted(known, key=len, reverse=True):
        quoted = repr(secret)[1:-1]
        if quoted != secret and len(secret) >= SHORTEST:
            text = text.replace(quoted, mark_of(secret))
    return _without_beginnings(text_hidden(text, known), known)


def _without_beginnings(text: str, secrets: Iterable[str]) -> str:
    """Return a text whose end, before the dots that say it was cut, is not the beginning of a secret."""
    kept = text.removesuffix("...")
    if kept == text:
        return text
    for secret in secrets:
        for length in range(min(len(secret), len(kept)), SHORTEST - 1, -1):
            if kept.endswith(secret[:length]):
                return f"{kept[:-length]}..."
    return text


def files_hidden(files: Sequence[File], secrets: Iterable[str]) -> tuple[File, ...]:
    """Return the files with the secrets in their paths, modes and text as marks.

    Contents that are not text stay, nobody prints them.
    """
    known = frozenset(secrets)
    # The path of a file is its place without the leading slash.
    in_paths = known | {secret.removeprefix("/") for secret in known}
    return tuple(
        File(
            text_hidden(file.path, in_paths),
            text_hidden(file.mode, known),
            _hidden_bytes(file.contents, known),
        )
        for file in files
    )


def _hidden_bytes(contents: bytes, secrets: frozenset[str]) -> bytes:
    try:
        return text_hidden(contents.decode(), secrets).encode()
    except UnicodeDecodeError:
        return contents


def tree_hidden(tree: Any, secrets: Iterable[str]) -> Any:
    """Return a copy of a configuration in which secrets are marks, by their name and by their value."""
    known = frozenset(secrets)

    def visit(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: visit(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [visit(item) for item in value]
        return text_hidden(value, known) if isinstance(value, str) else value

    return visit(redacted(tree))


def value_hidden(value: Any, secrets: Iterable[str], *, secret: bool) -> Any:
    """Return one value, as its mark where it is secret by its place."""
    return tree_hidden(redacted(value, secret=True) if secret else value, secrets)


def secret_path(pointer: str) -> bool:
    """Tell whether what stands at a JSON pointer is secret by the names above it; list indices do not count.

    >>> secret_path("/interfaces/0/wireless/encryption/key"), secret_path("/radios/0/channel")
    (True, False)
    """
    return is_secret_place([part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]])


def variables_hidden(effective: Effective) -> set[str]:
    """Return the names of the variables in force that carry a secret: by their own name, or by where they stand."""
    carriers = {
        name
        for pointer, leaf in effective.leaves().items()
        if secret_path(pointer)
        for name in leaf.variables
    }
    return carriers | {name for name in effective.variables if is_secret_name(name)}


def revision_secrets(kept: Mapping[str, Any], names: Names = frozenset()) -> frozenset[str]:
    """Return the secrets among what a revision keeps; of old ones only the device's own are known.

    `names` are the variables that are secret in the organization today.
    """
    config, context = kept.get("config", {}), kept.get("context", {})
    found = {str(value) for part in (config, context) for value in secrets_in(part)}
    found.update(texts_at(context, set(secret_variables(config)) | names))
    return frozenset(found | set(kept.get("secrets", ()))) - {""}


def history_secrets(config: Config, revisions: Iterable[ConfigRevision]) -> frozenset[str]:
    """Return the secrets that revisions of a configuration may show: theirs, and those of today."""
    secrecy = Secrecy()
    items = load([config])
    found = frozenset[str]().union(*map(secrecy.secrets, items))
    names = frozenset[str]().union(*(secrecy.names(item.organization_id) for item in items))
    return found.union(*(revision_secrets(revision.inputs, names) for revision in revisions))


def reported_words(config_id: UUID, text: str) -> str:
    """Return what a device says of its configuration, without secrets; what cannot be read hides none."""
    config = Config.objects.filter(pk=config_id).first() if text.strip() else None
    if config is None:
        return text
    held = ConfigRevision.objects.filter(pk=config.revision_id).only("inputs") if config.revision_id else ()
    try:
        return words_hidden(text, history_secrets(config, held))
    except (ImproperlyConfigured, ValueError):
        return words_hidden(text, ())
