"""`platoon read --document`: files and folders to other forms, in processes of their own."""

import json
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pypdfium2
import pytest

from platoon.documents.page import Page
from platoon.ocr.picture import load_picture
from tests.drawn import INVOICE, INVOICE_TEXTS, document, encoded, page
from tests.running import Place

SHEET = page(*INVOICE)
FORMS = ("md", "json", "txt", "hocr", "alto", "pdf")


@pytest.fixture
def papers(place: Place) -> Path:
    """A folder of documents: a PDF of two pages, a picture of the same name, and a PDF that is none."""
    folder = place.folder / "papers"
    folder.mkdir()
    (folder / "invoice.pdf").write_bytes(document([SHEET, SHEET]))
    (folder / "invoice.png").write_bytes(encoded(SHEET))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    (folder / "notes.docx").write_bytes(b"of no interest")
    return folder


def flags(*forms: str) -> list[str]:
    return [flag for form in forms for flag in ("--format", form)]


def test_a_folder_is_read_as_far_as_it_goes_into_all_forms(place: Place, papers: Path) -> None:
    done = place.run("read", papers, "--document", *flags(*FORMS), "--out", "out")
    assert done.code == 1, done
    assert done.err.count("broken.pdf") == 1
    assert "invoice" not in done.err
    out = place.folder / "out"
    stems = {"invoice": 2, "invoice-2": 1}
    suffixes = [".md", ".json", ".txt", ".hocr", ".alto.xml", ".pdf"]
    assert {path.name for path in out.iterdir()} == {stem + suffix for stem in stems for suffix in suffixes}
    assert {Path(line).name for line in done.out.splitlines()} == {path.name for path in out.iterdir()}
    for stem, count in stems.items():
        document = json.loads((out / f"{stem}.json").read_bytes())
        pages = [Page.from_json(tree) for tree in document["pages"]]
        assert [[line.text for line in page.lines] for page in pages] == [INVOICE_TEXTS] * count
        for suffix in (".md", ".txt"):
            assert (out / f"{stem}{suffix}").read_text().count("4711") == count
        for suffix in (".hocr", ".alto.xml"):
            root = fromstring((out / f"{stem}{suffix}").read_bytes())
            assert sum("4711" in (element.text or "", element.get("CONTENT")) for element in root.iter()) == count
        with pypdfium2.PdfDocument(out / f"{stem}.pdf") as made:
            assert len(made) == count
            assert all("Total 99.50" in sheet.get_textpage().get_text_range() for sheet in made)


def test_one_form_of_one_document_is_printed_while_an_overlay_is_drawn(place: Place, papers: Path) -> None:
    done = place.run("read", papers / "invoice.pdf", "--format", "txt", "--overlay", "over.png")
    assert done.code == 0, done
    assert sorted(done.out.split()) == sorted(" ".join(INVOICE_TEXTS).split() * 2)
    assert [load_picture(place.folder / f"over-{number}.png").shape for number in (1, 2)] == [(400, 800, 3)] * 2
    assert not (place.folder / "over.png").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["*.p?f", "--format", "md", "--format", "txt"], "--out"),
        (["papers", "--document"], "--out"),
        (["papers", "--overlay", "over.png", "--out", "out"], "--overlay takes one document"),
        (["papers/invoice.png", "--document", "--plates"], "--format json"),
        (["papers/invoice.png", "--overlay", "over.doc"], "over.png"),
    ],
)
def test_flags_that_do_not_fit_each_other_are_refused(
    place: Place, papers: Path, arguments: list[str], reason: str
) -> None:
    done = place.run("read", *arguments)
    assert done.code == 2, done
    assert reason in done.err
