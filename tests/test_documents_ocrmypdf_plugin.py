"""OCRmyPDF itself, with our engine, on PDF files that hold nothing but pictures of text."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pikepdf
import pypdfium2
import pytest
from ocrmypdf import OcrOptions
from ocrmypdf.exceptions import SubprocessOutputError
from PIL import Image

from platoon.documents import ocrmypdf_plugin
from platoon.documents.ocrmypdf_plugin import PlatoonEngine
from platoon.documents.read import DocumentReader
from platoon.ocr.engine import TextEngine
from tests.drawn import document, page

LINES = (
    ("Quarterly report 2026", 60, 90),
    ("Sales went up by 12 percent", 60, 180),
    ("Costs stayed the same", 60, 240),
)
WORDS = " ".join(text for text, _, _ in LINES)
OPTIONS = OcrOptions(input_file="in.pdf", output_file="out.pdf")
SHEET = page(*LINES, size=(640, 360))

Ocr = Callable[..., str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def ocr(tmp_path: Path, cache: Path) -> Ocr:
    """Runs OCRmyPDF over a file, to `out.pdf`, and gives what it said; without Tesseract or Ghostscript at hand."""

    def run(source: bytes, *flags: str) -> str:
        (tmp_path / "in.pdf").write_bytes(source)
        done = subprocess.run(
            [sys.executable, "-m", "ocrmypdf", "--output-type", "pdf", *flags, "in.pdf", "out.pdf"],
            cwd=tmp_path,
            env={**os.environ, "PATH": os.defpath, "PLATOON_CACHE": str(cache), "PLATOON_ENGINE__RUNTIME": "openvino"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def words(path: Path, index: int = 0) -> str:
    with pypdfium2.PdfDocument(path) as found:
        return " ".join(found[index].get_textpage().get_text_range().split())


@pytest.fixture
def engine(text_engine: TextEngine, monkeypatch: pytest.MonkeyPatch) -> PlatoonEngine:
    """The engine over the models of these tests."""
    reader = DocumentReader(text_engine, None, max_pages=9, max_pixels=9_000_000, page_s=30)
    monkeypatch.setattr(ocrmypdf_plugin, "_reader", lambda: reader)
    return PlatoonEngine()


@pytest.fixture
def turned(tmp_path: Path) -> Callable[[float], Path]:
    """Pictures of the sheet, turned counterclockwise."""

    def write(degrees: float) -> Path:
        path = tmp_path / f"{degrees}.png"
        sheet = Image.fromarray(SHEET).rotate(degrees, expand=True, fillcolor=(245, 245, 245))
        sheet.save(path, dpi=(144, 144))
        return path

    return write


def test_pictures_of_text_become_pages_whose_text_is_found(ocr: Ocr, tmp_path: Path) -> None:
    ocr(document([SHEET, SHEET[:130]]), "--sidecar", "out.txt")
    assert words(tmp_path / "out.pdf") == WORDS
    assert words(tmp_path / "out.pdf", 1) == LINES[0][0]
    said = (tmp_path / "out.txt").read_text()
    assert all(text in said for text, _, _ in LINES)
    with pikepdf.open(tmp_path / "out.pdf") as made:
        assert "Platoon" in str(made.docinfo.Creator)


def test_a_page_that_was_scanned_sideways_is_turned_upright_and_read(ocr: Ocr, tmp_path: Path) -> None:
    sideways = np.rot90(SHEET)
    ocr(document([np.ascontiguousarray(sideways)]), "--rotate-pages", "--pdf-renderer", "sandwich")
    with pikepdf.open(tmp_path / "out.pdf") as made:
        assert made.pages[0].rotation == 90
    assert words(tmp_path / "out.pdf") == WORDS


def test_another_engine_can_be_asked_for(ocr: Ocr, tmp_path: Path) -> None:
    ocr(document([SHEET]), "--ocr-engine", "none")
    assert words(tmp_path / "out.pdf") == ""


def test_a_text_only_pdf_is_as_large_as_its_image_and_says_where_the_words_are(
    engine: PlatoonEngine, turned: Callable[[float], Path], tmp_path: Path
) -> None:
    engine.generate_pdf(turned(0), tmp_path / "out.pdf", tmp_path / "out.txt", OPTIONS)
    with pypdfium2.PdfDocument(tmp_path / "out.pdf") as made:
        assert made[0].get_size() == pytest.approx((320, 180), abs=0.1)
        text = made[0].get_textpage()
        left, bottom, _, _ = text.get_charbox(text.search("Costs").get_next()[0], loose=True)
    assert (left, bottom) == pytest.approx((30, 56), abs=5)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_the_way_a_page_is_turned_is_known_for_sure(
    engine: PlatoonEngine, turned: Callable[[float], Path], turn: int
) -> None:
    orientation = engine.get_orientation(turned(-turn), OPTIONS)
    assert orientation.angle == turn
    assert orientation.confidence > 14  # what OCRmyPDF asks for by default


@pytest.mark.parametrize("degrees", [-4.0, 0.0, 3.0])
def test_a_skew_is_given_as_what_undoes_it(
    engine: PlatoonEngine, turned: Callable[[float], Path], degrees: float
) -> None:
    assert engine.get_deskew(turned(degrees), OPTIONS) == pytest.approx(-degrees, abs=0.7)


def test_an_empty_page_is_neither_turned_nor_askew(engine: PlatoonEngine, tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), "white").save(tmp_path / "empty.png")
    assert engine.get_orientation(tmp_path / "empty.png", OPTIONS).confidence == 0
    assert engine.get_deskew(tmp_path / "empty.png", OPTIONS) == 0


def test_an_image_that_cannot_be_read_is_an_error_of_ocrmypdf(engine: PlatoonEngine, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(SubprocessOutputError, match="Platoon: "):
        engine.get_deskew(tmp_path / "bad.png", OPTIONS)
