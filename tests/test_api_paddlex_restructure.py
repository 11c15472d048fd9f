import copy
import json
import time
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.api.paddlex.restructure import DEEPEST, concatenated, restructured, with_merged_tables, with_title_levels
from platoon.documents.exports.tables import to_html
from tests.pages import table

BOX = (40, 100, 360, 300)


def block(label: str, content: str, box: tuple[int, int, int, int] = BOX) -> dict[str, Any]:
    return {"block_label": label, "block_content": content, "block_bbox": list(box), "block_id": 0, "block_order": 1}


def page(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"page_count": 1, "width": 400, "height": 800, "model_settings": {}, "parsing_res_list": [*blocks], **more}


def grid(*rows: tuple[str, ...]) -> dict[str, Any]:
    return block("table", to_html(table(rows, BOX)))


def contents(pages: list[dict[str, Any]]) -> list[list[str]]:
    return [[block["block_content"] for block in page["parsing_res_list"]] for page in pages]


def levels(*titles: tuple[str, int], title: str | None = None) -> list[int]:
    """Of headings (text, height of their letters), each on a page of its own."""
    blocks = [block("paragraph_title", text, (40, 100, 360, 100 + height)) for text, height in titles]
    first = [page(block("doc_title", title, (40, 20, 360, 90)))] if title else []
    whole = with_title_levels([*first, *(page(block) for block in blocks)])
    found = [block["title_level"] for page in whole for block in page["parsing_res_list"]]
    return found[1:] if title else found


LABELS = ("text", "table", "paragraph_title", "doc_title", "image", "header", "footer", "figure_title")
TEXTS = st.sampled_from(
    [
        "",
        "A sentence.",
        "and it goes on",
        "within a word-",
        "1 First",
        "1.2 Second",
        "A. Third",
        to_html(table([["a", "b"]], BOX)),
        to_html(table([["h", "i"], ["1", "2"]], BOX)),
        "## Marked",
    ]
)
BLOCKS = st.builds(
    lambda label, text, bottom: block(label, text, (40, 100, 360, bottom)),
    st.sampled_from(LABELS),
    TEXTS,
    st.integers(101, 160),
)
DOCUMENTS = st.lists(st.lists(BLOCKS, max_size=5).map(lambda blocks: page(*blocks)), max_size=5)


@settings(deadline=None, max_examples=50)
@given(DOCUMENTS, st.booleans(), st.booleans(), st.booleans())
def test_the_pages_that_are_given_are_left_as_they_are(
    pages: list[dict[str, Any]], merge: bool, relevel: bool, concatenate: bool
) -> None:
    before = copy.deepcopy(pages)
    whole = restructured(pages, merge_tables=merge, relevel_titles=relevel, concatenate=concatenate)
    assert pages == before
    json.dumps(whole)


@settings(deadline=None, max_examples=50)
@given(DOCUMENTS, st.booleans(), st.booleans())
def test_no_page_and_no_block_is_lost_and_each_has_a_number(
    pages: list[dict[str, Any]], merge: bool, relevel: bool
) -> None:
    whole = restructured(pages, merge_tables=merge, relevel_titles=relevel)
    assert [len(page["parsing_res_list"]) for page in whole] == [len(page["parsing_res_list"]) for page in pages]
    blocks = [block for page in whole for block in page["parsing_res_list"]]
    assert [block["global_block_id"] for block in blocks] == [*range(len(blocks))]
    for block_ in blocks:
        first = blocks[block_["global_group_id"]]
        assert first["global_group_id"] == first["global_block_id"] <= block_["global_block_id"]
        assert first is block_ or block_["block_content"] == ""


@settings(deadline=None, max_examples=50)
@given(DOCUMENTS)
def test_doing_it_again_changes_nothing(pages: list[dict[str, Any]]) -> None:
    once = restructured(pages)
    again = restructured(once)
    for page_ in (*once, *again):
        for block_ in page_["parsing_res_list"]:
            del block_["global_group_id"]  # what was put together is no part of the new pages
    assert again == once


