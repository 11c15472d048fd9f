"""Documents: is the text right, in the right order, its tables whole? What does a page cost, and who waits for it?

Pages of real PDF files (`corpus`) and pages whose structure is known (`sheets`) are read by Platoon's document reader,
which does not get to see their text layers, and by RapidOCR, page by page, which gives lines from top to bottom and
knows of no tables or paragraphs. It is tuned; `quality` says what it does as it comes. Both are compared with the text
layer:

- the character error rate, line by line as in `quality`, and of the whole text in the order it is read in;
- the order of the printed words (`structure`): pairs in order, and words right after the one before them. A word is
  where the line, or the cell of a table, is that was found around its middle;
- tables by TEDS, and TEDS-Struct, which leaves the text aside; a table that is not found has 0;
- paragraphs that are found whole, and running heads and feet that are known as such.

Then documents of 1, 10 and 100 pages are read by a process of its own each (`paged`), and as jobs of a running service,
and plates are read by the service while it reads a document of 300 pages.

python -m benchmarks.documents [--share 0.3] [--pdfs FOLDER] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Shown

from benchmarks import corpus, jobs, report
from benchmarks.corpus import Character, fold
from benchmarks.pictures import plate_crops
from benchmarks.quality import PER_PACKAGE, RESULTS, Count, count, distance, owners
from benchmarks.rapid import WAYS, Rapid
from benchmarks.service import Sizes, spread
from benchmarks.sheets import SetSheet, Sheet, all_sheets, set_sheets
from benchmarks.structure import followed, kendall, teds
from platoon.documents.convert import open_reader
from platoon.documents.page import MARGINAL, Label, Line, Page, Table
from platoon.documents.read import DocumentReader, Options
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.media.frame import Pixels, Quad
from platoon.ocr.recognition import recognition_graph
from platoon.plates.remote import png
from platoon.settings import Settings

NEARLY = 0.05
"""A paragraph is whole if no more of its characters are wrong."""
BULLETS = "•·*- "
OPTIONS = Options(text_layer="ignore")

Found = Sequence[tuple[Quad, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What somebody says of a page."""

    lines: Found
    """In reading order."""
    positions: Sequence[Quad]
    """Where lines and the words of tables are, in reading order."""
    text: str
    page: Page | None = None
    """If there is more to say."""


def as_read(page: Page) -> Read:
    """What Platoon says; the words of a table come cell by cell."""
    lines: list[tuple[Quad, str]] = []
    positions: list[Quad] = []
    text: list[str] = []
    for block in page.blocks:
        lines += [(_quad(line), line.text) for line in block.lines]
        if block.table is None:
            positions += map(_quad, block.lines)
            text += [line.text for line in block.lines]
        else:
            positions += _by_cell(block.lines, block.table)
            text += [cell.text for cell in block.table.cells]
    return Read(lines, positions, fold(" ".join(text)), page)


def _by_cell(lines: Sequence[Line], table: Table) -> list[Quad]:
    """The words of a table in the order of its cells, as they stand in each."""

    def cell_of(quad: Quad) -> int:
        x, y = quad.mean(axis=0)
        boxes = (cell.box for cell in table.cells)
        off = [max(left - x, x - right, top - y, y - bottom) for left, top, right, bottom in boxes]
        return int(np.argmin(off))

    words = [np.array(word.corners, np.float32) for line in lines for word in line.words]
    return sorted(words, key=cell_of)


def _quad(line: Line) -> Quad:
    return np.array(line.corners, np.float32)


def by_platoon(reader: DocumentReader, pictures: Sequence[Pixels]) -> list[Read]:
    """The pages as `DocumentReader` reads them."""
    found = []
    for picture in pictures:
        with RequestContext(Priority.BULK) as call, reader.open(png(picture), OPTIONS, call) as document:
            found += [as_read(read.page) for read in document]
    return found


def by_rapid(options: Mapping[str, Any], pictures: Sequence[Pixels]) -> list[Read]:
    """The pages as RapidOCR reads them."""
    one = Rapid(**options)
    found = []
    for picture in pictures:
        lines = one.read_with_places(picture)
        found.append(Read(lines, [quad for quad, _ in lines], fold(" ".join(text for _, text in lines))))
    return found


