import io
import math
import resource
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pikepdf
import psutil
import pypdfium2
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.documents.exports import invisible_text
from platoon.documents.exports.exporting import exporting
from platoon.documents.exports.form import Form
from platoon.documents.exports.pdf import AT_A_TIME, OverlaidPdf, PicturePdf
from platoon.documents.page import Block, Box, Label, Line, Page, Word
from platoon.errors import InvalidInput
from platoon.media.frame import Pixels
from tests import bombs
from tests.documents import SIZE, blank, block, page
from tests.drawn import one_page_pdf, pdf

SCALE = 2
BOXES = ["[0 0 300 400]", "[20 -30 320 370]", "[0 0 300 400]/CropBox[40 50 250 330]", "[300 400 0 0]"]


def pictured(*pages: Page, picture: Pixels | None = None) -> pypdfium2.PdfDocument:
    """A PDF of pictures of pages."""
    out = io.BytesIO()
    with ExitStack() as files:
        export = PicturePdf(out, files)
        for one in pages:
            export.add(one, blank() if picture is None else picture)
        export.finish()
    return pypdfium2.PdfDocument(out.getvalue())


def overlaid(source: bytes, *pages: Page) -> pypdfium2.PdfDocument:
    """A PDF with text laid over it."""
    out = io.BytesIO()
    export = OverlaidPdf(out, source)
    for one in pages:
        export.add(one, blank())
    export.finish()
    return pypdfium2.PdfDocument(out.getvalue())


def text_of(document: pypdfium2.PdfDocument, index: int = 0) -> str:
    text: str = document[index].get_textpage().get_text_range()
    return "\n".join(line.strip() for line in text.splitlines())


def boxes_of(document: pypdfium2.PdfDocument, text: str) -> list[tuple[float, float, float, float]]:
    """left, bottom, right, top in points of each character of the first place where a text is found."""
    found = document[0].get_textpage()
    start, count = found.search(text).get_next()
    return [found.get_charbox(index, loose=True) for index in range(start, start + count)]


def around(boxes: Sequence[tuple[float, float, float, float]]) -> list[float]:
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return [min(lefts), min(bottoms), max(rights), max(tops)]


def drawn(document: pypdfium2.PdfDocument, index: int = 0) -> Pixels:
    """A page as a viewer shows it."""
    picture: Pixels = document[index].render(scale=SCALE, rev_byteorder=True).to_numpy()[:, :, :3].copy()
    return picture


def ink(picture: Pixels) -> Box:
    """What is not white."""
    ys, xs = np.nonzero(picture.min(axis=2) < 128)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def one_word(text: str, corners: Sequence[tuple[float, float]], size: tuple[int, int]) -> Page:
    lined = Line(text, tuple(corners), 0.9, (Word(text, tuple(corners), 0.9),))
    return Page(0, size, SCALE, (Block(Label.TEXT, lined.box, 1.0, (lined,), text),))


def labelled(boxes: str = "[0 0 300 400]", turn: int = 0) -> bytes:
    """A page that says HERE."""
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox%s/Rotate %d/Resources<</Font<</F 5 0 R>>>>>>"
        % (boxes.encode(), turn),
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R>>",
        b"<</Length 44>>stream\n2 0 0 2 0 0 cm BT /F 12 Tf 50 80 Td (HERE) Tj ET\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )


def test_what_was_read_is_found_in_its_order() -> None:
    blocks = (block(Label.TITLE, "Grüße aus 北京"), block(Label.TEXT, "one two", "a 😀 b", top=200))
    document = pictured(page(*blocks), page(index=1), page(block(Label.TEXT, "last"), index=2))
    assert [text_of(document, index) for index in range(3)] == ["Grüße aus 北京\none two\na 😀 b", "", "last"]


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1))
def test_any_character_is_encoded_by_the_map_of_the_font(text: str) -> None:
    out = io.BytesIO()
    with ExitStack() as files:
        export = PicturePdf(out, files)
        export.add(page(block(Label.TEXT, text)), blank()[:9, :9])
        export.finish()
    with pikepdf.open(out) as document:
        (font,) = document.pages[0].resources.Font.as_dict().values()
        shown = [
            bytes(instruction.operands[0])
            for instruction in pikepdf.parse_content_stream(document.pages[0])
            if str(instruction.operator) == "Tj"
        ]
        rows = font.ToUnicode.read_bytes().decode().partition("endcodespacerange")[2].splitlines()
    pairs = [row.replace("<", "").replace(">", "").split() for row in rows if row.startswith("<")]
    by_code = {code: bytes.fromhex(units).decode("utf-16-be") for code, units in pairs}
    codes = b"".join(shown).hex().upper()
    assert "".join(by_code[codes[start : start + 4]] for start in range(0, len(codes), 4)) == " ".join(
        [*text.split(), ""]
    )


