"""Lays the controller's UCI sections over the device's own, and takes them off again.

Invariant: `unmerge(merge(base, remote))` gives `base` back (its anonymous sections named). Pure.

The record of what was covered lets an option the controller no longer sends return to its pristine value.
"""

from dataclasses import dataclass, field

from muster_agent.uci import Package, Section, Value, name_anonymous


@dataclass(frozen=True)
class SectionRecord:
    """What one section was before: its type (None: it did not exist) and the options that were covered."""

    type: str | None
    options: dict[str, Value | None] = field(default_factory=dict)


@dataclass(frozen=True)
class PackageRecord:
    """What one file was before, by section name. `existed` is False when the agent created the file."""

    existed: bool
    sections: dict[str, SectionRecord] = field(default_factory=dict)


def merge(base: Package | None, *, remote: Package) -> tuple[Package, PackageRecord]:
    """`remote` over `base` (None: no such file): its options replace, lists included; all others stay.

    Returns the merged package and the record `unmerge` needs. Anonymous sections are named first.
    """
    local = name_anonymous(base if base is not None else Package())
    sections = {str(section.name): section for section in local.sections}
    records: dict[str, SectionRecord] = {}
    for wanted in name_anonymous(remote).sections:
        name = str(wanted.name)
        known = sections.get(name)
        before = known.options if known is not None else {}
        records[name] = SectionRecord(
            type=known.type if known is not None else None,
            options={option: before.get(option) for option in wanted.options},
        )
        sections[name] = Section(type=wanted.type, name=name, options={**before, **wanted.options})
    return Package(sections=tuple(sections.values())), PackageRecord(
        existed=base is not None, sections=records
    )


def unmerge(current: Package, *, record: PackageRecord) -> Package | None:
    """`current` without what `record` says was laid over it; None when nothing of the file is left.

    Options and sections a person added meanwhile stay; a section a person deleted does not come back.
    """
    kept: list[Section] = []
    for section in name_anonymous(current).sections:
        covered = record.sections.get(str(section.name))
        if covered is None:
            kept.append(section)
            continue
        options: dict[str, Value] = {}
        for option, value in section.options.items():
            original = covered.options.get(option, value)
            if original is not None:
                options[option] = original
        for option, pristine in covered.options.items():
            if pristine is not None and option not in options:
                options[option] = pristine
        if covered.type is not None or options:
            kept.append(Section(type=covered.type or section.type, name=section.name, options=options))
    return Package(sections=tuple(kept)) if kept or record.existed else None


def without_stock_wifi(package: Package) -> Package:
    """Drop the open access point a fresh OpenWrt announces; no merge brings it back (1A.9 step 7)."""
    return Package(sections=tuple(section for section in package.sections if not _is_stock_wifi(section)))


def _is_stock_wifi(section: Section) -> bool:
    options = section.options
    return (
        section.type == "wifi-iface"
        and options.get("ssid") in ("OpenWrt", "LEDE")
        and options.get("encryption", "none") == "none"
    )
