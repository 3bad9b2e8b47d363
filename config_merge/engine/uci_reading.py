"""Reads UCI files as devices have them, and what of them is the controller's.

Invariant: what `settings_uci` or `uci` writes is read back as it was meant. Source of the grammar: libuci's words
(https://openwrt.org/docs/guide-user/base-system/uci): pieces in single quotes, in double quotes and plain, glued.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from config_merge.engine.errors import EngineError
from config_merge.engine.origins import Value

_SPACE = " \t\r"
_PLAIN_NAME = re.compile(r"[^A-Za-z0-9_]")


class UnreadableUci(EngineError):
    """A file is no UCI; `path` names its line."""


@dataclass(frozen=True, slots=True)
class UciSection:
    """One section: lists are tuples, an anonymous section has the name that agents give it."""

    type: str
    name: str
    options: Mapping[str, Value] = field(repr=False)


def read_uci(text: str) -> tuple[UciSection, ...]:
    r"""Return the sections of a file in order; those that share a name are one. Raises UnreadableUci.

    >>> (section,) = read_uci("config led 'a'\n\toption x 'it'\\''s'\n\tlist y 1\n\tlist y \"2 3\"\n")
    >>> section.type, section.name, dict(section.options)
    ('led', 'a', {'x': "it's", 'y': ('1', '2 3')})
    """
    found: list[tuple[str, str | None, dict[str, Value]]] = []
    named: dict[str, dict[str, Value]] = {}
    for line, words in _commands(text):
        match words:
            case ["package" | "p", _]:
                continue
            case ["config" | "c", kind]:
                found.append((kind, None, {}))
                options = found[-1][2]
            case ["config" | "c", kind, name]:
                if name not in named:
                    found.append((kind, name, {}))
                    named[name] = found[-1][2]
                options = named[name]
            case ["option" | "o", name, value] if found:
                options[name] = value
            case ["list" | "l", name, value] if found:
                known = options.get(name, ())
                options[name] = (*((known,) if isinstance(known, str) else known), value)
            case _:
                raise UnreadableUci("this is no UCI", path=f"#/{line}")
    return tuple(_named(found))


def _named(found: Sequence[tuple[str, str | None, dict[str, Value]]]) -> list[UciSection]:
    """Name anonymous sections as agents do: by their type where that is enough, else by their number."""
    taken = {name for _, name, _ in found if name is not None}
    alone = [kind for kind, name, _ in found if name is None]
    sections = []
    for kind, name, options in found:
        if name is None:
            wanted = _PLAIN_NAME.sub("_", kind)
            name = wanted if alone.count(kind) == 1 and wanted not in taken else _numbered(wanted, taken)
            taken.add(name)
        sections.append(UciSection(kind, name, options))
    return sections


def _numbered(wanted: str, taken: set[str]) -> str:
    number = 0
    while f"{wanted}_{number}" in taken:
        number += 1
    return f"{wanted}_{number}"


def _commands(text: str) -> list[tuple[int, list[str]]]:
    commands: list[tuple[int, list[str]]] = []
    words: list[str] = []
    word: list[str] | None = None
    place, line, began, length = 0, 1, 1, len(text)

    def end_word() -> None:
        nonlocal word
        if word is not None:
            words.append("".join(word))
            word = None

    while place < length:
        character = text[place]
        if character in "\n;":
            end_word()
            if words:
                commands.append((began, words))
            words = []
            place, line = place + 1, line + (character == "\n")
            continue
        if character in _SPACE:
            end_word()
            place += 1
            continue
        if character == "#" and word is None:
            place = _until(text, "\n", place)
            continue
        if not words and word is None:
            began = line
        word = [] if word is None else word
        piece, after = _piece(text, place, line)
        word.append(piece)
        line += text.count("\n", place, after)
        place = after
    end_word()
    return [*commands, (began, words)] if words else commands


def _until(text: str, mark: str, place: int) -> int:
    end = text.find(mark, place)
    return len(text) if end < 0 else end


def _piece(text: str, place: int, line: int) -> tuple[str, int]:
    """Return a piece of a word that begins at `place`, and where it ends."""
    character = text[place]
    if character == "'":
        end = text.find("'", place + 1)
        if end < 0:
            raise UnreadableUci("a quote is not closed", path=f"#/{line}")
        return text[place + 1 : end], end + 1
    if character == "\\":
        after = text[place + 1 : place + 2]
        return ("" if after == "\n" else after), place + 2
    if character != '"':
        return character, place + 1
    made, place = [], place + 1
    while place < len(text) and text[place] != '"':
        if text[place] == "\\" and place + 1 < len(text):
            place += 1
        made.append(text[place])
        place += 1
    if place >= len(text):
        raise UnreadableUci("a quote is not closed", path=f"#/{line}")
    return "".join(made), place + 1


def managed(
    wanted: Sequence[UciSection], actual: Sequence[UciSection], *, whole: bool
) -> tuple[UciSection, ...]:
    """Return what of a device's file is the controller's, in the order of the controller's file.

    `whole`: the file is the controller's altogether. Otherwise it was merged into the device's own, and only sections
    and options that the controller sent are looked at (docs/link-protocol.md, *Drift*).
    """
    there = {section.name: section for section in actual}
    kept = []
    for section in wanted:
        own = there.pop(section.name, None)
        if own is not None:
            options = {name: value for name, value in own.options.items() if whole or name in section.options}
            kept.append(UciSection(own.type, own.name, options))
    return (*kept, *(section for section in actual if section.name in there)) if whole else tuple(kept)
