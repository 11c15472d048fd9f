from typing import Any

import pytest
from pydantic import ValidationError

from platoon.api.paddlex.block_markdown import IGNORED
from platoon.api.paddlex.layout_request import OWN, VLM, LayoutOptions, LayoutRequest, RestructureRequest, refusals

CONTRACT = {
    **dict.fromkeys(("useDocOrientationClassify", "useDocUnwarping", "useTextlineOrientation", "returnWordBox")),
    **dict.fromkeys(("textDetLimitSideLen", "textDetLimitType", "textDetThresh", "textDetBoxThresh")),
    **dict.fromkeys(("textDetUnclipRatio", "textRecScoreThresh", "visualize", "useSealRecognition")),
    **dict.fromkeys(("useTableRecognition", "useFormulaRecognition", "useChartRecognition", "useRegionDetection")),
    **dict.fromkeys(("formatBlockContent", "layoutNms", "layoutThreshold", "layoutUnclipRatio")),
    **dict.fromkeys(("layoutMergeBboxesMode", "markdownIgnoreLabels", "outputFormats", "useLayoutDetection")),
    **dict.fromkeys(("useOcrForImageBlock", "promptLabel", "repetitionPenalty", "temperature", "topP", "minPixels")),
    **dict.fromkeys(("maxPixels", "maxNewTokens", "mergeLayoutBlocks", "vlmExtraArgs")),
    "useWiredTableCellsTransToHtml": False,
    "useWirelessTableCellsTransToHtml": False,
    "useTableOrientationClassify": True,
    "useOcrResultsWithTableCells": True,
    "useE2eWiredTableRecModel": False,
    "useE2eWirelessTableRecModel": True,
    "prettifyMarkdown": True,
    "showFormulaNumber": False,
    "returnMarkdownImages": True,
    "layoutShapeMode": "auto",
    "restructurePages": False,
    "mergeTables": True,
    "relevelTitles": True,
}
"""Each field with its default."""


def asked(**fields: Any) -> LayoutOptions:
    return LayoutOptions.model_validate(fields)


def test_every_field_of_the_contract_is_known_with_its_default() -> None:
    assert asked().model_dump() == CONTRACT
    assert set(LayoutRequest.model_fields) == {*CONTRACT, "file", "fileType", "logId"}


@pytest.mark.parametrize("cannot", [OWN, VLM], ids=["own", "vlm"])
def test_defaults_and_nulls_ask_for_nothing_that_cannot_be_done(cannot: Any) -> None:
    assert refusals(asked(), cannot) == {}
    assert refusals(asked(**CONTRACT), cannot) == {}
    assert asked(**dict.fromkeys(CONTRACT)) == asked()


def test_false_asks_for_nothing_either() -> None:
    named = [name for name, value in CONTRACT.items() if value is None and name.startswith("use")]
    assert refusals(asked(**dict.fromkeys(named, False)), OWN) == {}


def test_what_ragflow_sends_is_taken() -> None:
    sent = {
        "useDocOrientationClassify": False,
        "useDocUnwarping": False,
        "formatBlockContent": True,
        "visualize": False,
    }
    more = {"mergeLayoutBlocks": False, "restructurePages": False, "prettifyMarkdown": True, "showFormulaNumber": True}
    assert refusals(asked(**sent, **more, returnMarkdownImages=False), OWN) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("useDocOrientationClassify", True),
        ("useDocUnwarping", True),
        ("useSealRecognition", True),
        ("useFormulaRecognition", True),
        ("useChartRecognition", True),
        ("useRegionDetection", True),
        ("layoutNms", False),
        ("layoutThreshold", 0.3),
        ("layoutThreshold", {"text": 0.3}),
        ("layoutUnclipRatio", 1.1),
        ("layoutUnclipRatio", [1.1, 1.2]),
        ("layoutMergeBboxesMode", "large"),
        ("layoutShapeMode", "poly"),
        ("mergeLayoutBlocks", True),
        ("useWiredTableCellsTransToHtml", True),
        ("useWirelessTableCellsTransToHtml", True),
        ("useOcrResultsWithTableCells", False),
        ("useE2eWiredTableRecModel", True),
        ("useE2eWirelessTableRecModel", False),
        ("outputFormats", ["docx"]),
        ("promptLabel", "table"),
        ("repetitionPenalty", 1.1),
        ("temperature", 0),
        ("topP", 0.5),
        ("minPixels", 100),
        ("maxPixels", 100),
        ("maxNewTokens", 100),
        ("vlmExtraArgs", {"table_max_pixels": 100}),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(field: str, value: Any) -> None:
    (why,) = refusals(asked(**{field: value}), OWN).items()
    assert why[0] == field
    assert "leave it out" in why[1]


