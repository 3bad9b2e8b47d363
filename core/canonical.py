"""Canonical JSON: equal values give equal bytes, on every machine, forever.

Devices and caches compare bytes, so anything that is stored, signed or compared goes through here.
"""

import json
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Serialise `value` with sorted keys, no blanks and UTF-8 text.

    Raises ValueError for NaN and infinities, TypeError for what JSON cannot hold.

    >>> canonical_json({"b": 1, "a": "é"})
    b'{"a":"\\xc3\\xa9","b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def spaced_json(value: Any) -> bytes:
    """Serialise `value` with sorted keys, a blank after each comma and colon, and ASCII text.

    What devices compare byte for byte is served in this form, the one that the original of the boot API has. Raises as
    `canonical_json` does.

    >>> spaced_json({"status": "ok", "a": [1, "é"]})
    b'{"a": [1, "\\\\u00e9"], "status": "ok"}'
    """
    return json.dumps(value, sort_keys=True, separators=(", ", ": "), allow_nan=False).encode("ascii")
