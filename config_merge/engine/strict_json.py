"""Says whether a Python value is JSON that every later step can handle, so that no step has to ask again.

Invariant: a value that passes has only str keys, finite numbers of at most 64 bits, text that UTF-8 can
encode and that has no NUL (PostgreSQL's jsonb and C programs on devices refuse it), and at most `MAX_DEPTH`
levels.
"""

import marshal
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from config_merge.engine.errors import EngineError, InvalidConfiguration, fragment

MAX_DEPTH = 32
MAX_TEXT = 16 * 1024 * 1024
# Together they bound the memory of `_is_fine_remembered`.
_REMEMBERED = 4096
_REMEMBERED_LENGTH = 4096
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1


def require_json(value: object, *, error: type[EngineError] = InvalidConfiguration) -> None:
    """Raises `error`, with the path of the first offender, unless `value` is JSON as the module says.

    >>> require_json({"a": [1, None, "text"]})
    >>> try:
    ...     require_json({"a": [float("nan")]})
    ... except InvalidConfiguration as error:
    ...     error.path, error.message
    ('#/a/0', 'nan is not a JSON number')
    """
    path: list[str | int] = []
    complaint = _complaint(value, path, 0)
    if complaint is not None:
        raise error(complaint, path=fragment(reversed(path)))


def plain_object(value: object) -> dict[str, Any]:
    """`value` itself when it is made of plain dicts, lists and scalars, else an equal copy that is.

    Raises InvalidConfiguration unless it is a JSON object of acceptable contents.
    """
    if isinstance(value, dict) and _is_fine(value, 0):
        return value
    if not isinstance(value, Mapping):
        raise InvalidConfiguration(f"{kind(value)} is not of type 'object'")
    require_json(value)
    return {str(key): _plain(item) for key, item in value.items()}


def frozen(value: Any) -> bytes:
    """Plain JSON as a dictionary key. Equal bytes mean equal values of equal types; it lives in this
    process only.

    >>> frozen([1, "a"]) == frozen([1, "a"]), frozen([1]) == frozen([True])
    (True, False)

    Raises ValueError for most of what is not plain JSON.
    """
    # Version 2 of the format ignores which strings happen to be shared, and takes a sixth of JSON's time.
    return marshal.dumps(value, 2)


def thawed(data: bytes) -> Any:
    """A new copy of the value that `frozen` was given."""
    return marshal.loads(data)  # noqa: S302 - written by `frozen` in this process


Part = bytes | tuple[bytes, ...]


def frozen_part(value: Any) -> Part:
    """A list as the tuple of its `frozen` elements, anything else `frozen`."""
    return tuple([frozen(item) for item in value]) if type(value) is list else frozen(value)


def frozen_parts(value: object) -> tuple[dict[str, Any], dict[str, Part]]:
    """`plain_object(value)`, and the `frozen_part` of each of its values; what was met before is not walked
    again.

    >>> tree, parts = frozen_parts({"a": [1], "b": 2})
    >>> tree, parts == {"a": (frozen(1),), "b": frozen(2)}
    ({'a': [1], 'b': 2}, True)

    Raises as `plain_object`.
    """
    if type(value) is dict:
        try:
            parts = {key: frozen_part(item) for key, item in value.items()}
        except ValueError:
            pass  # not plain, or not JSON: `plain_object` tells
        else:
            # The names alone are walked here, the values as part of what was remembered of their bytes.
            if _is_fine(dict.fromkeys(value), 0) and all(map(_part_is_fine, parts.values())):
                return value, parts
    tree = plain_object(value)
    return tree, {key: frozen_part(item) for key, item in tree.items()}


def _part_is_fine(part: Part) -> bool:
    elements = part if isinstance(part, tuple) else (part,)
    for element in elements:
        known = _is_fine_thawed if len(element) > _REMEMBERED_LENGTH else _is_fine_remembered
        if not known(element):
            return False
    return True


def _is_fine_thawed(element: bytes) -> bool:
    """`_is_fine` of the value that `element` was made of, two levels down."""
    return _is_fine([[thawed(element)]], 0)


_is_fine_remembered = lru_cache(maxsize=_REMEMBERED)(_is_fine_thawed)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return next(scalar(value) for scalar in (str, int, float) if isinstance(value, scalar))


def kind(value: object) -> str:
    """The JSON name of a value's type, for messages.

    >>> kind([]), kind(True), kind(1), kind(None)
    ('a list', 'a boolean', 'a number', 'null')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, Mapping) else "not JSON"


def text_complaint(text: str) -> str | None:
    """Why a string is unacceptable, or None.

    >>> text_complaint("ok"), text_complaint(chr(0xD800))
    (None, 'unpaired surrogate in text')
    """
    if "\x00" in text:
        return "NUL character in text"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "unpaired surrogate in text"
    return None


def _is_fine(value: object, depth: int) -> bool:
    """A quick yes for ordinary JSON of plain types; about everything else `_complaint` knows what to say."""
    if depth >= MAX_DEPTH:
        return False
    items: Iterable[Any]
    if type(value) is dict:
        for key in value:
            if type(key) is not str or "\x00" in key or not (key.isascii() or text_complaint(key) is None):
                return False
        items = value.values()
    elif type(value) is list:
        items = value
    else:
        return False
    for item in items:
        exact = type(item)
        if exact is str:
            if "\x00" in item or not (item.isascii() or text_complaint(item) is None):
                return False
        elif exact is int:
            if not _MIN_INT <= item <= _MAX_INT:
                return False
        elif exact is float:
            if not math.isfinite(item):
                return False
        elif not (item is None or exact is bool or _is_fine(item, depth + 1)):
            return False
    return True


def _complaint(value: object, path: list[str | int], depth: int) -> str | None:
    """None, or the complaint about `value` with the path to it, innermost token first, left in `path`."""
    if isinstance(value, str):
        return text_complaint(value)
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if _MIN_INT <= value <= _MAX_INT else "number does not fit in 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a JSON number"
    if isinstance(value, Mapping):
        return _object_complaint(value, path, depth)
    if isinstance(value, list):
        if depth >= MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH} levels"
        for index, item in enumerate(value):
            complaint = _complaint(item, path, depth + 1)
            if complaint is not None:
                path.append(index)
                return complaint
        return None
    return f"{type(value).__name__} is not a JSON type"


def _object_complaint(value: Mapping[Any, object], path: list[str | int], depth: int) -> str | None:
    if depth >= MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH} levels"
    for key, item in value.items():
        if not isinstance(key, str):
            return f"{kind(key)} as a key"
        complaint = text_complaint(key)
        if complaint is not None:
            return f"{complaint} of a key"
        complaint = _complaint(item, path, depth + 1)
        if complaint is not None:
            path.append(key)
            return complaint
    return None