def test_every_character_fills_its_part_of_its_word() -> None:
    document = pictured(page(block(Label.TEXT, "ab c")))
    assert boxes_of(document, "ab") == [
        pytest.approx((25, 340, 30, 350), abs=0.2),
        pytest.approx((30, 340, 35, 350), abs=0.2),
    ]
    assert boxes_of(document, "c") == [pytest.approx((40, 340, 45, 350), abs=0.2)]


@pytest.mark.parametrize("degrees", [0, 10, 90, 180, 270])
def test_words_lie_as_they_are_turned(degrees: int) -> None:
    angle = math.radians(degrees)
    corners = [
        (300 + x * math.cos(angle) + y * math.sin(angle), 400 - x * math.sin(angle) + y * math.cos(angle))
        for x, y in ((0, 0), (120, 0), (120, 24), (0, 24))
    ]
    said = one_word("turned", corners, SIZE)
    left, top, right, bottom = said.lines[0].box
    expected = (left / SCALE, (SIZE[1] - bottom) / SCALE, right / SCALE, (SIZE[1] - top) / SCALE)
    found = around(boxes_of(pictured(said), "turned"))
    assert found == pytest.approx(expected, abs=1)


def test_a_page_of_the_pdf_looks_like_its_picture_and_nothing_of_the_text_is_seen() -> None:
    picture = blank()
    picture[100:300, 200:400] = (30, 60, 200)
    document = pictured(page(block(Label.TEXT, "some words that nobody sees")), picture=picture)
    assert document[0].get_size() == (SIZE[0] / SCALE, SIZE[1] / SCALE)
    shown = drawn(document)
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 1


def test_many_pages_pass_through_files_and_come_back_in_order() -> None:
    count = 2 * AT_A_TIME + 3
    pages = [page(block(Label.TEXT, f"number {index}"), index=index) for index in range(count)]
    document = pictured(*pages, picture=blank()[:8, :6])
    assert [text_of(document, index) for index in range(count)] == [f"number {index}" for index in range(count)]


@pytest.mark.parametrize("size", [(1, 1), (30_000, 20), (3, 30_000)])
def test_a_page_of_any_size_is_one_that_a_pdf_may_have(size: tuple[int, int]) -> None:
    document = pictured(Page(0, size, 1.0, ()), picture=blank()[:1, :1])
    assert all(3 <= side <= 14_400 for side in document[0].get_size())


def test_a_page_that_could_not_be_drawn_is_empty() -> None:
    document = pictured(Page(0, (0, 0), 1.0, (), error="damaged"), picture=blank()[:0, :0])
    assert (len(document), text_of(document)) == (1, "")


def test_a_word_without_extent_is_found_all_the_same() -> None:
    assert text_of(pictured(one_word("dot", [(9, 9)] * 4, SIZE))) == "dot"


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("boxes", BOXES)
def test_text_lies_over_the_letters_of_the_page_however_it_is_turned_and_cut(boxes: str, turn: int) -> None:
    source = labelled(boxes, turn)
    before = pypdfium2.PdfDocument(source)
    picture = drawn(before)
    left, top, right, bottom = ink(picture)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    foot = turn // 90  # letters of a page that is turned to the right begin at the top right
    said = one_word("XYZ", corners[foot:] + corners[:foot], (picture.shape[1], picture.shape[0]))
    after = overlaid(source, said)
    visible = around([before[0].get_textpage().get_charbox(index) for index in range(4)])
    assert around(boxes_of(after, "XYZ")) == pytest.approx(visible, abs=1)
    assert np.array_equal(drawn(after), picture)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_words_are_parted_by_blanks_on_pages_that_are_turned_too(turn: int) -> None:
    size = SIZE if turn % 180 == 0 else (SIZE[1], SIZE[0])
    said = replace(page(block(Label.TEXT, "one two", "three four", top=200)), size=size)
    text = overlaid(labelled(turn=turn), said)[0].get_textpage().get_text_bounded()
    assert text.split() == ["HERE", "one", "two", "three", "four"]