@settings(deadline=None, max_examples=50)
@given(DOCUMENTS)
def test_all_words_are_still_there_when_pages_are_one(pages: list[dict[str, Any]]) -> None:
    whole = restructured(pages, merge_tables=False, relevel_titles=False, concatenate=True)
    assert len(whole) == min(1, len(pages))
    if whole:
        said = "".join("".join(contents(whole)[0]).split()).replace("-", "")
        assert said == "".join("".join(chain.from_iterable(contents(pages))).split()).replace("-", "")
        (only,) = whole
        assert [block["block_id"] for block in only["parsing_res_list"]] == [*range(len(only["parsing_res_list"]))]


@settings(deadline=None, max_examples=50)
@given(DOCUMENTS)
def test_levels_leave_none_out_and_begin_with_the_first(pages: list[dict[str, Any]]) -> None:
    whole = with_title_levels(pages)
    found = [block for page in whole for block in page["parsing_res_list"] if "title_level" in block]
    used = sorted({block["title_level"] for block in found})
    assert used == [*range(1, len(used) + 1)]
    assert not used or used[-1] <= DEEPEST
    assert all(block["title_level"] == 1 for block in found if block["block_label"] == "doc_title")


def test_a_table_that_goes_on_is_put_below_its_beginning() -> None:
    pages = [
        page(block("text", "Before."), grid(("n", "x"), ("1", "a")), block("footer", "1")),
        page(block("header", "H"), grid(("n", "x"), ("2", "b")), block("text", "After.")),
    ]
    whole = restructured(pages)
    assert contents(whole) == [
        ["Before.", grid(("n", "x"), ("1", "a"), ("2", "b"))["block_content"], "1"],
        ["H", "", "After."],
    ]
    assert whole[1]["parsing_res_list"][1]["global_group_id"] == 1


def test_a_table_over_many_pages_belongs_to_the_first() -> None:
    pages = [page(grid((str(n), "x"))) for n in range(4)]
    whole = restructured(pages)
    assert contents(whole) == [[grid(*((str(n), "x") for n in range(4)))["block_content"]], [""], [""], [""]]
    assert [page["parsing_res_list"][0]["global_group_id"] for page in whole] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        ([grid(("a", "b"))], [grid(("a", "b", "c"))]),
        ([grid(("a", "b")), block("text", "Something else.")], [grid(("c", "d"))]),
        ([grid(("a", "b"))], [block("text", "Something else."), grid(("c", "d"))]),
        ([grid(("a", "b"))], [block("table_title", "Table 2: Others"), grid(("c", "d"))]),
        ([grid(("a", "b"))], [block("table", grid(("c", "d"))["block_content"], (40, 100, 200, 300))]),
        ([grid(("a", "b"))], [block("table", "c | d")]),
        ([grid(("a", "b"))], []),
    ],
    ids=["columns", "text after", "text before", "another title", "narrower", "no HTML", "nothing"],
)
def test_tables_that_have_nothing_to_do_with_each_other_stay_apart(
    upper: list[dict[str, Any]], lower: list[dict[str, Any]]
) -> None:
    pages = [page(*upper), page(*lower)]
    assert contents(restructured(pages, relevel_titles=False)) == contents(pages)


def test_a_title_that_says_the_table_goes_on_is_no_beginning() -> None:
    pages = [page(grid(("a", "b"))), page(block("table_title", "Table 1 (continued)"), grid(("c", "d")))]
    assert contents(restructured(pages))[0] == [grid(("a", "b"), ("c", "d"))["block_content"]]


def test_tables_stay_apart_if_that_is_asked_for() -> None:
    pages = [page(grid(("a", "b"))), page(grid(("c", "d")))]
    assert contents(restructured(pages, merge_tables=False)) == contents(pages)


