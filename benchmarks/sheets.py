"""Pages whose structure is known, set by LibreOffice as an office sets them: one page to a document.

Their text is the documentation of Python's own modules, and their tables are what Python knows: status codes, errors,
signals, a calendar. Each page has a running head and a foot with its number, and is one of several fonts; some have
columns, figures with captions, lists, and tables with rules, with some or with none.
"""

from __future__ import annotations

import base64
import calendar
import errno
import http
import importlib
import inspect
import io
import itertools
import math
import os
import shutil
import signal
import subprocess
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import pypdfium2
from PIL import Image, ImageDraw

from benchmarks import corpus
from benchmarks.corpus import fold
from platoon.documents.page import Cell, Table

OFFICE_S = 300
MISSING: Final = """\
pages with a known structure are set by LibreOffice, which is not installed; on Debian:
apt-get install --no-install-recommends libreoffice-writer-nogui fonts-crosextra-caladea fonts-crosextra-carlito \
fonts-dejavu-core fonts-liberation2 fonts-linuxlibertine"""
FONTS: Final = (
    "Liberation Serif", "Liberation Sans", "Carlito", "DejaVu Serif", "Caladea", "Linux Libertine O",
    "DejaVu Sans",
)  # fmt: skip
LOOKS: Final = ("ruled", "few rules", "no rules")
"""Of tables: every cell in a box; a rule above, one below, and one under the head; nothing."""
LARGE: Final = frozenset({"DejaVu Serif", "DejaVu Sans"})
"""Fonts that are set a point smaller, as they are wide."""
MODULES: Final = (
    "decimal", "logging", "threading", "configparser", "difflib", "email.message", "http.client", "unittest.mock",
    "random", "statistics", "asyncio", "turtle", "textwrap", "pathlib", "codecs",
)  # fmt: skip
"""What the text is about."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page to be set, and what it is made of."""

    name: str
    source: str
    """A document of LibreOffice in one XML file."""
    paragraphs: Sequence[str]
    """Those of its text, the title and captions included, in order."""
    header: str
    footer: str
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class SetSheet:
    """A page that was set."""

    sheet: Sheet
    page: corpus.Page


def set_sheets(sheets: Sequence[Sheet], folder: Path) -> list[SetSheet]:
    """The pages, as LibreOffice sets them; `folder` is for its files.

    Raises:
        FileNotFoundError: LibreOffice is not there; it says how to install it.
        ValueError: something does not fit on its page.
    """
    office = shutil.which("soffice")
    if office is None:
        raise FileNotFoundError(MISSING)
    sources = [folder / f"{number}.fodt" for number in range(len(sheets))]
    for source, sheet in zip(sources, sheets, strict=True):
        source.write_text(sheet.source, encoding="utf-8")
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    subprocess.run(
        [office, profile, "--headless", "--convert-to", "pdf", "--outdir", folder, *sources],
        check=True,
        timeout=OFFICE_S,
        capture_output=True,
    )
    found = []
    for source, sheet in zip(sources, sheets, strict=True):
        document = pypdfium2.PdfDocument(source.with_suffix(".pdf"))
        if len(document) != 1:
            raise ValueError(f"{sheet.name} takes {len(document)} pages")
        found.append(SetSheet(sheet, corpus.drawn(sheet.name, document[0])))
        document.close()
    return found


