"""The letters of a script, told by the names that Unicode gives them: nothing the library itself looks at."""

from __future__ import annotations

import unicodedata

BEGINNINGS = {  # ISO 15924 code to how the names of its letters begin
    "Arab": ("ARABIC",),
    "Beng": ("BENGALI",),
    "Cyrl": ("CYRILLIC",),
    "Deva": ("DEVANAGARI",),
    "Geor": ("GEORGIAN",),
    "Grek": ("GREEK",),
    "Gujr": ("GUJARATI",),
    "Hans": ("CJK UNIFIED",),
    "Hebr": ("HEBREW",),
    "Jpan": ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC ITERATION"),
    "Kore": ("HANGUL",),
    "Latn": ("LATIN",),
    "Taml": ("TAMIL",),
    "Telu": ("TELUGU",),
    "Thai": ("THAI",),
    "Tibt": ("TIBETAN",),
}


def strange_letters(text: str, script: str) -> list[str]:
    """Names of the letters and vowel signs in a text that are of another script."""
    names = [unicodedata.name(sign) for sign in text if unicodedata.category(sign)[0] in "LM"]
    assert names, "no letters"
    return [name for name in names if not name.startswith(BEGINNINGS[script])]
