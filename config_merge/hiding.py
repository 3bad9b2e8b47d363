"""Which secrets a configuration is made of, and how its files and its explanation are shown without them.

Invariant: a secret is hidden wherever it went: under its own name, in the variable that carried it, in the values
that variable overruled, and in the text of every file it was put into.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from config_merge.engine import Effective, File
from config_merge.engine.variables import references
from config_merge.inputs import Inputs
from core.redaction import is_secret_name, mark_of, redacted, redacted_text, secrets_in


def secret_variables(tree: Any, *, secret: bool = False) -> Iterator[str]:
    """Yield the names of the variables that stand at secret places of a configuration."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from secret_variables(
                value, secret=is_secret_name(str(name)) and not isinstance(value, Mapping)
            )
    elif isinstance(tree, list | tuple):
        for value in tree:
            yield from secret_variables(value, secret=secret)
    elif secret and isinstance(tree, str):
        yield from references(tree)


def secrets_of(item: Inputs) -> set[str]:
    """Return every secret among the layers and variables of a configuration, as text."""
    names = {name for layer in item.layers for name in secret_variables(layer.config)}
    found: set[str] = set()
    for layer in item.layers:
        found.update(str(value) for value in secrets_in(layer.config))
    for variables in item.variables:
        found.update(str(value) for value in secrets_in(variables.values))
        found.update(str(variables.values[name]) for name in names & variables.values.keys())
    return {secret for secret in found if secret}


def text_hidden(text: str, secrets: Iterable[str]) -> str:
    """Return a text with the secrets in it as marks."""
    return redacted_text(text, secrets=frozenset(secrets))


def files_hidden(files: Sequence[File], secrets: Iterable[str]) -> tuple[File, ...]:
    """Return the files with the secrets in their text as marks; what is not text stays, nobody prints it."""
    known = frozenset(secrets)
    return tuple(File(file.path, file.mode, _hidden_bytes(file.contents, known)) for file in files)


def _hidden_bytes(contents: bytes, secrets: frozenset[str]) -> bytes:
    try:
        return redacted_text(contents.decode(), secrets=secrets).encode()
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
        return redacted_text(value, secrets=known) if isinstance(value, str) else value

    return visit(redacted(tree))


def value_hidden(value: Any, secrets: Iterable[str], *, secret: bool) -> Any:
    """Return one value, as its mark where it is secret by its place."""
    if secret and value not in (None, "", True, False) and not isinstance(value, dict | list):
        if isinstance(value, str) and references(value):
            return value
        return mark_of(value)
    return tree_hidden(value, secrets)


def secret_path(pointer: str) -> bool:
    """Tell whether what stands at a JSON pointer is secret by its name; list indices do not count.

    >>> secret_path("/interfaces/0/wireless/encryption/key"), secret_path("/radios/0/channel")
    (True, False)
    """
    names = [part for part in pointer.split("/") if part and not part.isdigit()]
    return bool(names) and is_secret_name(names[-1].replace("~1", "/").replace("~0", "~"))


def variables_hidden(effective: Effective) -> set[str]:
    """Return the names of the variables in force that carry a secret: by their own name, or by where they stand."""
    carriers = {
        name
        for pointer, leaf in effective.leaves().items()
        if secret_path(pointer)
        for name in leaf.variables
    }
    return carriers | {name for name in effective.variables if is_secret_name(name)}


def revision_secrets(kept: Mapping[str, Any]) -> set[str]:
    """Return the secrets among what a revision keeps of the device's own configuration and variables."""
    config, context = kept.get("config", {}), kept.get("context", {})
    names = set(secret_variables(config))
    found = {str(value) for part in (config, context) for value in secrets_in(part)}
    found |= {str(context[name]) for name in names & context.keys()}
    return {secret for secret in found if secret}
