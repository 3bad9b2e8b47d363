"""Reads and writes UCI files, OpenWrt's configuration language.

Invariant: `parse(render(package)) == package` for every package; a file real `uci` would refuse is refused.
Source: the UCI file grammar (https://openwrt.org/docs/guide-user/base-system/uci) and libuci's word rules.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

Value = str | tuple[str, ...]

_NAME = re.compile(r"[A-Za-z0-9_]+\Z")
_PACKAGE = re.compile(r"[A-Za-z0-9_-]+\Z")
_TYPE = re.compile(r"[!-~]+\Z")
_KEYWORDS = {"p": "package", "c": "config", "o": "option", "l": "list"}


class UciError(ValueError):
    """The text is not a valid UCI file; the message names the line."""


@dataclass(frozen=True)
class Section:
    """One `config` block. `name` is None for an anonymous one; options keep the file's order."""

    type: str
    name: str | None = None
    options: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Package:
    """One file of /etc/config, sections in order."""

    sections: tuple[Section, ...] = ()


def parse(data: bytes) -> Package:
    """Read a file. Raises UciError. Bytes that are not UTF-8 survive a round trip."""
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    sections: list[Section] = []
    by_name: dict[str, Section] = {}
    current: Section | None = None
    for line, words in _commands(text):
        keyword = _KEYWORDS.get(words[0], words[0])
        if keyword == "package":
            _check(len(words) == 2 and bool(_PACKAGE.match(words[1])), line, "package needs one plain name")
            _check(current is None, line, "a package line after the first section")
        elif keyword == "config":
            current = _open_section(line, words, by_name)
            if all(current is not known for known in sections):
                sections.append(current)
        elif keyword in ("option", "list"):
            if current is None:
                raise UciError(f"line {line}: {keyword} outside a section")
            _check(len(words) == 3, line, f"{keyword} needs a name and a value")
            _check(bool(_NAME.match(words[1])), line, f"bad {keyword} name {words[1]!r}")
            _check(_is_text(words[2]), line, "control character in a value")
            _set(current.options, name=words[1], value=words[2], is_list=keyword == "list")
        else:
            raise UciError(f"line {line}: unknown keyword {words[0]!r}")
    return Package(sections=tuple(sections))


def render(package: Package) -> bytes:
    """Write a file in the form `uci` itself writes."""
    lines: list[str] = []
    for section in package.sections:
        title = f"config {section.type}" + (f" {_quote(section.name)}" if section.name is not None else "")
        lines += ["", title]
        for name, value in section.options.items():
            if isinstance(value, str):
                lines.append(f"\toption {name} {_quote(value)}")
            else:
                lines += [f"\tlist {name} {_quote(item)}" for item in value]
    lines.append("")
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def name_anonymous(package: Package) -> Package:
    """Give every anonymous section a stable name, so that sections can be matched between files.

    The name is the type where it is the only anonymous section of that type and the name is free,
    `device_<name>` for a network device, else `<type>_<n>`:
    so the usual anonymous `config system` meets the controller's `config system 'system'`.
    """
    taken = {section.name for section in package.sections if section.name is not None}
    anonymous = [section.type for section in package.sections if section.name is None]
    named: list[Section] = []
    for section in package.sections:
        if section.name is not None:
            named.append(section)
            continue
        wanted = _plain(section.type)
        device = section.options.get("name")
        if section.type == "device" and isinstance(device, str) and device:
            wanted = f"device_{_plain(device)}"
        elif anonymous.count(section.type) > 1:
            wanted = f"{wanted}_0"
        name = _free_name(wanted, taken)
        taken.add(name)
        named.append(Section(type=section.type, name=name, options=section.options))
    return Package(sections=tuple(named))


def _free_name(wanted: str, taken: set[str]) -> str:
    if wanted not in taken:
        return wanted
    stem = wanted[:-2] if wanted.endswith("_0") else wanted
    number = 1
    while f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _check(condition: bool, line: int, message: str) -> None:
    if not condition:
        raise UciError(f"line {line}: {message}")


def _is_text(value: str) -> bool:
    return all(character >= " " or character in "\t\n\r" for character in value)


def _open_section(line: int, words: list[str], by_name: dict[str, Section]) -> Section:
    _check(len(words) in (2, 3), line, "config needs a type and at most a name")
    _check(bool(_TYPE.match(words[1])), line, f"bad section type {words[1]!r}")
    if len(words) == 2 or not words[2]:
        return Section(type=words[1])
    _check(bool(_NAME.match(words[2])), line, f"bad section name {words[2]!r}")
    known = by_name.get(words[2])
    if known is not None:
        _check(known.type == words[1], line, f"section {words[2]!r} appears with two types")
        return known
    by_name[words[2]] = Section(type=words[1], name=words[2])
    return by_name[words[2]]


def _set(options: dict[str, Value], *, name: str, value: str, is_list: bool) -> None:
    if not is_list:
        options[name] = value
        return
    known = options.get(name, ())
    options[name] = ((known,) if isinstance(known, str) else known) + (value,)


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """Words of each command with the number of its first line; quoted words may span lines."""
    position, line, started = 0, 1, 1
    words: list[str] = []
    while position < len(text):
        character = text[position]
        if character in "\n;":
            if words:
                yield started, words
            words = []
            line += character == "\n"
            position += 1
        elif character.isspace():
            position += 1
        elif character == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif text.startswith("\\\n", position):
            line += 1
            position += 2
        else:
            started = started if words else line
            word, end = _word(text, position, line)
            line += text.count("\n", position, end)
            position = end
            words.append(word)
    if words:
        yield started, words


def _word(text: str, position: int, line: int) -> tuple[str, int]:
    """One word from `position`: plain characters and quoted pieces glued together, and where it ends."""
    pieces: list[str] = []
    while position < len(text) and not text[position].isspace() and text[position] not in ";#":
        character = text[position]
        if character == "'":
            end = text.find("'", position + 1)
            _check(end >= 0, line, "unclosed single quote")
            pieces.append(text[position + 1 : end])
            position = end + 1
        elif character == '"':
            piece, position = _double_quoted(text, position + 1, line)
            pieces.append(piece)
        elif character == "\\":
            _check(position + 1 < len(text), line, "backslash at the end of the file")
            pieces.append("" if text[position + 1] == "\n" else text[position + 1])
            position += 2
        else:
            pieces.append(character)
            position += 1
    return "".join(pieces), position


def _double_quoted(text: str, position: int, line: int) -> tuple[str, int]:
    pieces: list[str] = []
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(pieces), position + 1
        if character == "\\" and position + 1 < len(text):
            position += 1
            character = "" if text[position] == "\n" else text[position]
        pieces.append(character)
        position += 1
    raise UciError(f"line {line}: unclosed double quote")
