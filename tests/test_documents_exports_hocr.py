import io
import math
import re
from xml.etree.ElementTree import Element, fromstring

import pytest

from platoon.documents.exports.hocr import HocrExport
from platoon.documents.page import Block, Label, Line, Page, Word
from tests.documents import blank, block, line, page

XHTML = "{http://www.w3.org/1999/xhtml}"


def exported(*pages: Page, name: str = "scan.pdf") -> Element:
    out = io.BytesIO()
    export = HocrExport(out, name=name)
    for one in pages:
        export.add(one, blank())
    export.finish()
    return fromstring(out.getvalue())


def of_class(root: Element, name: str) -> list[Element]:
    return [element for element in root.iter() if element.get("class") == name]


def properties(element: Element) -> dict[str, str]:
    """Those in a title, by name."""
    parts = re.findall(r'(\w+) ((?:"[^"]*"|[^;"])*)', element.get("title", ""))
    return {name: value.strip() for name, value in parts}


def turned(text: str, degrees: float) -> Line:
    """A line of one word that is turned counterclockwise around (300, 400), 100 long and 20 high."""
    angle = math.radians(degrees)
    corners = tuple(
        (300 + x * math.cos(angle) + y * math.sin(angle), 400 - x * math.sin(angle) + y * math.cos(angle))
        for x, y in ((0, 0), (100, 0), (100, 20), (0, 20))
    )
    return Line(text, corners, 0.9, (Word(text, corners, 0.9),))


def slope_of(degrees: float) -> dict[str, str]:
    lined = turned("word", degrees)
    (found,) = of_class(exported(page(Block(Label.TEXT, lined.box, 1.0, (lined,), "word"))), "ocr_line")
    return properties(found)


def test_pages_areas_paragraphs_lines_and_words_lie_in_each_other() -> None:
    root = exported(page(block(Label.TITLE, "A title"), block(Label.TEXT, "one two", "three")), page(index=1))
    assert [len(of_class(root, name)) for name in ("ocr_page", "ocr_carea", "ocr_par", "ocr_line")] == [2, 2, 2, 3]
    parents = {child: parent for parent in root.iter() for child in parent}
    word = of_class(root, "ocrx_word")[-1]
    chain = [word]
    while chain[-1] is not root:
        chain.append(parents[chain[-1]])
    classes = [element.get("class") for element in chain]
    assert classes == ["ocrx_word", "ocr_line", "ocr_par", "ocr_carea", "ocr_page", None, None]
    assert [element.tag.removeprefix(XHTML) for element in chain] == ["span", "span", "p", "div", "div", "body", "html"]
    assert [element.text for element in of_class(root, "ocrx_word")] == ["A", "title", "one", "two", "three"]


def test_all_that_is_used_is_announced() -> None:
    root = exported(page(block(Label.FIGURE, "axis")))
    (capabilities,) = (meta for meta in root.iter(f"{XHTML}meta") if meta.get("name") == "ocr-capabilities")
    used = {element.get("class") for element in root.iter()} - {None}
    assert used | {"ocrp_wconf"} <= set(capabilities.get("content", "").split())


def test_positions_and_confidences_are_those_of_the_page() -> None:
    made = block(Label.TEXT, "one two")
    root = exported(page(made, index=6))
    (sheet,), (area,), words = (of_class(root, name) for name in ("ocr_page", "ocr_carea", "ocrx_word"))
    assert properties(sheet) == {
        "image": '"scan.pdf"', "bbox": "0 0 600 800", "ppageno": "6", "scan_res": "144 144"
    }  # fmt: skip
    assert properties(area) == {"bbox": "50 100 550 130"}
    assert [properties(word) for word in words] == [
        {"bbox": "{} {} {} {}".format(*word.box), "x_wconf": "90"} for word in made.lines[0].words
    ]


def test_ids_are_unique() -> None:
    pages = [page(block(Label.FIGURE, "a b"), block(Label.TEXT, "a b", "c"), index=index) for index in range(2)]
    ids = [element.get("id") for element in exported(*pages).iter() if element.get("id")]
    assert len(ids) == len(set(ids)) == 2 * (1 + 1 + 2 + 2 + 3 + 5)


def test_names_and_words_are_text_and_never_markup() -> None:
    root = exported(page(block(Label.TEXT, "<b>&amp;</b> \x01")), name='"><script>.pdf')
    assert not list(root.iter(f"{XHTML}script"))
    assert [word.text for word in of_class(root, "ocrx_word")] == ["<b>&amp;</b>", "\ufffd"]
    assert properties(of_class(root, "ocr_page")[0])["image"] == '"\'><script>.pdf"'


def test_a_page_that_could_not_be_read_is_there_without_content() -> None:
    (sheet,) = of_class(exported(Page(0, (0, 0), 1.0, (), error="damaged")), "ocr_page")
    assert len(sheet) == 0
    assert properties(sheet)["bbox"] == "0 0 0 0"


def test_a_figure_without_words_is_an_image() -> None:
    root = exported(page(block(Label.FIGURE, box=(10, 20, 30, 40))))
    assert [properties(image)["bbox"] for image in of_class(root, "ocr_image")] == ["10 20 30 40"]
    assert not of_class(root, "ocr_carea")


def test_nothing_lies_left_of_its_page_or_above_it() -> None:
    made = line("word", -3, -2)
    (found,) = of_class(exported(page(Block(Label.TEXT, made.box, 1.0, (made,), "word"))), "ocrx_word")
    assert properties(found)["bbox"] == "0 0 37 18"


@pytest.mark.parametrize(("degrees", "slope"), [(0, 0.0), (5, -0.0875), (-5, 0.0875)])
def test_a_line_has_its_baseline(degrees: float, slope: float) -> None:
    line = slope_of(degrees)
    along, above = map(float, line["baseline"].split())
    assert along == pytest.approx(slope, abs=1e-3)
    left, _, right, bottom = map(int, line["bbox"].split())
    corners = turned("word", degrees).corners
    for x, y in (corners[3], corners[2]):  # both ends of the line's foot lie on the baseline
        assert left - 1 <= x <= right + 1
        assert bottom + above + along * (x - left) == pytest.approx(y, abs=1.5)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_line_that_does_not_run_to_the_right_has_its_angle(degrees: int) -> None:
    line = slope_of(degrees)
    assert line["textangle"] == str(degrees)
    assert "baseline" not in line
