"""What is really on the device of the configuration it applied, as one number. Source: docs/link-protocol.md, Drift.

Invariant: equal to `expected` of the archive exactly when nobody changed what the archive put there. Pure but for
`read`.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable

from muster_agent.archive import Member
from muster_agent.uci import Package, Section, UciError, name_anonymous, parse, render

ABSENT = "-"


def digest(members: Iterable[Member], *, merged: Collection[str], read: Callable[[str], bytes | None]) -> str:
    """SHA-256 over a line per file of the archive: what the device has of it, or that it has no such file.

    `merged` are the paths of UCI files that were merged; `read` gives a file's bytes, None when there is none.

    >>> member = Member(path="etc/motd", mode=0o644, data=b"hi")
    >>> digest([member], merged=(), read=lambda path: b"hi") == expected([member])
    True
    >>> digest([member], merged=(), read=lambda path: None) == expected([member])
    False
    """
    lines: list[str] = []
    for member in sorted(members, key=lambda member: member.path):
        found = read(member.path)
        if found is not None and member.path in merged:
            found = merged_content(member.data, found)
        word = hashlib.sha256(found).hexdigest() if found is not None else ABSENT
        lines.append(f"{word}  {member.path}\n")
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def expected(members: Iterable[Member]) -> str:
    """The digest of a device that has all of the archive, unchanged.

    >>> expected([]) == hashlib.sha256(b"").hexdigest()
    True
    """
    own = {member.path: member.data for member in members}
    wanted = [Member(path=path, mode=0, data=data) for path, data in own.items()]
    return digest(wanted, merged=(), read=own.get)


def merged_content(sent: bytes, found: bytes) -> bytes:
    """What a merged file counts as: the archive's own bytes, or the archive's file as the device has it.

    >>> sent = b"config system 'system'\\n\\toption hostname 'a'\\n"
    >>> merged_content(sent, sent + b"\\toption zonename 'UTC'\\n") == sent
    True
    >>> merged_content(sent, b"config system 'system'\\n\\toption hostname 'b'\\n\\toption zonename 'UTC'\\n")
    b"\\nconfig system 'system'\\n\\toption hostname 'b'\\n"
    """
    try:
        device = parse(found)
    except UciError:
        return found
    wanted = parse(sent)
    there = {section.name: section for section in name_anonymous(device).sections}
    kept: list[Section] = []
    for section, named in zip(wanted.sections, name_anonymous(wanted).sections, strict=True):
        own = there.get(named.name)
        if own is not None:
            options = {name: own.options[name] for name in section.options if name in own.options}
            kept.append(Section(type=own.type, name=section.name, options=options))
    seen = Package(sections=tuple(kept))
    return sent if seen == wanted else render(seen)