def all_sheets() -> list[Sheet]:
    """All pages: seven of text, and each of the tables in each look, alone or amid columns of text."""
    texts = _prose()
    fonts = itertools.cycle(FONTS)
    numbers = itertools.count(1)
    sheets = []

    def add(name: str, *parts: Part, table: Table | None = None) -> None:
        font, number = next(fonts), next(numbers)
        header, footer = f"The library as it is, chapter {number}", f"Page {number} of many"
        body = "".join(part.xml for part in parts)
        paragraphs = [paragraph for part in parts for paragraph in part.paragraphs]
        source = _document(body, header, footer, font)
        sheets.append(Sheet(f"{name}, {font}", source, paragraphs, header, footer, table))

    add("one column", _title("Notes on modules"), _running(texts, 2600))
    add("two columns", _title("Two columns under a title"), _columns(2, _running(texts, 2600)))
    add("three columns", _columns(3, _running(texts, 2600)))
    add("a list", _title("What there is"), _running(texts, 500), _items(texts, 8), _running(texts, 500))
    add("a figure", _running(texts, 800), _figure(1, 12), _running(texts, 700))
    add("two columns, a figure", _columns(2, _running(texts, 700), _figure(2, 7), _running(texts, 1000)))
    add(
        "columns, title, columns",
        _columns(2, _running(texts, 900)),
        _title("A title between columns"),
        _columns(2, _running(texts, 900)),
    )
    for number, (subject, table) in enumerate(_tables()):
        for look in LOOKS:
            shown = _table(table, look)
            caption = _caption(f"Table {number + 1}. {subject.capitalize()}")
            if (number + LOOKS.index(look)) % 3:
                parts = [_running(texts, 500), caption, shown, _running(texts, 400)]
            else:
                parts = [_columns(2, _running(texts, 600)), caption, shown, _columns(2, _running(texts, 500))]
            add(f"{subject}, {look}", *parts, table=table)
    return sheets


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a page."""

    xml: str
    paragraphs: tuple[str, ...] = ()


def _prose() -> Iterator[str]:
    """Paragraphs of running text, each once."""
    seen = set[str]()
    for module in map(importlib.import_module, MODULES):
        classes = [one for _, one in inspect.getmembers(module, inspect.isclass)]
        methods = [one for some in classes for _, one in inspect.getmembers(some, inspect.isroutine)]
        functions = [one for _, one in inspect.getmembers(module, inspect.isroutine)]
        for thing in (module, *classes, *functions, *methods):
            for paragraph in (inspect.getdoc(thing) or "").split("\n\n"):
                text = fold(paragraph)
                plain = sum(letter.isalpha() or letter == " " for letter in text)
                ordinary = 120 <= len(text) <= 900 and text[0].isupper() and text[-1] == "." and "\n " not in paragraph
                if ordinary and plain >= 0.9 * len(text) and text not in seen:
                    seen.add(text)
                    yield text


def _paragraph(text: str, style: str) -> str:
    return f'<text:p text:style-name="{style}">{escape(text)}</text:p>'


def _running(texts: Iterator[str], least: int) -> Part:
    """Paragraphs of `least` characters and some."""
    taken: list[str] = []
    while sum(map(len, taken)) < least:
        taken.append(next(texts))
    return Part("".join(_paragraph(text, "Body") for text in taken), tuple(taken))


def _title(text: str) -> Part:
    return Part(_paragraph(text, "Title"), (text,))


def _caption(text: str) -> Part:
    return Part(_paragraph(text, "Caption"), (text,))


def _items(texts: Iterator[str], count: int) -> Part:
    """A list, whose items are the first sentences of paragraphs."""
    taken = [f"{text.split('. ')[0].removesuffix('.')}." for text in itertools.islice(texts, count)]
    items = "".join(f"<text:list-item>{_paragraph(text, 'Body')}</text:list-item>" for text in taken)
    return Part(f'<text:list text:style-name="Dots">{items}</text:list>', tuple(taken))


def _columns(count: int, *parts: Part) -> Part:
    """Parts in columns, all of the same height."""
    inside = "".join(part.xml for part in parts)
    paragraphs = tuple(paragraph for part in parts for paragraph in part.paragraphs)
    return Part(f'<text:section text:style-name="C{count}" text:name="S">{inside}</text:section>', paragraphs)


def _figure(number: int, width_cm: float) -> Part:
    """A drawing without text, and its caption."""
    picture = Image.new("RGB", (800, 400), (240, 244, 250))
    draw = ImageDraw.Draw(picture)
    for bar in range(12):
        height = 60 + 250 * abs(math.sin(bar * number))
        draw.rectangle((40 + bar * 62, 370 - height, 85 + bar * 62, 370), fill=(40 + 15 * bar, 90, 150))
    draw.line([(40 + 10 * x, 200 + 120 * math.sin(x / 7)) for x in range(73)], fill=(180, 40, 40), width=5)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'svg:width="{width_cm}cm" svg:height="{width_cm / 2}cm"'
    image = f"<draw:image><office:binary-data>{data}</office:binary-data></draw:image>"
    frame = f'<draw:frame text:anchor-type="as-char" {size}>{image}</draw:frame>'
    caption = _caption(f"Figure {number}. How often each of twelve things was counted, and what was expected")
    return Part(f'<text:p text:style-name="Caption">{frame}</text:p>{caption.xml}', caption.paragraphs)


def _table(table: Table, look: str) -> Part:
    """The table; what its cells say is known from the table itself."""
    rows = ""
    for row in range(table.rows):
        cells = ""
        starts = {cell.column: cell for cell in table.cells if cell.row == row}
        for column in range(table.columns):
            if column not in starts:
                cells += "<table:covered-table-cell/>"
                continue
            cell = starts[column]
            spans = f'table:number-columns-spanned="{cell.columns}" table:number-rows-spanned="{cell.rows}"'
            place = "Top" if row == 0 else "Last" if row + cell.rows == table.rows else "Inner"
            style = "Boxed" if look == "ruled" else place if look == "few rules" else "Inner"
            text = _paragraph(cell.text, "Head" if row == 0 else "Cell")
            cells += f'<table:table-cell table:style-name="{style}" {spans}>{text}</table:table-cell>'
        rows += f"<table:table-row>{cells}</table:table-row>"
    columns = f'<table:table-column table:number-columns-repeated="{table.columns}"/>'
    return Part(f'<table:table table:name="T" table:style-name="Table">{columns}{rows}</table:table>')


def _grid(rows: Sequence[Sequence[str]]) -> Table:
    """A table in which no cell spans others."""
    cells = (Cell(y, x, text, (0, 0, 0, 0)) for y, row in enumerate(rows) for x, text in enumerate(row))
    return Table(len(rows), len(rows[0]), tuple(cells))


def _tables() -> Iterator[tuple[str, Table]]:
    """Tables and what they show, each small enough for half a page."""
    codes = [code for code in http.HTTPStatus if code.description][2:14]
    heads = ("Status", "Name", "What it means")
    yield "status codes", _grid([heads, *((str(code.value), code.phrase, code.description) for code in codes)])
    numbers = sorted(errno.errorcode)[:16]
    yield (
        "errors",
        _grid([("Number", "Symbol", "Text"), *((str(n), errno.errorcode[n], os.strerror(n)) for n in numbers)]),
    )
    signals = sorted(signal.valid_signals())[:14]
    rows = [
        (one.name, str(one.value), signal.strsignal(one) or "") for one in signals if isinstance(one, signal.Signals)
    ]
    yield "signals", _grid([("Signal", "Number", "Description"), *rows])
    month = [[str(day) if day else "" for day in week] for week in calendar.monthcalendar(2026, 11)]
    named = _grid([["November 2026", *[""] * 6], list(calendar.day_abbr), *month])
    yield "a month", Table(named.rows, 7, (replace(named.cells[0], columns=7), *named.cells[7:]))
    angles = [[f"{x}", *(f"{f(math.radians(x)):.4f}" for f in (math.sin, math.cos, math.tan))] for x in range(0, 80, 5)]
    figures = _grid([["Degrees", "Function", "", ""], ["", "sine", "cosine", "tangent"], *angles])
    first, second, *_ = figures.cells
    kept = [cell for cell in figures.cells if (cell.row, cell.column) not in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0))]
    yield "angles", Table(figures.rows, 4, (replace(first, rows=2), replace(second, columns=3), *kept))
    letters = [chr(code) for code in (*range(0xC0, 0xC8), *range(0xDF, 0xE4))]
    points = [(letter, f"U+{ord(letter):04X}", unicodedata.name(letter).capitalize()) for letter in letters]
    yield "letters", _grid([("Letter", "Code", "Name"), *points])
    parameters = _parameters()
    yield "parameters", parameters


def _parameters() -> Table:
    """Functions and their parameters: what a function is called spans the rows of its parameters."""
    cells = [Cell(0, column, text, (0, 0, 0, 0)) for column, text in enumerate(("Function", "Parameter", "Default"))]
    row = 1
    for function in (shutil.copyfile, shutil.copytree, shutil.move, shutil.which):
        taken = inspect.signature(function).parameters.values()
        cells.append(Cell(row, 0, f"shutil.{function.__name__}", (0, 0, 0, 0), rows=len(taken)))
        for parameter in taken:
            default = "" if parameter.default is parameter.empty else _shown(parameter.default)
            cells += [Cell(row, 1, parameter.name, (0, 0, 0, 0)), Cell(row, 2, default, (0, 0, 0, 0))]
            row += 1
    return Table(row, 3, tuple(cells))


def _shown(value: object) -> str:
    return getattr(value, "__name__", repr(value))


def _document(body: str, header: str, footer: str, font: str) -> str:
    """One file of LibreOffice, with one page's contents, in XML (OpenDocument 1.2)."""
    points = 9.5 if font in LARGE else 10.5
    family = f"'{font}'" if " " in font else font

    def paragraph(name: str, size: float, look: str = "", text: str = "") -> str:
        return (
            f'<style:style style:name="{name}" style:family="paragraph"><style:paragraph-properties {look}/>'
            f'<style:text-properties style:font-name="F" fo:font-size="{size}pt" fo:language="en" fo:country="US"'
            f" {text}/></style:style>"
        )

    def section(count: int) -> str:
        return (
            f'<style:style style:name="C{count}" style:family="section"><style:section-properties>'
            f'<style:columns fo:column-count="{count}" fo:column-gap="0.7cm"/></style:section-properties></style:style>'
        )

    def cell(name: str, borders: str) -> str:
        properties = f'<style:table-cell-properties fo:padding="0.1cm" {borders}/>'
        return f'<style:style style:name="{name}" style:family="table-cell">{properties}</style:style>'

    rule = '"0.75pt solid #000000"'
    spaces = ("office", "style", "text", "table")
    names = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in spaces)
    names += ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
    names += ' xmlns:fo="urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0"'
    names += ' xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"'
    kind = 'office:version="1.2" office:mimetype="application/vnd.oasis.opendocument.text"'
    styles = (
        paragraph("Body", points, 'fo:text-align="justify" fo:margin-bottom="0.2cm" fo:line-height="115%"'),
        paragraph("Title", 18, 'fo:margin-bottom="0.4cm" fo:margin-top="0.2cm"', 'fo:font-weight="bold"'),
        paragraph("Caption", points - 1, 'fo:margin-bottom="0.2cm" fo:margin-top="0.3cm"', 'fo:font-style="italic"'),
        paragraph("Cell", points - 1),
        paragraph("Head", points - 1, text='fo:font-weight="bold"'),
        paragraph("Margin", points - 1.5),
        section(2),
        section(3),
        cell("Boxed", f"fo:border={rule}"),
        cell("Top", f"fo:border-top={rule} fo:border-bottom={rule}"),
        cell("Last", f"fo:border-bottom={rule}"),
        cell("Inner", 'fo:border="none"'),
        '<style:style style:name="Table" style:family="table"><style:table-properties fo:margin-bottom="0.4cm"'
        ' table:align="margins"/></style:style>',
        '<text:list-style style:name="Dots"><text:list-level-style-bullet text:level="1" text:bullet-char="•">'
        '<style:list-level-properties text:space-before="0.4cm" text:min-label-width="0.5cm"/>'
        "</text:list-level-style-bullet></text:list-style>",
        '<style:page-layout style:name="A4"><style:page-layout-properties fo:page-width="21cm" fo:page-height="29.7cm"'
        ' fo:margin="2cm"/><style:header-style><style:header-footer-properties fo:min-height="1cm"'
        ' fo:margin-bottom="0.5cm"/></style:header-style><style:footer-style><style:header-footer-properties'
        ' fo:min-height="1cm" fo:margin-top="0.5cm"/></style:footer-style></style:page-layout>',
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document {names} {kind}>'
        f'<office:font-face-decls><style:font-face style:name="F" svg:font-family="{family}"/></office:font-face-decls>'
        f"<office:automatic-styles>{''.join(styles)}</office:automatic-styles>"
        '<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="A4">'
        f"<style:header>{_paragraph(header, 'Margin')}</style:header>"
        f"<style:footer>{_paragraph(footer, 'Margin')}</style:footer></style:master-page></office:master-styles>"
        f"<office:body><office:text>{body}</office:text></office:body></office:document>"
    )
