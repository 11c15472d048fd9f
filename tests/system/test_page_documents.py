"""The page about documents in a real browser, as a person uses it: with a real reader, or one whose pages wait."""

import base64
import json
import os
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from platoon.documents.exports.form import Form
from platoon.documents.layout import LayoutModel
from platoon.documents.read import DocumentReader, OpenDocument, Options, ReadPage, ReadsDocuments
from platoon.engine.gate import Gates
from platoon.engine.request_context import RequestContext
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.settings import EngineSettings
from tests.browser import Browser
from tests.drawn import pdf, stream
from tests.fake_site import FakeSite, camera
from tests.job_service import serving
from tests.keys import key
from tests.running import wait_until
from tests.scripted_reader import ScriptedReader

DESKTOP, PHONE = (1440, 900), (390, 844)
HOSTILE = "<img src=x onerror=alert(1)>"
STATION = """\
The new line between the harbour and the upper town was opened to the
public in May. It runs every six minutes and carries some forty thousand
people a day, a third more than had been expected. Most of them used to
come by car; two of the three large car parks have since been closed.

The trams are charged at the ends of the line and at four stops on the
way, so that no wire hangs above the old market. In the cold weeks of
January one charge in fifty failed and was made up for at the next stop.
"""
FIGURES = (("Quarter", "Passengers", "On time"), ("First", "2,911,000", "96.1 %"), ("Second", "3,480,500", "97.4 %"),
           ("Third", "3,702,300", "98.0 %"), ("Fourth", "3,655,900", "95.2 %"))  # fmt: skip


def shown(text: str, x: float, y: float, size: float, font: str = "R") -> str:
    """Operators that show a line of text."""
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /{font} {size} Tf 1 0 0 1 {x} {y} Tm ({escaped}) Tj ET\n"


def paragraphs(text: str, top: float) -> str:
    return "".join(shown(line, 72, top - 16 * number, 12) for number, line in enumerate(text.splitlines()))


def report(pages: int = 2) -> bytes:
    """A PDF that carries its text: headings, paragraphs, a table with rules, a chart; and some that looks like HTML."""
    table = "".join(
        shown(text, 80 + 150 * column, 505 - 24 * row, 11, "B" if row == 0 else "R")
        for row, texts in enumerate(FIGURES)
        for column, text in enumerate(texts)
    )
    rules = "".join(f"72 {521 - 24 * row} m 522 {521 - 24 * row} l S\n" for row in range(len(FIGURES) + 1))
    rules += "".join(
        f"{72 + 150 * column} 521 m {72 + 150 * column} {521 - 24 * len(FIGURES)} l S\n" for column in range(4)
    )
    bars = "".join(
        f"0.{2 + number} 0.5 0.{8 - number} rg {140 + 70 * number} 190 48 {height} re f\n"
        for number, height in enumerate((90, 120, 150, 140, 165))
    )
    first = (
        shown("A year of the harbour tram", 72, 740, 26, "B")
        + paragraphs(STATION, 700)
        + table
        + rules
        + shown("Table 1. Passengers and punctuality by quarter", 150, 378, 10)
        + bars
        + "0 g 120 190 m 500 190 l S 120 190 m 120 365 l S\n"
        + shown("Figure 1. Passengers by year, in millions", 170, 168, 10)
    )
    other = shown("What people wrote", 72, 740, 20, "B") + paragraphs(
        f"One letter said {HOSTILE} and no more.\n{STATION}", 700
    )
    contents = [first, *[other] * (pages - 1)]
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(pages)).encode()
    fonts = b"<</R 3 0 R/B 4 0 R>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d/MediaBox[0 0 595 842]/Resources<</Font%s>>>>" % (kids, pages, fonts),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>",
    ]
    for number, content in enumerate(contents):
        objects.append(b"<</Type/Page/Parent 2 0 R/Contents %d 0 R>>" % (6 + 2 * number))
        objects.append(stream(content.encode("latin-1")))
    return pdf(*objects)


