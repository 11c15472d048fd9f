"""Platoon as the engine of OCRmyPDF (https://ocrmypdf.readthedocs.io/en/latest/plugins.html).

Installed beside OCRmyPDF it reads whatever is not given to another engine by name, as `--ocr-engine tesseract` does;
Tesseract itself may be missing then. Pages are read by the models that this process loads once, in the order of their
blocks.
"""

# ruff: noqa: ARG004  (OCRmyPDF passes its options by name, whether or not they are wanted)

from __future__ import annotations

import atexit
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pikepdf
from ocrmypdf import OcrEngine, OrientationConfidence, hookimpl
from ocrmypdf.builtin_plugins import tesseract_ocr
from ocrmypdf.exceptions import SubprocessOutputError
from PIL import Image

from platoon import __version__
from platoon.documents.convert import open_reader
from platoon.documents.exports.exporting import exporting
from platoon.documents.exports.form import Form
from platoon.documents.exports.invisible_text import InvisibleText
from platoon.documents.exports.pdf import append_page
from platoon.documents.page import Line, Page
from platoon.documents.read import DocumentReader, Options, ReadPage
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import PlatoonError
from platoon.ocr.reading import ReadOptions
from platoon.settings import Settings

if TYPE_CHECKING:
    import pluggy
    from ocrmypdf._options import OcrOptions
    from pydantic import BaseModel

FONT = pikepdf.Name("/f-0-0")
"""OCRmyPDF looks for a font of this name: Tesseract's is called so."""
SURE = 15.0
"""A turn that all lines agree on, in OCRmyPDF's measure of sureness."""


class PlatoonEngine(OcrEngine):
    """Reads images of pages. OCRmyPDF calls it from several threads at once; they share batches."""

    @staticmethod
    def version() -> str:
        """Platoon's."""
        return __version__

    @staticmethod
    def creator_tag(options: OcrOptions) -> str:
        """What PDFs say of who read them."""
        return f"Platoon {__version__}"

    def __str__(self) -> str:
        return f"Platoon {__version__}"

    @staticmethod
    def languages(options: OcrOptions) -> set[str]:
        """None: one model reads all letters that it knows, so that there is nothing to choose or to check."""
        return set()

    @staticmethod
    def get_orientation(input_file: Path, options: OcrOptions) -> OrientationConfidence:
        """By how much the page is turned clockwise: against how most of its lines run."""
        lines = _read(input_file, ReadOptions(upside_down=True)).page.lines
        turns = {turn: sum(_length(line) for line in lines if _turn(line) == turn) for turn in (0, 90, 180, 270)}
        turn = max(turns, key=turns.__getitem__)
        return OrientationConfidence(-turn % 360, SURE * turns[turn] / (sum(turns.values()) or 1.0))

    @staticmethod
    def get_deskew(input_file: Path, options: OcrOptions) -> float:
        """By how many degrees the page must be turned counterclockwise, so that its lines are level: the median, by
        length.
        """
        lines = [line for line in _read(input_file).page.lines if _turn(line) == 0]
        half, passed = sum(map(_length, lines)) / 2, 0.0
        for line in sorted(lines, key=_rise):
            passed += _length(line)
            if passed >= half:
                return -_rise(line)
        return 0.0

    @staticmethod
    def generate_hocr(input_file: Path, output_hocr: Path, output_text: Path, options: OcrOptions) -> None:
        """Write what the page says, with places and plain."""
        read = _read(input_file)
        with output_hocr.open("wb") as out, exporting(Form.HOCR, out, name=input_file.name) as export:
            export.add(read.page, read.picture)
        _write_text(read.page, output_text)

    @staticmethod
    def generate_pdf(input_file: Path, output_pdf: Path, output_text: Path, options: OcrOptions) -> None:
        """Write a PDF of the image's size that holds nothing but the unseen text, and the text itself."""
        page = _read(input_file).page
        with Image.open(input_file) as image:
            dpi = image.info.get("dpi", (72.0, 72.0))[0]
        with pikepdf.Pdf.new() as pdf:
            text = InvisibleText(pdf, font=FONT)
            append_page(pdf, replace(page, scale=dpi / 72), None, text)
            text.finish()
            pdf.pages[0].contents_coalesce()  # OCRmyPDF takes a page of several streams for none
            pdf.save(output_pdf)
        _write_text(page, output_text)


@hookimpl
def initialize(plugin_manager: pluggy.PluginManager) -> None:
    """Spare those who have no Tesseract its plug-in, which asks for it whoever reads."""
    if shutil.which("tesseract") is None:
        plugin_manager.set_blocked(tesseract_ocr.__name__)


@hookimpl
def register_options() -> Mapping[str, type[BaseModel]]:
    """The options of Tesseract's plug-in, which OCRmyPDF consults even where it is blocked."""
    return {"tesseract": tesseract_ocr.TesseractOptions} if shutil.which("tesseract") is None else {}


@hookimpl
def get_ocr_engine(options: OcrOptions | None) -> OcrEngine | None:
    """Platoon's, unless another one is asked for."""
    return PlatoonEngine() if options is None or options.ocr_engine == "auto" else None


@cache
def _reader() -> DocumentReader:
    """One for the process: OCRmyPDF has no place for what lasts longer than a page."""
    opened = open_reader(Settings())
    reader = opened.__enter__()
    atexit.register(opened.__exit__, None, None, None)
    return reader


def _read(image: Path, read_options: ReadOptions | None = None) -> ReadPage:
    try:
        with RequestContext(Priority.BULK) as call:
            options = Options(tables=False, read_options=read_options or ReadOptions())
            with _reader().open(image.read_bytes(), options, call) as document:
                (read,) = document
    except PlatoonError as error:
        raise SubprocessOutputError(f"Platoon: {error}") from error
    if read.page.error is not None:
        raise SubprocessOutputError(f"Platoon: {read.page.error}")
    return read


def _write_text(page: Page, path: Path) -> None:
    path.write_text("\n\n".join(block.text for block in page.blocks if block.text), encoding="utf-8")


def _length(line: Line) -> float:
    return math.dist(line.corners[3], line.corners[2])


def _rise(line: Line) -> float:
    """The angle at which the line runs, in degrees counterclockwise from the right."""
    right, left = line.corners[2], line.corners[3]
    return math.degrees(math.atan2(left[1] - right[1], right[0] - left[0]))


def _turn(line: Line) -> int:
    """The multiple of 90 degrees that is nearest to its angle: 90 runs upwards."""
    return round(_rise(line) / 90) * 90 % 360
