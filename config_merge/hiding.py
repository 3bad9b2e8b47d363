"""Which secrets a configuration is made of, and how its files and its explanation are shown without them.

Invariant: a secret is hidden wherever it went: under its own name, in the variable that carried it, in the values
that variable overruled, and in the text of every file it was put into.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from config_merge.engine import Effective, File
from config_merge.inputs import Inputs
from core.redaction import (
    is_secret_name,
    is_secret_place,
    redacted,
    redacted_text,
    secrets_in,
    variables_of_secrets,
)


def secret_variables(tree: Any) -> frozenset[str]:
    """Return the names of the variables that stand at secret places of a configuration."""
    return variables_of_secrets(tree)


def secrets_of(item: Inputs) -> set[str]:
    """Return every secret among the layers and variables of a configuration, as text."""
    names = frozenset().union(*(secret_variables(layer.config) for layer in item.layers))
    return _texts(
        (layer.config for layer in item.layers), (variables.values for variables in item.variables), names
    )


def _texts(trees: Iterable[Any], variables: Iterable[Mapping[str, Any]], names: frozenset[str]) -> set[str]:
    """Return the secrets as text; a variable is put into a configuration as the text it has as a whole."""
    found: set[str] = set()
    for tree in trees:
        found.update(str(value) for value in secrets_in(tree))
    for values in variables:
        found.update(str(value) for value in secrets_in(values, names=names))
        whole = (values[name] for name in names & values.keys())
        found.update(str(value) for value in whole if value is not None and not isinstance(value, bool))
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


def revision_secrets(kept: Mapping[str, Any]) -> set[str]:
    """Return the secrets among what a revision keeps of the device's own configuration and variables."""
    config, context = kept.get("config", {}), kept.get("context", {})
    return _texts((config,), (context,), secret_variables(config))