def test_a_page_that_has_its_text_already_gets_no_more() -> None:
    said = Page(0, SIZE, SCALE, (block(Label.TEXT, "HERE"),), "text-layer")
    assert text_of(overlaid(labelled(), said)).count("HERE") == 1


def test_pages_that_were_not_read_are_left_out() -> None:
    source = pictured(*[page(block(Label.TEXT, f"old {index}"), index=index) for index in range(4)])
    file = io.BytesIO()
    source.save(file)
    document = overlaid(file.getvalue(), *[page(block(Label.TEXT, f"new {n}", top=300), index=n) for n in (1, 3)])
    assert [text_of(document, index) for index in range(2)] == ["old 1\nnew 1", "old 3\nnew 3"]
    assert len(document) == 2


def test_what_a_page_can_do_besides_is_kept() -> None:
    with pikepdf.open(io.BytesIO(labelled())) as document:
        link = {"/Type": pikepdf.Name.Annot, "/Subtype": pikepdf.Name.Link, "/Rect": [0, 0, 9, 9]}
        document.pages[0].Annots = pikepdf.Array([pikepdf.Dictionary(link)])
        file = io.BytesIO()
        document.save(file)
    out = io.BytesIO()
    export = OverlaidPdf(out, file.getvalue())
    export.add(page(block(Label.TEXT, "said")), blank())
    export.finish()
    with pikepdf.open(out) as document:
        assert [str(annotation.Subtype) for annotation in document.pages[0].Annots] == ["/Link"]
        assert set(document.pages[0].resources.Font.as_dict()) > {"/F"}


def test_a_pdf_that_forbids_changes_goes_on_doing_so() -> None:
    with pikepdf.open(io.BytesIO(labelled())) as document:
        file = io.BytesIO()
        rules = pikepdf.Permissions(modify_other=False)
        document.save(file, encryption=pikepdf.Encryption(owner="secret", user="", allow=rules))
    out = io.BytesIO()
    export = OverlaidPdf(out, file.getvalue())
    export.add(page(block(Label.TEXT, "said")), blank())
    export.finish()
    with pikepdf.open(out) as document:
        assert document.is_encrypted
        assert not document.allow.modify_other


def test_a_pdf_that_cannot_be_taken_apart_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidInput, match="cannot be written again"):
        OverlaidPdf(io.BytesIO(), b"%PDF-1.7 and nothing more")
    with pytest.raises(InvalidInput, match="cannot be written again"):
        OverlaidPdf(io.BytesIO(), one_page_pdf()).add(page(index=1), blank())


def test_a_pdf_that_unpacks_to_gigabytes_is_taken_apart_elsewhere_and_given_up() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = bombs.pdf_of_objects_deflated_twice()
    assert len(bomb) < 20_000
    with pytest.raises(InvalidInput, match=r"too much memory or time|cannot be written again"):
        OverlaidPdf(io.BytesIO(), bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 << 10
    assert not [child for child in psutil.Process().children() if "overlay_process" in " ".join(child.cmdline())]


def test_an_export_that_is_given_up_leaves_no_process() -> None:
    out = io.BytesIO()
    with pytest.raises(KeyError), exporting(Form.PDF, out, name="a.pdf", source=labelled()) as export:
        export.add(page(block(Label.TEXT, "said")), blank())
        raise KeyError
    assert not [child for child in psutil.Process().children() if "overlay_process" in " ".join(child.cmdline())]


def test_the_font_has_one_glyph_as_wide_as_the_text_layer_believes_which_draws_nothing() -> None:
    font = TTFont(io.BytesIO(invisible_text.FONT.read_bytes()))
    _, glyph = font.getGlyphOrder()
    assert font["hmtx"][glyph] == (invisible_text.ADVANCE * font["head"].unitsPerEm, 0)
    points, _, _ = font["glyf"][glyph].getCoordinates(font["glyf"])
    assert len({y / x for x, y in points if x}) == 1  # all on one line through the origin
