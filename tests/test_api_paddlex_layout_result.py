import base64
import io
import json
from typing import Any

import numpy as np
from PIL import Image

from platoon.api.paddlex.block_markdown import MarkdownStyle
from platoon.api.paddlex.layout_result import LABELS, Shown, data_info, layout_result
from platoon.documents.page import Label, Page
from platoon.documents.read import Options
from platoon.media.frame import Pixels
from platoon.ocr.pages import Kind
from platoon.ocr.reading import ReadOptions
from tests.pages import block, report

PICTURE = np.full((800, 400, 3), 240, np.uint8)
PICTURE[200:400, 100:300] = (200, 30, 30)
PATH = "imgs/page_1_img_in_image_box_100_200_300_400.jpg"


def converted(page: Page | None = None, picture: Pixels | None = PICTURE, **shown: Any) -> dict[str, Any]:
    return layout_result(page or report(), picture, Options(), Shown(**shown), page_count=3)


def test_every_field_of_the_contract_is_there() -> None:
    result = converted()
    assert set(result) == {"prunedResult", "markdown"}
    pruned = result["prunedResult"]
    assert (pruned["page_index"], pruned["page_count"], pruned["width"], pruned["height"]) == (0, 3, 400, 800)
    assert {"model_settings", "parsing_res_list", "layout_det_res", "overall_ocr_res", "table_res_list"} <= set(pruned)
    for parsed in pruned["parsing_res_list"]:
        assert {"block_label", "block_content", "block_bbox", "block_id", "block_order"} <= set(parsed)
    assert set(result["markdown"]) == {"text", "images", "isStart", "isEnd"}
    json.dumps(result)


def test_blocks_have_paddlexs_labels_and_an_order_without_headers_and_footers() -> None:
    blocks = converted()["prunedResult"]["parsing_res_list"]
    assert [(found["block_label"], found["block_id"], found["block_order"]) for found in blocks] == [
        ("header", 0, None),
        ("doc_title", 1, 1),
        ("text", 2, 2),
        ("image", 3, 3),
        ("figure_title", 4, 4),
        ("table", 5, 5),
        ("text", 6, 6),
        ("footer", 7, None),
    ]
    assert blocks[2]["block_content"] == "One line of text\nand another."
    assert blocks[2]["block_bbox"] == [40, 120, 360, 160]
    assert set(LABELS) == set(Label)


def test_only_the_first_title_is_that_of_the_document_and_all_have_a_level() -> None:
    titles = [("Great", 40, 110), ("Great too", 200, 270), ("Small", 300, 332), ("Smaller", 400, 421)]
    blocks = [block(Label.TITLE, text, (40, top, 360, bottom)) for text, top, bottom in titles]
    text = block(Label.TEXT, "Text.", (40, 500, 360, 520))
    page = Page(0, (400, 800), 2.0, (*blocks, text))
    found = [
        (one["block_label"], one["title_level"]) for one in converted(page)["prunedResult"]["parsing_res_list"][:4]
    ]
    assert found == [("doc_title", 1), ("paragraph_title", 1), ("paragraph_title", 2), ("paragraph_title", 3)]
    assert converted(page)["markdown"]["text"].split("\n\n") == [
        "# Great",
        "# Great too",
        "## Small",
        "### Smaller",
        "Text.",
    ]
    second = Page(1, (400, 800), 2.0, (blocks[0], text))
    assert converted(second)["prunedResult"]["parsing_res_list"][0]["block_label"] == "paragraph_title"


def test_what_the_layout_found_has_the_same_places_as_the_blocks() -> None:
    pruned = converted()["prunedResult"]
    for box, parsed in zip(pruned["layout_det_res"]["boxes"], pruned["parsing_res_list"], strict=True):
        assert set(box) == {"cls_id", "label", "score", "coordinate"}
        assert (box["label"], box["coordinate"]) == (parsed["block_label"], parsed["block_bbox"])


def test_lines_texts_scores_and_places_are_aligned() -> None:
    found = converted()["prunedResult"]["overall_ocr_res"]
    assert found["rec_texts"][:3] == ["Yearly *report*", "Great Title", "One line of text"]
    counts = {len(found[name]) for name in ("rec_texts", "rec_scores", "rec_boxes", "rec_polys", "dt_polys")}
    assert counts == {len(report().lines)}
    assert found["rec_boxes"][1] == [40, 50, 360, 110]
    assert found["rec_polys"][1] == [[40, 50], [360, 50], [360, 110], [40, 110]]
    assert found["text_det_params"]["limit_side_len"] == ReadOptions().limit_side
    assert "text_word" not in found


