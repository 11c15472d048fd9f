import io
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from platoon.documents.exports.markdown import MarkdownExport, escaped, markdown
from platoon.documents.page import Block, Label, Page
from tests.documents import NUMBERS, SPANNING, blank, block, page

BODY = block(Label.TEXT, "some text of the page", top=300)


def rendered(text: str) -> str:
    """What a reader sees, as HTML."""
    html: str = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    return html


class Words(HTMLParser):
    """The text between tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


def test_titles_are_of_a_level_by_how_high_their_letters_are() -> None:
    titles = [block(Label.TITLE, f"Title {height}", height=height) for height in (40, 28, 21)]
    text, _ = markdown(page(*titles, BODY), None)
    assert text.split("\n\n") == ["# Title 40", "## Title 28", "### Title 21", "some text of the page"]


def test_a_title_on_a_page_without_text_is_of_the_first_level() -> None:
    assert markdown(page(block(Label.TITLE, "Annual", "report")), None)[0] == "# Annual report"


def test_headers_and_footers_are_left_out() -> None:
    blocks = (block(Label.HEADER, "Chapter 1"), BODY, block(Label.FOOTER, "7"))
    assert markdown(page(*blocks), blank())[0] == "some text of the page"


def test_figures_are_cut_out_and_linked_before_their_captions() -> None:
    picture = blank()
    picture[100:200, 50:350] = (200, 30, 30)
    figure = block(Label.FIGURE, "axis [x]", box=(50, 100, 350, 200))
    text, files = markdown(page(figure, block(Label.FIGURE_CAPTION, "Figure 1: *red*")), picture, figures="my report")
    assert text == "![axis \\[x\\]](my%20report/page-1-figure-1.jpg)\n\n*Figure 1: \\*red\\**"
    assert '<img src="my%20report/page-1-figure-1.jpg"' in rendered(text)
    decoded = cv2.imdecode(np.frombuffer(files["my report/page-1-figure-1.jpg"], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    assert decoded.shape == (100, 300, 3)
    assert np.abs(decoded.astype(int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize("box", [(50, 100, 50, 200), (700, 100, 800, 200), (-50, -50, -10, -10)])
def test_a_figure_outside_of_its_page_is_given_by_its_words(box: tuple[int, int, int, int]) -> None:
    assert markdown(page(block(Label.FIGURE, "axis", box=box)), blank()) == ("axis", {})


def test_without_a_picture_figures_are_given_by_their_words() -> None:
    assert markdown(page(block(Label.FIGURE, "axis"), block(Label.FIGURE)), None) == ("axis", {})


def test_a_table_without_spans_is_of_pipes_and_says_what_its_cells_do() -> None:
    text, _ = markdown(page(block(Label.TABLE, table=NUMBERS)), None)
    assert text == "|  | 2026 |\n| --- | --- |\n| a\\|b \\<b> | 1 & 2 |"
    assert Words(rendered(text)).text.split() == ["2026", "a|b", "<b>", "1", "&", "2"]


def test_a_table_with_spans_is_html_that_escapes_what_its_cells_say() -> None:
    text, _ = markdown(page(block(Label.TABLE, table=SPANNING), BODY), None)
    assert text.splitlines()[0] == (
        '<table><tr><td colspan="2">both &lt;i&gt;<br>lines</td></tr><tr><td>x</td><td>y</td></tr></table>'
    )
    assert Words(rendered(text)).tags == ["table", "tr", "td", "br", "tr", "td", "td", "p"]


def test_a_table_whose_cells_are_unknown_is_given_by_its_words() -> None:
    assert markdown(page(block(Label.TABLE, "a b", "1 2")), None)[0] == "a b 1 2"


def test_a_page_that_could_not_be_read_says_why() -> None:
    text, files = markdown(page(index=2, error="the page is <damaged>"), blank())
    assert text == "> Page 3 could not be read: the page is \\<damaged>"
    assert not files


@pytest.mark.parametrize(
    "text",
    ["# no title", "- 5 °C", "+ 3", "-", "---", "a\n===", "a\n---", "> quoted", "*a* _b_ __c__", "snake_case_name",
     "`x`", "[1]: http://x", "[a](b)", "![a](b)", "<b>bold</b>", "<!-- c -->", "<http://x>", "&amp; &#60; & &c",
     "a \\ b \\* c", "~~~\nx", "~~a~~", "a|b\n-|-", "~a~", "  indented", "a  \nb", "a\\\nb", "***", "100 % < 5 > 3",
     "C:\\*.txt_"],
)  # fmt: skip
def test_text_that_looks_like_markup_is_shown_as_it_is(text: str) -> None:
    shown = Words(rendered(escaped(text)))
    assert shown.text.split() == text.split()
    assert shown.tags == ["p"]


@given(st.text("ab1 \n\t#*_-+=~`<>&;[]()!|\\.:\"'"))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    text = re.sub(r"(?m)^[ \t]*\d+[.)]", "", text)  # what numbers its lines may become a numbered list
    text = re.sub(r"\n[ \t]*\n", "\n", text)
    shown = Words(rendered(escaped(text)))
    assert shown.text.split() == text.split()


def test_characters_that_no_file_may_hold_are_replaced() -> None:
    text, _ = markdown(page(block(Label.TEXT, "a\x00b \ud800")), None)
    assert text == "a\ufffdb \ufffd"
    assert text.encode()


def test_pages_follow_each_other_parted_by_an_empty_line() -> None:
    out, attached = io.BytesIO(), dict[str, bytes]()
    export = MarkdownExport(out, attached.__setitem__)
    figure = block(Label.FIGURE, box=(10, 10, 60, 60))
    pages: list[tuple[Block, ...]] = [(BODY,), (), (figure,), (BODY, figure)]
    for index, blocks in enumerate(pages):
        export.add(page(*blocks, index=index), blank())
    export.finish()
    first, second = "figures/page-3-figure-1.jpg", "figures/page-4-figure-1.jpg"
    assert list(attached) == [first, second]
    said = "some text of the page"
    assert out.getvalue().decode() == f"{said}\n\n![]({first})\n\n{said}\n\n![]({second})\n"


def test_the_items_of_a_list_become_a_list() -> None:
    listed = "To be done:\n• read * and _ of 3 - 2\n◦ rest • a while"
    shown = Page(0, (300, 200), 2.0, (Block(Label.TEXT, (0, 0, 100, 60), 1.0, (), listed),))
    assert markdown(shown, None)[0] == "To be done:\n- read \\* and \\_ of 3 - 2\n- rest • a while"
