"""Content types whose charset no request of ours needs: `charset=rot13` names a codec, but not one of text.

Django decodes a request with whatever codec the header names, while it builds the request and before any view can
answer, so some of them would be an error 500 on every path. Those are dropped, and the body counts as UTF-8.
"""

import re

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^;\"]*)\"?", re.IGNORECASE)
_PLAIN = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252"})


def without_odd_charset(content_type: str) -> str:
    """Return a Content-Type header without a charset that is none of the usual ones.

    >>> without_odd_charset("application/json; charset=rot13")
    'application/json'
    >>> without_odd_charset("text/plain; charset=utf-8")
    'text/plain; charset=utf-8'
    """
    found = _CHARSET.search(content_type)
    if found is None or found[1].strip().lower() in _PLAIN:
        return content_type
    return _CHARSET.sub("", content_type)
