"""Which characters a text may hold in any form: those of XML 1.0, which JSON, HTML and UTF-8 take as well."""

from __future__ import annotations

import re

_INVALID = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def valid(text: str) -> str:
    """`text` with U+FFFD in place of control characters and lone surrogates, which readers of XML refuse."""
    return _INVALID.sub("\ufffd", text)
