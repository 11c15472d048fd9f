import errno
import json
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pypdfium2
import pytest

from platoon.documents.convert import Converter, Drafts, Outcome, documents
from platoon.documents.exports.form import Form
from platoon.documents.page import Label, Page
from platoon.documents.read import DocumentReader, Options, ReadPage
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput, InvalidSettings
from platoon.ocr.pages import Kind
from platoon.ocr.picture import load_picture
from tests.documents import blank, block, page
from tests.drawn import one_page_pdf


@dataclass
class Opened:
    indices: list[int]
    pages: Iterator[ReadPage]
    kind: Kind = Kind.IMAGE

    def __iter__(self) -> Iterator[ReadPage]:
        return self.pages


class Scripted:
    """A file says which pages it has: `ok`, `bad` (cannot be read), `torn` (cannot even be drawn) or `end` (the whole
    document fails there).
    """

    @contextmanager
    def open(
        self, data: bytes, options: Options, call: RequestContext, *, skip: Container[int] = ()
    ) -> Iterator[Opened]:
        script = data.decode().split()
        yield Opened([*range(len(script))], self._pages(script))

    def _pages(self, script: list[str]) -> Iterator[ReadPage]:
        for index, word in enumerate(script):
            if word == "end":
                raise InvalidInput("the document ends here")
            if word == "ok":
                figure = block(Label.FIGURE, top=300, box=(50, 300, 100, 350))
                yield ReadPage(page(block(Label.TEXT, f"page {index + 1}"), figure, index=index), blank())
            elif word == "bad":
                yield ReadPage(page(index=index, error="too many lines"), blank())
            else:
                yield ReadPage(Page(index, (0, 0), 1.0, (), error="damaged"), np.zeros((0, 0, 3), np.uint8))


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[Path]]:
    def made(**scripts: str) -> list[Path]:
        paths = []
        for name, script in scripts.items():
            path = tmp_path / "in" / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(script)
            paths.append(path)
        return paths

    return made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def converted(
    paths: list[Path], out: Path, *forms: Form, overlay: Path | None = None, figures: bool = True
) -> list[Outcome]:
    reader = cast(DocumentReader, Scripted())
    converter = Converter(reader, Options(), paths, forms=forms, folder=out, figures=figures, overlay=overlay)
    return [converter.convert(path) for path in paths]