def test_numbers_say_how_deep_a_title_is() -> None:
    assert levels(("1 One", 20), ("1.1 Two", 20), ("1.1.1 Three", 20), ("2 Four", 20)) == [1, 2, 3, 1]
    assert levels(("1 One", 20), ("1.1 Two", 20), title="All") == [2, 3]
    assert levels(("I. One", 20), ("A. Two", 20), ("1) Three", 20), ("B. Four", 20), ("II. Five", 20)) == [
        1,
        2,
        3,
        2,
        1,
    ]
    assert levels(("Chapter 1", 40), ("1 One", 30), ("1.1 Two", 20)) == [1, 2, 3]


def test_titles_without_numbers_are_as_deep_as_numbered_ones_with_letters_as_high() -> None:
    assert levels(("Abstract", 30), ("1 One", 30), ("1.1 Two", 20), ("Summary", 21), ("References", 30)) == [
        1,
        1,
        2,
        2,
        1,
    ]


def test_titles_without_numbers_are_distinguished_by_their_letters() -> None:
    assert levels(("Big", 40), ("Small", 20), ("Middle", 30), ("Nearly middle", 28)) == [1, 3, 2, 2]


def test_numbers_that_number_nothing_are_none() -> None:
    assert levels(("2019 in figures", 20), ("3D vision", 20), ("10:30 Lunch", 20)) == [1, 1, 1]


def test_a_paragraph_that_goes_on_is_one_when_the_pages_are() -> None:
    pages = [
        page(block("text", "It is a long sen-"), block("footer", "1")),
        page(block("header", "H"), block("text", "tence.")),
        page(block("text", "Another.")),
    ]
    assert contents([concatenated(restructured(pages))]) == [["It is a long sentence.", "1", "H", "", "Another."]]


def test_one_page_has_the_lines_and_the_layout_of_all() -> None:
    first = page(
        block("text", "a."), layout_det_res={"boxes": [1]}, overall_ocr_res={"rec_texts": ["a."]}, page_index=0
    )
    second = page(block("text", "b."), layout_det_res={"boxes": [2]}, table_res_list=[{"pred_html": "t"}], page_index=1)
    whole = concatenated([first, second])
    assert whole["page_count"] == 2
    assert "page_index" not in whole
    assert whole["layout_det_res"] == [{"boxes": [1]}, {"boxes": [2]}]
    assert whole["overall_ocr_res"] == [{"rec_texts": ["a."]}, {}]
    assert whole["table_res_list"] == [{"pred_html": "t", "page_index": 1}]
    assert [block["block_order"] for block in whole["parsing_res_list"]] == [1, 2]


MANY = {
    "a table over all pages": lambda count: [page(grid(("a", "b"), ("c", str(n)))) for n in range(count)],
    "a paragraph over all pages": lambda count: [page(block("text", "goes on " * 20)) for _ in range(count)],
    "nothing on most pages": lambda count: [page(block("text", "")) for _ in range(count)],
    "titles of as many heights": lambda count: [
        page(
            block("paragraph_title", "1 first", (0, 0, 9, 10 + n)), block("paragraph_title", "second", (0, 0, 9, 9 + n))
        )
        for n in range(count)
    ],
    "a cell beside endless rows": lambda count: (
        [page(block("table", "<table><tr><td colspan=900 rowspan=65534>" + "<tr><td>" * count))] * 2
    ),
}


@pytest.mark.parametrize("kind", MANY)
def test_the_time_it_takes_is_in_proportion_to_what_comes(kind: str) -> None:
    def seconds(count: int) -> float:
        pages = MANY[kind](count)
        begun = time.thread_time()
        restructured(pages, concatenate=True)
        return time.thread_time() - begun

    few = min(seconds(250) for _ in range(3))
    assert seconds(4000) < 60 * few + 0.5  # 16 times as much; it was 256 times as long


def test_no_pages_are_none() -> None:
    assert restructured([]) == restructured([], concatenate=True) == []
    assert with_merged_tables([]) == []
