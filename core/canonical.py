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
