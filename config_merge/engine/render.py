"""From an effective tree to the archive a device downloads.

Invariant: equal trees give equal bytes, whatever the order of their keys, whatever was rendered before, on
every machine. Nothing is validated here beyond what rendering needs: a configuration stored before a
stricter rule came stays downloadable (spec/openwisp.md 2.5), unless a file of it could land outside its
directory.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from config_merge.engine.archive import packed
from config_merge.engine.backends import Backend, backend_named
from config_merge.engine.convert import converted
from config_merge.engine.errors import InvalidConfiguration, fragment
from config_merge.engine.legacy_scripts import with_explicit_radios, with_scripts
from config_merge.engine.places import DEFAULT_MODE, archive_path, file_mode
from config_merge.engine.sections import Section
from config_merge.engine.strict_json import frozen_part, frozen_parts
from config_merge.engine.types import Artefact, File
from config_merge.engine.uci import package_texts

_OPENWRT_VERSION = re.compile(r"\b(?:OpenWrt|LEDE)\b[^0-9]*?(\d{1,2})\.\d", re.IGNORECASE)
_FIRST_DSA_RELEASE = 21


def render(*, backend: str, tree: Mapping[str, Any], os: str = "") -> Artefact:
    """The files of a configuration and their archive.

    `os` is what the device says it runs ("OpenWrt 19.07.8 ..."); OpenWrt releases before 21 get the older
    network syntax, everything else, also the unknown, the newer one (spec/openwisp.md 2.3 "DSA"). Raises
    UnknownBackend and InvalidConfiguration.

    >>> artefact = render(backend="netjsonconfig.OpenWrt", tree={"general": {"hostname": "ap1"}})
    >>> artefact.files[0].path, artefact.files[0].contents
    ('etc/config/system', b"config system 'system'\\n\\toption hostname 'ap1'\\n")
    """
    language = backend_named(backend)
    tree, parts = frozen_parts(tree)
    if language.legacy_scripts and "radios" in tree:
        tree = with_explicit_radios(tree)
        parts["radios"] = frozen_part(tree["radios"])
    conversion = converted(tree, parts, backend=language, dsa=language.follows_os and speaks_dsa(os))
    extra = list(_extra_files(conversion.files))
    if language.legacy_scripts:
        extra = list(_extra_files(with_scripts(tree, files=conversion.files)))
    # A file that has the path of another one overwrites it, as unpacking both in order would.
    files = {file.path: file for file in (*_package_files(conversion.packages, language), *extra)}
    return packed(list(files.values()))


def speaks_dsa(os: str) -> bool:
    """Whether the network syntax of OpenWrt 21 applies.

    >>> speaks_dsa("OpenWrt 19.07.8 r11364-ef56c85848"), speaks_dsa("OpenWrt 22.03.5"), speaks_dsa("")
    (False, True, True)
    """
    version = _OPENWRT_VERSION.search(os)
    return version is None or int(version[1]) >= _FIRST_DSA_RELEASE


def _package_files(packages: Mapping[str, list[Section]], language: Backend) -> Iterator[File]:
    texts = package_texts(
        {name: [section.text for section in sections] for name, sections in packages.items()},
        header=language.package_header,
    )
    for name, text in texts.items():
        yield File(language.package_path.format(name), DEFAULT_MODE, text.encode())


def _extra_files(files: list[Any]) -> Iterator[File]:
    for index, entry in enumerate(files):
        if not isinstance(entry, dict):
            raise InvalidConfiguration("a file must be an object", path=fragment(("files", index)))
        contents = entry.get("contents")
        if not isinstance(contents, str):
            raise InvalidConfiguration(
                "a file's contents must be a string", path=fragment(("files", index, "contents"))
            )
        yield File(
            archive_path(entry.get("path"), index=index),
            file_mode(entry.get("mode", DEFAULT_MODE), index=index),
            contents.encode(),
        )
