"""Languages that callers name: one model reads all it can read, so a language is never chosen, only refused."""

from __future__ import annotations

import re

from platoon.errors import InvalidInput

_UNREADABLE = {
    "Arabic": {"ar", "fa", "ur", "ug", "ps", "arabic", "ara"},
    "Armenian": {"hy"},
    "Bengali": {"bn", "as"},
    "Cyrillic": {"ru", "uk", "bg", "be", "sr", "mk", "kk", "mn", "cyrillic", "rus", "ukr", "eslav"},
    "Devanagari": {"hi", "mr", "ne", "sa", "devanagari", "hin"},
    "Georgian": {"ka"},
    "Gujarati": {"gu"},
    "Hangul": {"ko", "korean", "kor"},
    "Hebrew": {"he", "yi", "heb"},
    "Kannada": {"kn"},
    "Malayalam": {"ml"},
    "Tamil": {"ta"},
    "Telugu": {"te"},
    "Thai": {"th", "tha"},
}
"""Scripts that the alphabet of the PP-OCRv6 weights lacks, and the languages written in them."""


def check_language(field: str, language: str) -> None:
    """Raises InvalidInput, naming `field`, where the model does not know the language's letters."""
    code = re.split(r"[-_]", language.strip().lower(), maxsplit=1)[0]
    for script, languages in _UNREADABLE.items():
        if code in languages:
            raise InvalidInput(f"{field}: {language[:40]!r} is written in {script}, which the model cannot read")
