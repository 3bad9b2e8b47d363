"""The engine's only exceptions: whatever a person typed, a caller has to catch `EngineError` and nothing
else.

Invariant: every error carries the place it is about as a URI fragment pointer (`#/interfaces/0`), and its
text is safe to show to whoever supplied the input.
"""

from collections.abc import Iterable


class EngineError(Exception):
    """Input the engine refuses. `path` is `#` or `#/a/0/b` (RFC 6901 section 6), `message` one sentence."""

    def __init__(self, message: str, *, path: str = "#") -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return f"{self.message} ({self.path})" if self.path != "#" else self.message


class MergeConflict(EngineError):
    """Two layers disagree on the kind of container at `path`: one has an object, the other a list."""


class InvalidVariables(EngineError):
    """A variable's name or value cannot be used; `path` is `#/<name>`."""


class UnknownBackend(EngineError):
    """No back end of that name exists."""


class InvalidSettings(EngineError):
    """Settings of a site or a device that cannot be read; `path` is the key."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidConfiguration(EngineError):
    """A configuration that is not valid for its back end, or cannot be rendered.

    `str()` has the wording clients of OpenWISP know (spec/openwisp.md 1B.1).

    >>> print(InvalidConfiguration("'x' is too long", path="#/dns_search/0"))
    Invalid configuration triggered by "#/dns_search/0", validator says:
    <BLANKLINE>
    'x' is too long
    """

    def __str__(self) -> str:
        return f'Invalid configuration triggered by "{self.path}", validator says:\n\n{self.message}'


def escaped(token: str | int) -> str:
    """One reference token of a JSON pointer (RFC 6901 section 3).

    >>> escaped("a/b~c")
    'a~1b~0c'
    """
    return str(token).replace("~", "~0").replace("/", "~1")


def fragment(path: Iterable[str | int]) -> str:
    """The `#/a/0` form of a path of keys and indices.

    >>> fragment(["interfaces", 0, "name"])
    '#/interfaces/0/name'
    >>> fragment([])
    '#'
    """
    return "".join(["#", *(f"/{escaped(token)}" for token in path)])
