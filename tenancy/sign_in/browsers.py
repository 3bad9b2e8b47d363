"""Which browser a User-Agent header means, in words a person recognises their own device by."""

import re

# The first that fits: every browser also names those it descends from.
_PROGRAMS = (
    ("Edge", r"\bEdgA?/"), ("Opera", r"\bOPR/|\bOpera"), ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"), ("Chrome", r"\b(?:Chrome|CriOS|HeadlessChrome)/"),
    ("Safari", r"\bSafari/"), ("curl", r"^curl/"), ("Python", r"^python"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", r"Android"), ("iPhone", r"iPhone"), ("iPad", r"iPad"), ("Windows", r"Windows"),
    ("macOS", r"Mac OS X|Macintosh"), ("ChromeOS", r"\bCrOS\b"), ("Linux", r"Linux|X11"),
)  # fmt: skip


def browser_in_words(user_agent: str) -> str:
    """Return "program on system", as far as either is known.

    >>> browser_in_words("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    'Firefox on Linux'
    >>> browser_in_words("curl/8.5.0"), browser_in_words("")
    ('curl', 'Unknown browser')
    """
    program = next((name for name, sign in _PROGRAMS if re.search(sign, user_agent)), "Unknown browser")
    system = next((name for name, sign in _SYSTEMS if re.search(sign, user_agent)), "")
    return f"{program} on {system}" if system else program