def test_a_vision_language_model_can_more() -> None:
    more = {"useFormulaRecognition": True, "useChartRecognition": True, "promptLabel": "table", "temperature": 0.1}
    assert refusals(asked(**more, topP=1, minPixels=9, maxPixels=9, maxNewTokens=9), VLM) == {}
    assert set(refusals(asked(useSealRecognition=True), VLM)) == {"useSealRecognition"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("topP", 0),
        ("topP", 1.01),
        ("repetitionPenalty", 0),
        ("minPixels", 0),
        ("promptLabel", "poem"),
        ("layoutThreshold", 1.5),
        ("layoutThreshold", {"text": -1}),
        ("layoutMergeBboxesMode", "huge"),
        ("layoutUnclipRatio", [1, 2, 3]),
        ("outputFormats", ["odt"]),
        ("textDetLimitSideLen", 5000),
        ("nothingOfThatName", 1),
    ],
)
def test_what_means_nothing_does_not_fit(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        asked(**{field: value})
    assert refused.value.errors()[0]["loc"][0] == field


def test_fewest_pixels_are_not_more_than_most() -> None:
    with pytest.raises(ValidationError, match="minPixels is more than maxPixels"):
        asked(minPixels=10, maxPixels=9)


def test_fields_reach_the_reader() -> None:
    options = asked(
        useLayoutDetection=False,
        useTableRecognition=False,
        useTextlineOrientation=True,
        textDetLimitSideLen=960,
        textDetLimitType="min",
        textDetThresh=0.2,
        textDetBoxThresh=0.4,
        textDetUnclipRatio=2,
        textRecScoreThresh=0.7,
    ).options()
    assert (options.layout, options.tables, options.text_layer) == (False, False, "ignore")
    read_options = options.read_options
    assert (
        read_options.limit_side,
        read_options.limit_type,
        read_options.min_confidence,
        read_options.upside_down,
    ) == (960, "min", 0.7, True)
    assert (read_options.boxes.threshold, read_options.boxes.box_threshold, read_options.boxes.unclip) == (0.2, 0.4, 2)
    usual = asked().options()
    assert (usual.layout, usual.tables, usual.text_layer) == (True, True, "auto")


def test_fields_reach_what_is_shown() -> None:
    shown = asked(
        markdownIgnoreLabels=["table"],
        prettifyMarkdown=False,
        useOcrForImageBlock=True,
        returnMarkdownImages=False,
        formatBlockContent=True,
        returnWordBox=True,
        visualize=True,
    ).shown()
    assert shown.style.ignore == {"table"}
    assert (shown.style.pretty, shown.style.words_of_pictures, shown.images) == (False, True, False)
    assert (shown.markdown_contents, shown.word_boxes, shown.visualize) == (True, True, True)
    assert asked().shown().style.ignore == IGNORED


def test_pages_are_taken_back_with_whatever_they_hold() -> None:
    block = {"block_label": "text", "block_content": "a", "block_bbox": [1, 2, 3.5, 4], "more": [1]}
    pruned = {"parsing_res_list": [block], "model_settings": {"x": 1}, "anything": {"else": None}}
    request = RestructureRequest.model_validate({"pages": [{"prunedResult": pruned, "markdownImages": None}]})
    pruned_again = request.pages[0].prunedResult.model_dump()
    assert pruned_again == {**pruned, "parsing_res_list": [{**block, "block_bbox": (1, 2, 3.5, 4)}]}
    assert [type(side) for side in pruned_again["parsing_res_list"][0]["block_bbox"]] == [int, int, float, int]