def test_words_come_with_their_boxes_if_asked_for() -> None:
    found = converted(word_boxes=True)["prunedResult"]["overall_ocr_res"]
    assert found["return_word_box"] is True
    assert found["text_word"][1] == ["Great", "Title"]
    assert found["text_word_boxes"][1][0][0] == 40
    assert found["text_word_boxes"][1][1][2] == 360


def test_tables_are_html_in_which_no_cell_is_markup() -> None:
    pruned = converted()["prunedResult"]
    html = "<table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>&lt;2&gt;</td></tr></table>"
    assert pruned["parsing_res_list"][5]["block_content"] == html
    (found,) = pruned["table_res_list"]
    assert found["pred_html"] == f"<html><body>{html}</body></html>"
    assert found["table_region_id"] == 5
    assert found["cell_box_list"][0] == [40, 500, 200, 530]
    assert found["table_ocr_pred"]["rec_texts"] == ["a b", "1 <2>"]


def test_markdown_centres_what_paddlex_centres_and_names_each_picture() -> None:
    markdown = converted()["markdown"]
    assert markdown["text"].split("\n\n") == [
        "# Great Title",
        "One line of text\nand another.",
        f'<div style="text-align: center;"><img src="{PATH}" alt="Image" width="50%" /></div>',
        '<div style="text-align: center;">Figure 1: &lt;b&gt;</div>',
        '<div style="text-align: center;"><table><tr><td>a</td><td>b</td></tr>'
        "<tr><td>1</td><td>&lt;2&gt;</td></tr></table></div>",
        "\\# no title, and it goes on with",
    ]
    picture = Image.open(io.BytesIO(base64.b64decode(markdown["images"][PATH])))
    assert (picture.format, picture.size) == ("JPEG", (200, 200))
    assert np.abs(np.asarray(picture).astype(int) - (200, 30, 30)).mean() < 8


def test_markdown_is_plain_if_asked_for_and_images_are_always_there() -> None:
    markdown = converted(style=MarkdownStyle(pretty=False), images=False)["markdown"]
    assert markdown["images"] == {}
    assert f"![]({PATH})" in markdown["text"]
    assert "<div" not in markdown["text"]
    assert converted(picture=None)["markdown"]["images"] == {}


def test_labels_that_a_caller_wants_left_out_are_left_out_and_others_are_not() -> None:
    text = converted(style=MarkdownStyle(ignore=frozenset({"table", "doc_title"})))["markdown"]["text"]
    assert "Great Title" not in text
    assert "<table" not in text
    assert "Yearly \\*report\\*" in text


def test_contents_are_markdown_if_asked_for() -> None:
    pruned = converted(markdown_contents=True)["prunedResult"]
    assert pruned["parsing_res_list"][1]["block_content"] == "# Great Title"
    assert pruned["model_settings"]["format_block_content"] is True


def test_a_page_says_whether_it_begins_and_ends_within_a_paragraph() -> None:
    assert (converted()["markdown"]["isStart"], converted()["markdown"]["isEnd"]) == (True, False)
    page = Page(1, (400, 800), 2.0, (block(Label.TEXT, "the rest of it.", (40, 50, 360, 110)),))
    assert (converted(page)["markdown"]["isStart"], converted(page)["markdown"]["isEnd"]) == (False, True)
    empty = Page(2, (400, 800), 2.0, ())
    assert (converted(empty)["markdown"]["isStart"], converted(empty)["markdown"]["isEnd"]) == (True, True)


def test_visualize_brings_the_page_and_what_was_found_on_it() -> None:
    result = converted(visualize=True)
    assert set(result["outputImages"]) == {"layout_det_res"}
    plain, drawn = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        for data in (result["inputImage"], result["outputImages"]["layout_det_res"])
    )
    assert plain.shape == drawn.shape == PICTURE.shape
    assert np.abs(plain - PICTURE).mean() < 4
    assert np.abs(plain - drawn).max() > 80


def test_a_page_that_could_not_be_read_has_its_place_and_says_why() -> None:
    page = Page(1, (0, 0), 2.0, (), error="page 2 of the PDF *cannot* be drawn")
    result = converted(page, np.zeros((0, 0, 3), np.uint8), visualize=True)
    assert result["prunedResult"]["error"] == page.error
    assert result["prunedResult"]["parsing_res_list"] == []
    assert result["markdown"]["text"] == "> This page could not be read: page 2 of the PDF \\*cannot\\* be drawn"
    assert "outputImages" not in result


def test_the_file_is_described_with_the_sizes_of_its_pages() -> None:
    assert data_info(Kind.IMAGE, [(4, 3)]) == {"width": 4, "height": 3, "type": "image"}
    assert data_info(Kind.PDF, [(4, 3), (5, 6)]) == {
        "numPages": 2,
        "pages": [{"width": 4, "height": 3}, {"width": 5, "height": 6}],
        "type": "pdf",
    }