def names(folder: Path) -> set[str]:
    """All files in a folder, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


Files = Callable[..., list[Path]]


def test_a_document_becomes_a_file_of_each_form(files: Files, out: Path) -> None:
    (outcome,) = converted(files(scan_pdf="ok ok"), out, *Form)
    figures = {f"scan-figures/page-{page}-figure-1.jpg" for page in (1, 2)}
    assert names(out) == {f"scan{form.suffix}" for form in Form} | figures
    assert {str(path.relative_to(out)) for path in outcome.written} == names(out)
    assert not outcome.errors
    assert [tree["index"] for tree in json.loads((out / "scan.json").read_bytes())["pages"]] == [0, 1]


def test_links_of_a_text_lead_to_its_figures(files: Files, out: Path) -> None:
    converted(files(scan_pdf="ok"), out, Form.MARKDOWN)
    text = (out / "scan.md").read_text()
    link = text.partition("](")[2].partition(")")[0]
    assert load_picture(out / link).shape == (50, 50, 3)


def test_without_figures_a_text_stands_alone(files: Files, out: Path) -> None:
    converted(files(scan_pdf="ok"), out, Form.MARKDOWN, figures=False)
    assert names(out) == {"scan.md"}
    assert (out / "scan.md").read_text() == "page 1\n"


def test_pages_that_cannot_be_read_are_listed_and_the_others_are_there(files: Files, out: Path) -> None:
    (outcome,) = converted(files(scan_pdf="ok bad torn ok"), out, *Form)
    assert outcome.errors == ["page 2: too many lines", "page 3: damaged"]
    assert len(outcome.written) == len(Form) + 2
    assert (out / "scan.txt").read_text() == "page 1\n\f\f\fpage 4\n"


def test_a_document_that_fails_leaves_nothing_and_the_next_is_converted(files: Files, out: Path) -> None:
    first, second, third = converted(files(a_pdf="ok end", b_pdf="ok", c_pdf="end"), out, *Form)
    assert first.errors == third.errors == ["the document ends here"]
    assert not first.written
    assert not second.errors
    assert {name.partition(".")[0].partition("-")[0] for name in names(out)} == {"b"}


def test_what_was_there_stays_until_the_new_one_is_whole(files: Files, out: Path) -> None:
    out.mkdir()
    (out / "scan.txt").write_text("old")
    converted(files(scan_pdf="ok end"), out, Form.TEXT)
    assert (out / "scan.txt").read_text() == "old"
    converted(files(scan_pdf="ok"), out, Form.TEXT)
    assert (out / "scan.txt").read_text() == "page 1\n"


def test_documents_of_one_name_do_not_overwrite_each_other(files: Files, out: Path) -> None:
    paths = files(scan_pdf="ok", Scan_png="ok ok", more__scan_pdf="ok ok ok")
    converted(paths, out, Form.TEXT, Form.MARKDOWN)
    texts = {name for name in names(out) if name.endswith(".txt")}
    assert texts == {"scan.txt", "Scan-2.txt", "scan-3.txt"}
    assert [(out / name).read_text().count("page") for name in ("scan.txt", "Scan-2.txt", "scan-3.txt")] == [1, 2, 3]


def test_no_document_is_overwritten_by_what_another_becomes(files: Files, tmp_path: Path) -> None:
    paths = files(scan_pdf="ok", **{"scan-2_pdf": "ok"})
    converted(paths, tmp_path / "in", Form.PDF)
    assert [path.read_text() for path in paths] == ["ok", "ok"]
    assert names(tmp_path / "in") == {"scan.pdf", "scan-2.pdf", "scan-3.pdf", "scan-2-2.pdf"}


def test_progress_is_reported_page_by_page(files: Files, out: Path) -> None:
    (path,) = files(scan_pdf="ok bad ok")
    heard: list[tuple[int, int]] = []
    converter = Converter(cast(DocumentReader, Scripted()), Options(), [path], forms=[Form.TEXT], folder=out)
    converter.convert(path, on_page=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("script", "expected"), [("ok", {"over.png"}), ("ok torn bad", {"over-1.png", "over-3.png"})])
def test_an_overlay_is_a_picture_or_one_for_each_page(files: Files, out: Path, script: str, expected: set[str]) -> None:
    converted(files(scan_pdf=script), out, overlay=out / "over.png")
    assert names(out) == expected
    assert {load_picture(out / name).shape for name in expected} == {blank().shape}


def test_an_overlay_has_the_name_of_a_picture(out: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"over\.txt is the name of no kind of picture"):
        converted([], out, overlay=out / "over.txt")


def test_a_file_that_is_not_there_fails_alone(files: Files, out: Path, tmp_path: Path) -> None:
    missing = tmp_path / "in" / "missing.pdf"
    outcomes = converted([missing, *files(scan_pdf="ok")], out, Form.TEXT)
    assert outcomes[0].errors == ["it does not exist"]
    assert names(out) == {"scan.txt"}


def test_a_folder_that_cannot_be_written_fails_with_the_reason(files: Files, out: Path) -> None:
    out.write_text("a file, where a folder is wanted")
    (outcome,) = converted(files(scan_pdf="ok"), out, Form.TEXT)
    assert outcome.errors == ["it cannot be written: File exists"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def write(drafts: Drafts) -> None:
        drafts.open(tmp_path / "a.txt").write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"), Drafts() as drafts:
        write(drafts)
    assert not names(tmp_path)


def test_files_appear_together_and_whole(tmp_path: Path) -> None:
    with Drafts() as drafts:
        first: BinaryIO = drafts.open(tmp_path / "a.txt")
        first.write(b"one")
        with drafts.open(tmp_path / "deep" / "b.txt") as second:
            second.write(b"two")
        assert not (tmp_path / "a.txt").exists()
        assert not (tmp_path / "deep" / "b.txt").exists()
    assert names(tmp_path) == {"a.txt", "deep/b.txt"}
    assert drafts.published == [tmp_path / "a.txt", tmp_path / "deep" / "b.txt"]


def test_folders_and_patterns_name_their_documents_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.pdf", "a.PNG", "notes.docx", "deep/c.pdf", "odd[1].pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    inside = [tmp_path / "a.PNG", tmp_path / "b.pdf", tmp_path / "odd[1].pdf"]
    assert documents([tmp_path]) == inside
    assert documents([tmp_path / "b.pdf", tmp_path]) == [inside[1], inside[0], inside[2]]
    assert documents([tmp_path / "**" / "*.pdf"]) == [tmp_path / "b.pdf", tmp_path / "deep" / "c.pdf", inside[2]]
    assert documents([tmp_path / "odd[1].pdf"]) == [inside[2]]
    assert documents([tmp_path / "notes.docx"]) == [tmp_path / "notes.docx"]


def test_what_names_no_document_fails_when_it_is_read(tmp_path: Path, out: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = tmp_path / "*.pdf"
    assert documents([empty, nothing]) == [empty, nothing]
    outcomes = converted([empty, nothing], out, Form.TEXT)
    assert [outcome.errors for outcome in outcomes] == [
        ["it is a folder without documents"],
        ["it does not exist"],
    ]


class ScriptedPdf(Scripted):
    """Every file is a PDF of one page."""

    @contextmanager
    def open(
        self, data: bytes, options: Options, call: RequestContext, *, skip: Container[int] = ()
    ) -> Iterator[Opened]:
        yield Opened([0], self._pages(["ok"]), Kind.PDF)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (Options(), (123, 77)),
        (Options(text_layer="only"), (123, 77)),
        (Options(text_layer="ignore"), (300, 400)),
    ],
)
def test_pages_of_a_pdf_stay_unless_their_text_is_to_be_ignored(
    tmp_path: Path, options: Options, size: tuple[int, int]
) -> None:
    path = tmp_path / "scan.pdf"
    path.write_bytes(one_page_pdf(b"[0 0 123 77]"))
    reader = cast(DocumentReader, ScriptedPdf())
    (written,) = Converter(reader, options, [path], forms=[Form.PDF], folder=tmp_path).convert(path).written
    assert pypdfium2.PdfDocument(written.read_bytes())[0].get_size() == size