@dataclass
class Paced:
    """A reader whose pages are each read when `turns` lets."""

    reader: ReadsDocuments
    turns: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def warm_up(self) -> None:
        """See `ReadsDocuments.warm_up`."""
        self.reader.warm_up()

    @contextmanager
    def open(
        self, data: bytes, options: Options, call: RequestContext, *, skip: Container[int] = ()
    ) -> Iterator[OpenDocument]:
        """See `ReadsDocuments.open`."""
        with self.reader.open(data, options, call, skip=skip) as document:
            yield OpenDocument(document.kind, document.sizes, document.indices, self._pages(document, call))

    def _pages(self, document: OpenDocument, call: RequestContext) -> Iterator[ReadPage]:
        for page in document:
            while not self.turns.acquire(timeout=0.01):
                call.check()
            yield page


@pytest.fixture(scope="module")
def reader(text_engine: TextEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentReader]:
    layout = LayoutModel(EngineSettings(runtime="openvino"), tmp_path_factory.mktemp("layout"), Metrics(), Gates.of(1))
    yield DocumentReader(text_engine, layout, max_pages=100, max_pixels=10_000_000, page_s=60)
    layout.close()


Opener = Callable[..., httpx.Client]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Serve documents with this reader, and open their page, as a visitor who has not been here before."""
    with ExitStack() as stack:

        def show(reader: ReadsDocuments, **service: Any) -> httpx.Client:
            client = stack.enter_context(serving(tmp_path, reader, **service))
            browser.view(*DESKTOP)
            browser.open(f"{client.base_url}/")
            return client

        yield show


def hand_in(browser: Browser, folder: Path, name: str, data: bytes) -> None:
    """Choose a file."""
    path = folder / name
    path.write_bytes(data)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def text_of(browser: Browser, selector: str) -> list[str]:
    """The text of all elements that `selector` finds."""
    texts: list[str] = browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")
    return texts


def wait_for_text(browser: Browser, selector: str, text: str) -> None:
    browser.wait_for(f"document.querySelector({json.dumps(selector)})?.textContent.includes({json.dumps(text)})")


def click(browser: Browser, selector: str) -> None:
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def test_a_document_that_is_handed_in_stands_beside_its_pages(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener
) -> None:
    show(reader)
    hand_in(browser, tmp_path, "tram.pdf", report())
    wait_for_text(browser, ".opened .standing", "2 pages")
    wait_for_text(browser, "[data-number='1'] .markdown", "forty thousand")
    assert text_of(browser, ".opened h1") == ["tram.pdf"]
    assert text_of(browser, "[data-number='1'] h3") == ["A year of the harbour tram"]
    assert text_of(browser, "[data-number='1'] tr:nth-child(2) td") == ["First", "2,911,000", "96.1 %"]
    assert text_of(browser, "[data-number='1'] .block text")[:2] == ["1 title", "2 text"]
    assert browser.evaluate("document.querySelectorAll('[data-number=\"1\"] figure image').length") == 1
    title = browser.evaluate("document.querySelector('.block.title .area').getBBox().y") * 72 / 144
    assert 842 - 740 - 26 < title < 842 - 740, "over the words that it is about"
    browser.evaluate("document.querySelector('.markdown h3').dispatchEvent(new Event('pointerover', {bubbles: true}))")
    assert text_of(browser, ".block.pointed text") == ["1 title"]
    assert browser.problems == []


def test_progress_is_seen_and_said_page_by_page_and_so_is_the_position_in_the_queue(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener
) -> None:
    paced = Paced(reader)
    show(paced)
    hand_in(browser, tmp_path, "first.pdf", report(3))
    wait_for_text(browser, ".opened .standing", "0 of 3 pages read")
    hand_in(browser, tmp_path, "second.pdf", report(1))
    wait_for_text(browser, ".recent li:first-child .standing", "Next in the queue")
    hand_in(browser, tmp_path, "third.pdf", report(1))
    wait_for_text(browser, ".recent li:first-child .standing", "Position 2 in the queue")
    click(browser, ".recent li:last-child .title")
    paced.turns.release()
    wait_for_text(browser, ".opened .standing", "1 of 3 pages read")
    assert browser.evaluate("document.querySelector('.opened progress').value") == pytest.approx(1 / 3)
    wait_for_text(browser, "[data-number='1'] .markdown", "forty thousand")  # while others are still read
    assert browser.evaluate("document.querySelector('.forms a').hasAttribute('href')") is False
    paced.turns.release(9)
    wait_for_text(browser, ".opened .standing", "3 pages")
    wait_for_text(browser, ".recent li:first-child .standing", "1 page")
    assert browser.evaluate("document.getElementById('announcer').ariaLive") == "polite"
    wait_for_text(browser, "#announcer", "third.pdf: 1 page")
    assert text_of(browser, ".sheet h2") == ["Page 1", "Page 2", "Page 3"]


def test_reading_is_cancelled_and_the_page_says_that_nothing_is_kept(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener
) -> None:
    paced = Paced(reader)
    client = show(paced)
    hand_in(browser, tmp_path, "long.pdf", report(3))
    paced.turns.release()
    wait_for_text(browser, ".opened .standing", "1 of 3 pages read")
    click(browser, ".opened .progress button")
    wait_for_text(browser, ".opened .standing", "Cancelled after 1 page; nothing is kept")
    assert browser.evaluate("document.querySelector('.opened .progress button').checkVisibility()") is False
    job = browser.evaluate("location.hash.slice(1)")
    assert client.get(f"/api/v1/ocr/results/{job}").json()["status"] == "REVOKED"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("damaged.pdf", b"%PDF-1.7 and nothing more", "The PDF"),
        ("letter.docx", b"PK\3\4 some other kind of file", "is none of JPEG"),
        ("empty.pdf", b"", "The file is empty."),
        ("large.pdf", b"%PDF-1.7" + bytes(2_500_000), "at most 2 MB are taken here"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener, name: str, data: bytes, why: str
) -> None:
    show(reader, max_body_bytes=2_000_000)
    hand_in(browser, tmp_path, name, data)
    browser.wait_for("document.querySelector('.recent [data-state=failed]')")
    wait_for_text(browser, "main", why)
    assert text_of(browser, ".recent .title") == [name]
    assert browser.evaluate("document.querySelector('.sheet')") is None


@pytest.mark.parametrize("form", Form)
def test_a_document_is_downloaded_under_its_own_name(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener, form: Form
) -> None:
    show(reader)
    hand_in(browser, tmp_path, "tram.pdf", report(1))
    wait_for_text(browser, ".opened .standing", "1 page")
    folder = tmp_path / "downloads"
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    click(browser, f".forms a[href$='/{form}']")
    found = folder / f"tram{form.suffix}"
    wait_until(found.exists, f"{found.name} is there", patience_s=30)
    assert found.stat().st_size > 100
    if form in (Form.MARKDOWN, Form.TEXT):
        assert "forty thousand" in found.read_text()


def test_what_a_document_says_never_becomes_markup(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener
) -> None:
    show(reader)
    name = f"{HOSTILE}.pdf"
    hand_in(browser, tmp_path, name, report(2))
    wait_for_text(browser, "[data-number='2'] .markdown", HOSTILE)
    assert text_of(browser, ".opened h1") == text_of(browser, ".recent .title") == [name]
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert browser.problems == []


def test_pages_far_below_are_loaded_when_they_come_near(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener
) -> None:
    show(reader)
    hand_in(browser, tmp_path, "long.pdf", report(12))
    wait_for_text(browser, ".opened .standing", "12 pages")
    wait_for_text(browser, "[data-number='1'] .markdown", "forty thousand")
    browser.wait_for("document.querySelectorAll('.sheet').length === 12")
    assert not any(url.endswith("pages/12.jpg") for url in browser.requests)
    browser.evaluate("document.querySelector('[data-number=\"12\"]').scrollIntoView()")
    wait_for_text(browser, "[data-number='12'] .markdown", HOSTILE)


def test_where_keys_are_set_the_page_asks_for_one_and_shows_pictures_with_it(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener
) -> None:
    show(reader, keys=[key("ann-secret")])
    for secret, cause in (("no", "needed"), ("ann-secret", "not known")):
        wait_for_text(browser, "#why", cause)
        browser.evaluate("document.getElementById('key').focus()")
        browser.type(secret)
        browser.press("Enter")
    browser.wait_for("document.readyState === 'complete' && document.getElementById('files')")
    hand_in(browser, tmp_path, "tram.pdf", report(1))
    wait_for_text(browser, "[data-number='1'] .markdown", "forty thousand")
    loaded = "fetch(document.querySelector('.paper image').getAttribute('href')).then(reply => reply.status)"
    assert browser.evaluate(loaded) == 200


def test_a_file_is_dropped_and_found_again_by_keyboard_after_a_reload(
    browser: Browser, tmp_path: Path, reader: DocumentReader, show: Opener
) -> None:
    client = show(reader)
    encoded = base64.b64encode(report(1)).decode()
    browser.evaluate(
        f"""{{
            const bytes = Uint8Array.from(atob("{encoded}"), (character) => character.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.pdf"));
            document.body.dispatchEvent(new DragEvent("drop", {{ dataTransfer, bubbles: true, cancelable: true }}));
        }}"""
    )
    wait_for_text(browser, ".opened .standing", "1 page")
    browser.open(f"{client.base_url}/")
    browser.wait_for("document.querySelector('.recent .title[href]')")
    assert browser.evaluate("document.querySelector('.opened')") is None
    browser.evaluate("document.querySelector('summary').focus()")
    browser.press("Tab")
    browser.press("Enter")
    wait_for_text(browser, "[data-number='1'] .markdown", "forty thousand")


def test_documents_stand_beside_the_cameras(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, ScriptedReader(), site=FakeSite(tmp_path, camera("gate"))) as client:
        browser.open(f"{client.base_url}/")
        assert text_of(browser, ".views a") == ["Cameras", "Documents", "Interface"]
        click(browser, ".views a:nth-child(2)")
        browser.wait_for("document.readyState === 'complete' && document.getElementById('files')")
        assert text_of(browser, ".views [aria-current]") == ["Documents"]


@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_fits_its_window_and_loads_nothing_from_elsewhere(
    browser: Browser,
    tmp_path: Path,
    reader: DocumentReader,
    show: Opener,
    name: str,
    size: tuple[int, int],
    scheme: str,
) -> None:
    paced = Paced(reader)
    show(paced)
    browser.view(*size, dark=scheme == "dark", mobile=name == "phone")
    paced.turns.release(4)
    for file, data in (
        ("tram.pdf", report()),
        ("damaged.pdf", b"%PDF-1.7"),
        ("minutes of the whole year.pdf", report(9)),
    ):
        hand_in(browser, tmp_path, file, data)
        wait_for_text(browser, ".recent li:first-child .title[href]", file)
    wait_for_text(browser, ".recent li:first-child .standing", "2 of 9 pages read")
    click(browser, ".recent li:last-child .title")
    wait_for_text(browser, ".opened h1", "tram.pdf")
    wait_for_text(browser, "[data-number='1'] .markdown", "forty thousand")
    browser.evaluate("Promise.all([...document.querySelectorAll('image')].map(i => fetch(i.getAttribute('href'))))")
    # `PLATOON_SCREENSHOTS=folder` keeps what was seen, for the README and for people.
    folder = Path(os.environ.get("PLATOON_SCREENSHOTS", tmp_path))
    browser.screenshot(folder / f"documents-{name}-{scheme}.png")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    origin = browser.evaluate("location.origin")
    assert [url for url in browser.requests if not url.startswith(origin)] == []
    assert browser.problems == []