def ranks(characters: Sequence[Character], positions: Sequence[Quad]) -> list[int]:
    """The printed words, as numbers from 0 in the order of the text layer, in the order of `positions`; those that
    stand in the same one from left to right, and those in none left out.
    """
    starts = [number for number, character in enumerate(characters) if character.starts_word or number == 0]
    words = [characters[start:end] for start, end in pairwise([*starts, len(characters)])]
    middles = [word[len(word) // 2] for word in words]
    placed = [
        (position, middle.x, number)
        for number, (middle, position) in enumerate(zip(middles, owners(middles, positions), strict=True))
        if position is not None
    ]
    order = [number for _, _, number in sorted(placed)]
    # Words that were not found are nobody's neighbours: the others close up.
    closed = {number: rank for rank, number in enumerate(sorted(order))}
    return [closed[number] for number in order]


@dataclass(frozen=True, slots=True)
class Marks:
    """How one page was read."""

    count: Count
    text_errors: int
    """Of the whole text in the order in which it was read."""
    order: float
    follows: float


def marks(page: corpus.Page, read: Read) -> Marks:
    """How right it is."""
    true = fold("".join(" " * character.starts_word + character.text for character in page.characters))
    found = ranks(page.characters, read.positions)
    return Marks(count(page, read.lines), distance(read.text, true), kendall(found), followed(found))


def tables(page: Page) -> list[Table]:
    """Those that were found."""
    return [block.table for block in page.blocks if block.table is not None]


def paragraphs(page: Page) -> list[str]:
    """Those of the text, the title and captions included, and the items of lists without their bullets."""
    kept = [block.text for block in page.blocks if block.label not in MARGINAL and block.label is not Label.TABLE]
    parts = [part for text in kept for part in text.split("\n\n")]
    items = [line.lstrip(BULLETS) for part in parts for line in part.split("\n")]
    return [fold(text) for text in (*parts, *items) if text]


def whole(true: str, found: Sequence[str]) -> bool:
    """Whether it is among those that were found, but for a few characters."""
    wrong = NEARLY * len(true)
    return any(abs(len(one) - len(true)) <= wrong and distance(one, true) <= wrong for one in found)


def structure_of(sheet: Sheet, page: Page) -> dict[str, Any]:
    """What Platoon makes of a page that was set."""
    found = tables(page)
    found_paragraphs = paragraphs(page)
    said = {label: {fold(block.text) for block in page.blocks if block.label is label} for label in MARGINAL}
    result: dict[str, Any] = {
        "tables_found": len(found),
        "paragraphs": len(sheet.paragraphs),
        "paragraphs_whole": sum(whole(fold(paragraph), found_paragraphs) for paragraph in sheet.paragraphs),
        "head": sheet.header in said[Label.HEADER],
        "foot": sheet.footer in said[Label.FOOTER],
    }
    if (true := sheet.table) is not None:
        result["TEDS"] = max((teds(one, true) for one in found), default=0.0)
        result["TEDS_struct"] = max((teds(one, true, text=False) for one in found), default=0.0)
    return result


def quality(
    manuals: Sequence[corpus.Page], sheets: Sequence[SetSheet], progress: Callable[[str], None]
) -> dict[str, Any]:
    """(a): how right is what is read."""
    papers = [*manuals, *(one.page for one in sheets)]
    pictures = [page.picture for page in papers]
    read: dict[str, list[Read]] = {}
    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as cache:
        progress(f"{len(papers)} pages, Platoon")
        with open_reader(Settings(cache=Path(cache))) as reader:
            read["platoon"] = by_platoon(reader, pictures)
    progress(f"{len(papers)} pages, RapidOCR")
    read["rapidocr tuned"] = by_rapid(WAYS["rapidocr tuned"], pictures)
    progress("comparing")
    marked = {name: [marks(page, one) for page, one in zip(papers, some, strict=True)] for name, some in read.items()}
    pages = []
    for number, page in enumerate(papers):
        row: dict[str, Any] = {"page": page.name}
        for name, each in marked.items():
            one = each[number]
            row[name] = {"errors": one.count.errors, "order": one.order, "follows": one.follows}
        if number >= len(manuals):
            found = read["platoon"][number].page
            assert found is not None
            row |= structure_of(sheets[number - len(manuals)].sheet, found)
        pages.append(row)
    kinds = {"manuals": slice(0, len(manuals)), "sheets": slice(len(manuals), None)}
    return {
        "pages": pages,
        "read": {kind: {name: _sum(each[some]) for name, each in marked.items()} for kind, some in kinds.items()},
        "structure": _structure(pages[len(manuals) :]),
    }


def _sum(some: Sequence[Marks]) -> dict[str, Any]:
    total = sum((one.count for one in some), Count())
    return {
        "pages": len(some),
        "characters": total.characters,
        "cer": total.cer,
        "cer_in_order": sum(one.text_errors for one in some) / max(1, total.characters),
        "order": float(np.mean([one.order for one in some])),
        "follows": float(np.mean([one.follows for one in some])),
        "order_worst": min(one.order for one in some),
    }


def _structure(pages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    with_table = [page for page in pages if "TEDS" in page]
    by_look: dict[str, list[Mapping[str, Any]]] = {"all": with_table}
    for page in with_table:
        by_look.setdefault(page["page"].split(", ")[1], []).append(page)
    return {
        "tables": {
            look: {
                "tables": len(some),
                "TEDS": float(np.mean([page["TEDS"] for page in some])),
                "TEDS_struct": float(np.mean([page["TEDS_struct"] for page in some])),
                "found": sum(page["tables_found"] > 0 for page in some),
            }
            for look, some in by_look.items()
            if some
        },
        "false_tables": sum(page["tables_found"] - ("TEDS" in page and page["tables_found"] > 0) for page in pages),
        "paragraphs": sum(page["paragraphs"] for page in pages),
        "paragraphs_whole": sum(page["paragraphs_whole"] for page in pages),
        "heads": sum(page["head"] for page in pages),
        "feet": sum(page["foot"] for page in pages),
        "pages": len(pages),
    }


def run(
    manuals: Sequence[corpus.Page], sheets: Sequence[Sheet], pdfs: Path, sizes: Sizes, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Measure everything; the results as they are kept. `progress` hears what is being done."""
    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as scratch:
        folder = Path(scratch)
        progress("LibreOffice sets pages")
        results: dict[str, Any] = {
            "machine": report.machine(),
            "quality": quality(manuals, set_sheets(sheets, folder), progress),
        }

        def document(count: int) -> bytes:
            return corpus.document(pdfs, manuals, count)

        load = os.getloadavg()[0]
        costs = jobs.costs(document, plate_crops()[1], folder, sizes, progress)
    results |= {"load": load, "cost": costs["pages"], "plates_ms": costs["plates_ms"]}
    return {**results, "aims": list(aims(results))}


def aims(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was reached of what is aimed at: at least so much, or at most, where the bound is negative."""
    for kind, ways in results["quality"]["read"].items():
        ours, tuned = ways["platoon"], ways["rapidocr tuned"]
        errors = ours["cer_in_order"] / max(tuned["cer_in_order"], 1e-9)
        yield _aim(f"{kind}: errors in order, platoon / RapidOCR tuned", errors, -1.0)
    cost, p99 = results["cost"], results["plates_ms"]
    few, many = sorted(map(int, cost["platoon"]))[-2:]
    for way in ("platoon", "platoon, as a job"):
        grown = cost[way][str(many)]["peak_bytes"] / cost[way][str(few)]["peak_bytes"]
        yield _aim(f"{way}: peak memory, {many} pages / {few}", grown, -1.1)
    faster = cost["platoon"][str(many)]["per_minute"] / cost["rapidocr tuned"][str(many)]["per_minute"]
    yield _aim(f"{many} pages: pages per minute, platoon / RapidOCR tuned", faster, 1.0)
    yield _aim("p99 of a plate, while a document is read / idle", p99["during"]["p99"] / p99["idle"]["p99"], -2.0)


def _aim(what: str, reached: float, bound: float) -> dict[str, Any]:
    met = reached >= bound if bound > 0 else reached <= -bound
    return {"aim": what, "reached": reached, "bound": bound, "met": met}


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all as tables."""
    found = results["quality"]
    table = Shown("pages", "read by", "CER by line", "CER in order", "pairs in order", "least", "words that follow")
    for kind, ways in found["read"].items():
        for name, one in ways.items():
            rates = (f"{one['cer']:.2%}", f"{one['cer_in_order']:.2%}")
            orders = (f"{one[key]:.4f}" for key in ("order", "order_worst", "follows"))
            table.add_row(f"{one['pages']} {kind}", name, *rates, *orders)
    console.print(table)
    structure = found["structure"]
    table = Shown("tables", "", "found", "TEDS", "TEDS-Struct")
    for look, one in structure["tables"].items():
        table.add_row(look, str(one["tables"]), str(one["found"]), f"{one['TEDS']:.3f}", f"{one['TEDS_struct']:.3f}")
    console.print(table)
    console.print(
        f"{structure['false_tables']} tables where none is; {structure['paragraphs_whole']} of"
        f" {structure['paragraphs']} paragraphs whole; {structure['heads']} heads and {structure['feet']} feet of"
        f" {structure['pages']} pages known",
        highlight=False,
    )
    table = Shown("read by", "pages", "pages a minute", "CPU s a page", "peak MB", "growth, kB a page")
    for way, some in results["cost"].items():
        for pages, one in some.items():
            grows = (
                f"{one['slope_bytes'] / 1e3:.0f} ± {one['slope_error_bytes'] / 1e3:.0f}" if "slope_bytes" in one else ""
            )
            numbers = (f"{one['per_minute']:.1f}", f"{one['cpu_s']:.2f}", f"{one['peak_bytes'] / 1e6:.0f}")
            table.add_row(way, pages, *numbers, grows)
    console.print(table)
    table = Shown("a plate", "p50 ms", "p99 ms")
    for when in ("idle", "during"):
        one = results["plates_ms"][when]
        table.add_row(when, f"{one['p50']:.1f}", f"{one['p99']:.1f}")
    console.print(table)
    console.print(report.reached(results["aims"]))


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual amount of everything")
    parser.add_argument("--pdfs", type=Path, default=corpus.PDFS, help="folder with PDF files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    given = parser.parse_args(arguments)
    sizes = Sizes(given.share)
    known = fold(" ".join(recognition_graph()[1]))
    sheets = all_sheets()
    console = Console() if sys.stdout.isatty() else Console(width=120)
    try:
        manuals = corpus.pages(given.pdfs, per_package=max(1, round(PER_PACKAGE * given.share)), known=known)
        with console.status("") as status:
            results = run(manuals, spread(sheets, sizes.count(len(sheets))), given.pdfs, sizes, status.update)
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from error
    show(results, console)
    given.results.mkdir(parents=True, exist_ok=True)
    report.write(results, given.results / "documents.json")


if __name__ == "__main__":
    main(sys.argv[1:])
