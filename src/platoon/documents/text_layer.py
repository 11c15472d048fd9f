"""The text that a PDF's page carries, as lines and words: what was typeset, so nothing can be misread.

It is worth nothing where fonts do not say what their glyphs mean, and on a scan that carries no more than a stamp.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from platoon.documents.page import Corners, Line, Word
from platoon.ocr.sheets import Characters

MAX_UNKNOWN = 0.05
"""With a larger share of characters without a meaning the text is not sound."""
SCANNED = 0.5
"""A page of which so much is under pictures may be a scan,"""
LEAST_COVER = 0.05
"""and then text must cover so much of it to be all that it says."""
GAP = 1.2
"""Characters further apart than this times their height are of different lines, as columns and cells of tables are."""
TOUCHING = 0.3
"""Characters no further apart than this are of one line, although one was ended between them, as before exponents."""
DRIFT = 0.7
"""So much of its height may a character stand above or below the one before it, as exponents do."""

_LINE_ENDS = frozenset((0x0A, 0x0D))
_HYPHENS = frozenset((0x02, 0xAD, 0xFFFE))
"""What pdfium or a file may have for a hyphen that divides a word."""
_REPLACEMENT = 0xFFFD
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}


def sound(characters: Characters, size: tuple[int, int]) -> bool:
    """Whether the text is what the page, (width, height) in pixels, says.

    It is not if there is none, if more than `MAX_UNKNOWN` of it are signs without a meaning (replacements, controls,
    private use, glyphs that map to nothing), or if the page is a scan and the text only a little of it.
    """
    codes = characters.codes.tolist()
    seen = np.array([not _is_blank(code) for code in codes], bool) & ~characters.generated
    if not seen.any():
        return False
    meaningless = np.array([_is_meaningless(code) for code in codes], bool)
    if (meaningless | characters.unknown)[seen].mean() > MAX_UNKNOWN:
        return False
    corners = characters.corners[seen]
    across, down = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    cover = float((np.hypot(*across.T) * np.hypot(*down.T)).sum()) / (size[0] * size[1])
    return characters.pictured < SCANNED or cover >= LEAST_COVER


def lines_of(characters: Characters) -> list[Line]:
    """The lines, in the order in which they are written; a wide gap parts two lines. Their confidence is 1."""
    lines: list[Line] = []
    words: list[list[int]] = [[]]
    last, ended = -1, False

    def end_line() -> None:
        if any(words):
            lines.append(_line(characters, [word for word in words if word]))
        words[:] = [[]]

    for index, code in enumerate(characters.codes.tolist()):
        if code in _LINE_ENDS:
            ended = True
        elif _is_blank(code):
            words.append([])
        else:
            if any(words) and not _follows(characters.corners, last, index, within=TOUCHING if ended else GAP):
                end_line()
            ended = False
            words[-1].append(index)
            last = index
    end_line()
    return lines


def _character(code: int) -> str:
    """The character, or what stands for an impossible one."""
    return chr(code if code < 0x110000 else _REPLACEMENT)


def _follows(corners: NDArray[np.float32], before: int, index: int, *, within: float) -> bool:
    """Whether a character continues the line of the one before, after a gap of so many times its height at most."""
    along, down = _axes(corners[before])
    if along @ _axes(corners[index])[0] < 0.9:
        return False
    height = max(float(np.hypot(*(corners[which][3] - corners[which][0]))) for which in (before, index))
    gap = float((corners[index][0] - corners[before][1]) @ along)
    drift = float((corners[index].mean(axis=0) - corners[before].mean(axis=0)) @ down)
    return -height <= gap <= within * height and abs(drift) <= DRIFT * height


def _axes(quad: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The direction in which a character is read, and the one that is down for it, of length 1."""
    across = quad[1] - quad[0]
    if not across.any():  # a glyph without width
        fallen = quad[3] - quad[0]
        across = np.array([fallen[1], -fallen[0]], np.float32) if fallen.any() else np.array([1, 0], np.float32)
    along = (across / np.hypot(*across)).astype(np.float32)
    return along, np.array([-along[1], along[0]], np.float32)


def _line(characters: Characters, words: Sequence[Sequence[int]]) -> Line:
    made = [Word(_text(characters, word), _around(characters.corners, word), 1.0) for word in words]
    return Line(
        " ".join(word.text for word in made),
        _around(characters.corners, [index for word in words for index in word]),
        1.0,
        tuple(made),
    )


def _text(characters: Characters, word: Sequence[int]) -> str:
    pieces = [
        "-" if characters.hyphens[index] or code in _HYPHENS else _LIGATURES.get(code, _character(code))
        for index, code in zip(word, characters.codes[list(word)].tolist(), strict=True)
    ]
    # Two surrogates that follow each other are one character; alone they are none.
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _around(corners: NDArray[np.float32], glyphs: Sequence[int]) -> Corners:
    """The rectangle around some characters, in the direction of the first."""
    along, down = _axes(corners[glyphs[0]])
    points = corners[list(glyphs)].reshape(-1, 2)
    left, right = (points @ along).min(), (points @ along).max()
    top, bottom = (points @ down).min(), (points @ down).max()
    places = [along * u + down * v for u, v in ((left, top), (right, top), (right, bottom), (left, bottom))]
    return tuple((float(x), float(y)) for x, y in places)


def _is_meaningless(code: int) -> bool:
    return code not in _HYPHENS and (code == _REPLACEMENT or not _character(code).isprintable())


def _is_blank(code: int) -> bool:
    return _character(code).isspace() and code not in _LINE_ENDS
