"""Pages of real documents whose text is known: PDF files with a text layer, and where each character is printed.

The files are whatever lies in a folder, /usr/share/doc where nothing else is said; none belongs to this repository.
Of each package, which is a folder in that one, the same number of pages is taken from all over, so that no long manual
outweighs the others. A page counts if it has a few lines of text at least, no pictures (they may show text that the
layer has not), no leaders (how many dots are read before a page number says nothing), and hardly any character that the
models cannot read at all.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from platoon.media.frame import Pixels
from platoon.ocr.pdf_process import SCALE

PDFS = Path("/usr/share/doc")
NONE_FOUND = """\
no pages of PDF files with text were found in {folder}; name another folder with --pdfs, or install some, as on Debian:
apt-get install --no-install-recommends bzip2-doc debian-faq debian-refcard fontconfig gnuplot-doc graphviz-doc groff \
libcfitsio-doc libtasn1-doc nettle-dev shared-mime-info valgrind zlib1g-dev"""

FEWEST = 400
"""Characters on a page."""
MOST_UNKNOWN = 0.002
"""Of the characters of a page; more are another script, or a layer without the meaning of its glyphs."""
SAME = str.maketrans("‘’‚‛′“”„‟″‐‑‒–—―−•∙●▪◦", "'''''\"\"\"\"\"-------·····")
"""Characters that print alike, and that text layers and models choose between as they like."""
LEADER = re.compile(r"([.·_=-])\1{3,}")
"""The dots to the page number in a table of contents, or a rule: drawn with characters, but no text."""


@dataclass(frozen=True, slots=True)
class Character:
    """A printed character, or several that are printed as one."""

    text: str
    """Folded, see `fold`."""
    x: float
    """Of its middle, in pixels of the picture."""
    y: float
    starts_word: bool
    """Whether there is space in front of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A page as a picture, and what is printed on it."""

    name: str
    """Of its file, with the number of the page from 1."""
    picture: Pixels
    characters: Sequence[Character]


def pages(folder: Path, *, per_package: int, known: Collection[str]) -> list[Page]:
    """So many pages of each package at most.

    Args:
        known: characters that the models can read.

    Raises:
        FileNotFoundError: there are none; it says what to install.
    """
    files = {
        hashlib.sha256(path.read_bytes()).digest(): path
        for pattern in ("*.pdf", "*.pdf.gz")
        for path in sorted(folder.rglob(pattern), reverse=True)
        if path.is_file()
    }
    paths = sorted(files.values())
    packages = itertools.groupby(paths, lambda path: path.relative_to(folder).parts[0])
    found = [page for _, some in packages for page in _spread(folder, list(some), per_package, frozenset(known))]
    if not found:
        raise FileNotFoundError(NONE_FOUND.format(folder=folder))
    return found


def document(folder: Path, pages: Sequence[Page], count: int) -> bytes:
    """A PDF file of so many pages: these, which `pages` found there, again and again."""
    made = pypdfium2.PdfDocument.new()
    for page in itertools.islice(itertools.cycle(pages), count):
        name, _, number = page.name.rpartition(" ")
        source = _opened(folder / name)
        made.import_pages(source, [int(number) - 1])
        source.close()
    buffer = io.BytesIO()
    made.save(buffer)
    made.close()
    return buffer.getvalue()


def fold(text: str) -> str:
    """What two texts have in common that print the same: ligatures and wide forms (NFKC), quotation marks, dashes and
    bullets count as the plain ones, and any space as one blank.
    """
    return " ".join(unicodedata.normalize("NFKC", text.translate(SAME)).translate(SAME).split())


def _spread(folder: Path, paths: Sequence[Path], count: int, known: frozenset[str]) -> Iterator[Page]:
    """`count` pages at even distances; where one does not count, the next that does."""
    documents = [(path, document) for path in paths if (document := _opened(path)) is not None]
    places = [(path, document, index) for path, document in documents for index in range(len(document))]
    taken = -1
    for number in range(count):
        first = max(taken + 1, int((number + 0.5) * len(places) / count))
        until = int((number + 1.5) * len(places) / count)
        for place in range(first, min(until, len(places))):
            path, document, index = places[place]
            page = _page(f"{path.relative_to(folder)} {index + 1}", document[index], known)
            if page is not None:
                taken = place
                yield page
                break
    for _, document in documents:
        document.close()


def _opened(path: Path) -> Any:
    """The document; None for what is none."""
    data = path.read_bytes()
    try:
        return pypdfium2.PdfDocument(gzip.decompress(data) if path.suffix == ".gz" else data)
    except pypdfium2.PdfiumError:
        return None


def drawn(name: str, page: Any) -> Page:
    """A page of an open document of pypdfium2, as the service draws it, with all that its text layer has."""
    bitmap = page.render(scale=SCALE, rev_byteorder=True, prefer_bgrx=False)
    to_picture = bitmap.get_posconv(page)
    layer = page.get_textpage()
    characters = []
    starts_word = True
    for index in range(layer.count_chars()):
        # The layer has a mark of its own for the hyphen of a word that goes on in the next line.
        printed = "-" if pdfium.FPDFText_IsHyphen(layer, index) == 1 else chr(pdfium.FPDFText_GetUnicode(layer, index))
        text = fold(printed)
        if not text or not text.isprintable():
            starts_word = True
            continue
        left, bottom, right, top = layer.get_charbox(index)
        x, y = to_picture.to_bitmap((left + right) / 2, (bottom + top) / 2)
        characters.append(Character(text, x, y, starts_word))
        starts_word = False
    return Page(name, np.array(bitmap.to_numpy()), characters)


def _page(name: str, page: Any, known: frozenset[str]) -> Page | None:
    if any(page.get_objects(filter=(pdfium.FPDF_PAGEOBJ_IMAGE,))):
        return None
    found = drawn(name, page)
    text = "".join(character.text for character in found.characters)
    unknown = sum(letter not in known for letter in text)
    if len(text) < FEWEST or unknown > MOST_UNKNOWN * len(text) or LEADER.search(text):
        return None
    return found
