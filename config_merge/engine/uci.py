"""Writes UCI text, the format of OpenWrt's /etc/config (https://openwrt.org/docs/guide-user/base-system/uci).

Invariant: the layout is that of netjsonconfig 1.3.1's template; values are written as they are. The
library's clean-up pass alters values that hold four spaces or line breaks, and an apostrophe breaks its
quoting so that `uci import` refuses the whole package; here the first two stay intact and the last is
written as the shell-like `'\\''`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# A value somebody already escaped by hand is left alone.
_APOSTROPHE = re.compile(r"'\\''|'")


def block_text(block: Mapping[str, Any], *, quoted_words: bool) -> str:
    """One section with its options, and the blank line after it.

    >>> block_text({".type": "led", ".name": "a", "on": True, "dev": "", "x": [1, 2]}, quoted_words=False)
    "config led 'a'\\n\\toption on '1'\\n\\tlist x '1'\\n\\tlist x '2'\\n\\n"
    """
    mark = "'" if quoted_words else ""
    lines = [f"config {mark}{block['.type']}{mark} '{_quotable(block['.name'])}'\n"]
    for key, value in block.items():
        if value is None or value == "" or key[:1] == ".":
            continue
        if isinstance(value, str):
            text = _quotable(value) if "'" in value else value
            lines.append(f"\toption {mark}{key}{mark} '{text}'\n")
        elif isinstance(value, list | tuple | dict):
            lines += [f"\tlist {mark}{key}{mark} '{_quotable(item)}'\n" for item in value]
        else:
            plain = int(value) if isinstance(value, bool) else value
            lines.append(f"\toption {mark}{key}{mark} '{plain}'\n")
    lines.append("\n")
    return "".join(lines)


def package_texts(packages: Mapping[str, Sequence[str]], *, header: str) -> dict[str, str]:
    """The file of each package, in order, from the texts of its sections.

    Every file ends with a blank line except the last one, which ends with a line break only: agents hash
    these files, so the library's habit is kept.
    """
    texts = {name: header.format(name) + "".join(blocks) for name, blocks in packages.items()}
    if texts:
        last = next(reversed(texts))
        texts[last] = texts[last].removesuffix("\n")
    return texts


def _quotable(value: object) -> str:
    text = str(value)
    return _APOSTROPHE.sub(r"'\\''", text) if "'" in text else text
