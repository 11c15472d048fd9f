import asyncio
import base64
import io
import json
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from PIL import Image

from platoon.api.paddlex.envelope import file_of
from platoon.ocr.engine import TextEngine
from tests.drawn import INVOICE, INVOICE_TEXTS, document, encoded, endless_pdf, page
from tests.http_server import files_of
from tests.serving import serving

INK = page(*INVOICE)
PNG = encoded(INK)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def client(text_engine: TextEngine) -> Iterator[httpx.Client]:
    with serving(text_engine, max_pages=3, max_pixels=2_000_000, deadline_s=10) as client:
        yield client


def ask(client: httpx.Client, file: bytes | str = PNG, **fields: Any) -> httpx.Response:
    return client.post("/ocr", json={"file": file if isinstance(file, str) else base64_of(file), **fields})


def result(client: httpx.Client, file: bytes | str = PNG, **fields: Any) -> dict[str, Any]:
    reply = ask(client, file, **fields)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["result"]
    return found


def pruned(client: httpx.Client, file: bytes | str = PNG, **fields: Any) -> dict[str, Any]:
    first: dict[str, Any] = result(client, file, **fields)["ocrResults"][0]["prunedResult"]
    return first


def faults(reply: httpx.Response) -> list[dict[str, str]]:
    assert reply.status_code == 422, reply.text
    body = reply.json()
    assert set(body) == {"logId", "errorCode", "errorMsg"}
    assert body["errorCode"] == 422
    found: list[dict[str, str]] = json.loads(body["errorMsg"])
    assert all(set(fault) == {"type", "loc", "msg"} for fault in found)
    return found


def test_the_envelope_is_paddlexs(client: httpx.Client) -> None:
    body = ask(client).json()
    assert set(body) == {"logId", "errorCode", "errorMsg", "result"}
    assert (body["errorCode"], body["errorMsg"]) == (0, "Success")
    assert UUID(body["logId"]).version == 4
    assert ask(client, logId="order-7").json()["logId"] == "order-7"


def test_a_picture_comes_back_with_every_field(client: httpx.Client) -> None:
    found = result(client)
    assert found["dataInfo"] == {"width": 400, "height": 200, "type": "image"}
    (only,) = found["ocrResults"]
    assert set(only) == {"prunedResult"}, "nulls are left out"
    page_result = only["prunedResult"]
    assert page_result["model_settings"] == {"use_doc_preprocessor": False, "use_textline_orientation": False}
    assert page_result["text_det_params"] == {
        "limit_side_len": 1280,
        "limit_type": "max",
        "thresh": 0.3,
        "max_side_limit": 4000,
        "box_thresh": 0.5,
        "unclip_ratio": 1.6,
    }
    assert page_result["text_type"] == "general"
    assert page_result["text_rec_score_thresh"] == 0.0
    assert page_result["return_word_box"] is False
    assert page_result["rec_texts"] == INVOICE_TEXTS
    assert page_result["textline_orientation_angles"] == [-1, -1, -1]
    assert len(page_result["rec_scores"]) == len(page_result["rec_polys"]) == len(page_result["rec_boxes"]) == 3
    assert len(page_result["dt_polys"]) == 3
    assert all(0.9 < score <= 1 for score in page_result["rec_scores"])
    assert "text_word" not in page_result


def test_boxes_are_whole_pixels_around_their_polygons(client: httpx.Client) -> None:
    found = pruned(client)
    for polygon, box in zip(found["rec_polys"], found["rec_boxes"], strict=True):
        corners = np.array(polygon)
        assert corners.shape == (4, 2)
        assert corners.dtype == np.int64
        assert [*corners.min(axis=0), *corners.max(axis=0)] == pytest.approx(box, abs=1)
    assert found["rec_boxes"][0] == pytest.approx([20, 28, 122, 52], abs=12)


def test_a_pdf_is_read_page_by_page_at_144_dpi(client: httpx.Client) -> None:
    data = document([INK, page(("Second page", 40, 60), size=(300, 120))])
    for kind in (0, None):
        found = result(client, data, fileType=kind)
        assert found["dataInfo"] == {
            "numPages": 2,
            "pages": [{"width": 800, "height": 400}, {"width": 600, "height": 240}],
            "type": "pdf",
        }
        texts = [one["prunedResult"]["rec_texts"] for one in found["ocrResults"]]
        assert texts == [INVOICE_TEXTS, ["Second page"]]


def test_a_tiff_of_several_pages_loses_none(client: httpx.Client) -> None:
    found = result(client, document([INK, page(("Second page", 40, 60))], "TIFF"), fileType=1)
    assert (found["dataInfo"]["type"], found["dataInfo"]["numPages"]) == ("tiff", 2)
    assert found["ocrResults"][1]["prunedResult"]["rec_texts"] == ["Second page"]


def test_a_document_with_too_many_pages_is_refused_and_says_so(client: httpx.Client) -> None:
    (fault,) = faults(ask(client, document([INK] * 4)))
    assert fault["loc"] == "body.file"
    assert "4 pages, more than 3" in fault["msg"]


def test_visualize_brings_the_pages_as_pictures(client: httpx.Client) -> None:
    (only,) = result(client, visualize=True)["ocrResults"]
    assert set(only) == {"prunedResult", "ocrImage", "inputImage"}
    pictures = [Image.open(io.BytesIO(base64.b64decode(only[name]))) for name in ("inputImage", "ocrImage")]
    assert [(picture.format, picture.size) for picture in pictures] == [("JPEG", (400, 200))] * 2
    plain, outlined = (np.asarray(picture).astype(int) for picture in pictures)
    assert np.abs(plain - INK).mean() < 4
    assert (outlined[..., 0] - outlined[..., 1] > 80).any(), "outlines are red"
    assert set(result(client, visualize=False)["ocrResults"][0]) == {"prunedResult"}


def test_words_have_boxes_that_make_up_their_line(client: httpx.Client) -> None:
    found = pruned(client, returnWordBox=True)
    assert found["return_word_box"] is True
    assert found["text_word"] == [["Invoice"], ["No", " ", "4711"], ["Total", " ", "99.50"]]
    for words, boxes, line in zip(found["text_word"], found["text_word_boxes"], found["rec_boxes"], strict=True):
        assert len(words) == len(boxes)
        lefts = [box[0] for box in boxes]
        assert lefts == sorted(lefts)
        assert line[0] <= boxes[0][0] < boxes[-1][2] <= line[2]


def test_each_option_is_honoured_and_returned(client: httpx.Client) -> None:
    assert pruned(client, textDetBoxThresh=1)["rec_texts"] == []
    assert pruned(client, textDetThresh=1)["dt_polys"] == []
    strict = pruned(client, textRecScoreThresh=1)
    assert (strict["rec_texts"], len(strict["dt_polys"])) == ([], 3)
    tight, wide = pruned(client, textDetUnclipRatio=0.5), pruned(client, textDetUnclipRatio=3)
    assert tight["rec_boxes"][0][0] > wide["rec_boxes"][0][0]
    assert (tight["text_det_params"]["unclip_ratio"], wide["text_det_params"]["unclip_ratio"]) == (0.5, 3)
    small = pruned(client, textDetLimitSideLen=32)
    assert small["text_det_params"]["limit_side_len"] == 32
    assert small["rec_texts"] != INVOICE_TEXTS
    scaled = pruned(client, textDetLimitSideLen=400, textDetLimitType="min")
    assert scaled["rec_texts"] == INVOICE_TEXTS
    assert scaled["text_det_params"]["limit_type"] == "min"


def test_text_upside_down_is_read_when_asked_for(client: httpx.Client) -> None:
    turned = encoded(np.rot90(page(("Turned over", 40, 110)), 2).copy())
    found = pruned(client, turned, useTextlineOrientation=True)
    assert found["rec_texts"] == ["Turned over"]
    assert found["textline_orientation_angles"] == [1]
    assert found["model_settings"]["use_textline_orientation"] is True
    assert pruned(client, useTextlineOrientation=True)["textline_orientation_angles"] == [0, 0, 0]


def test_options_of_one_call_touch_no_other(client: httpx.Client) -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"textDetBoxThresh": 1},
        {"textRecScoreThresh": 1},
        {"useTextlineOrientation": True},
    ] * 3
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda options: pruned(client, **options), asked))
    for options, one in zip(asked, found, strict=True):
        expected = [] if {"textDetBoxThresh", "textRecScoreThresh"} & set(options) else INVOICE_TEXTS
        assert one["rec_texts"] == expected


def test_nulls_are_as_if_they_were_not_there(client: httpx.Client) -> None:
    names = ["fileType", "useDocUnwarping", "useTextlineOrientation", "textDetThresh", "visualize", "logId", "unknown"]
    assert pruned(client, PNG, **dict.fromkeys(names)) == pruned(client)


def test_what_is_switched_off_anyway_may_be_switched_off(client: httpx.Client) -> None:
    assert pruned(client, useDocOrientationClassify=False, useDocUnwarping=False, useTextlineOrientation=False)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"useDocUnwarping": True}, "useDocUnwarping"),
        ({"useDocOrientationClassify": True}, "useDocOrientationClassify"),
        ({"unknown": 1}, "unknown"),
        ({"fileType": 2}, "fileType"),
        ({"fileType": "pdf"}, "fileType"),
        ({"textDetLimitSideLen": 0}, "textDetLimitSideLen"),
        ({"textDetLimitSideLen": 4001}, "textDetLimitSideLen"),
        ({"textDetLimitSideLen": 1.5}, "textDetLimitSideLen"),
        ({"textDetLimitType": "long"}, "textDetLimitType"),
        ({"textDetThresh": 1.1}, "textDetThresh"),
        ({"textDetBoxThresh": -1}, "textDetBoxThresh"),
        ({"textDetUnclipRatio": 1e9}, "textDetUnclipRatio"),
        ({"textRecScoreThresh": "many"}, "textRecScoreThresh"),
        ({"visualize": "perhaps"}, "visualize"),
        ({"logId": 7}, "logId"),
        ({"logId": "x" * 300}, "logId"),
        ({"file": ""}, "file"),
        ({"file": "no base64!"}, "file"),
        ({"file": "abc"}, "file"),
        ({"file": base64_of(b"neither picture nor document")}, "file"),
        ({"file": base64_of(PNG[:300])}, "file"),
        ({"file": ["a"]}, "file"),
        ({"fileType": 0}, "file"),
        ({"file": base64_of(document([INK])), "fileType": 1}, "file"),
        ({"file": "http://127.0.0.1/x.png"}, "file"),
        ({"file": "https://[::1]/x.pdf"}, "file"),
        ({"file": "http://["}, "file"),
        ({"file": "file:///etc/passwd"}, "file"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_name(client: httpx.Client, fields: dict[str, Any], named: str) -> None:
    reply = client.post("/ocr", json={"file": base64_of(PNG), **fields})
    assert [fault["loc"] for fault in faults(reply)] == [f"body.{named}"]


def test_all_faults_are_listed_at_once_under_the_callers_own_log_id(client: httpx.Client) -> None:
    reply = client.post("/ocr", json={"logId": "mine", "visualize": "perhaps", "textDetThresh": 7})
    assert {fault["loc"] for fault in faults(reply)} == {"body.file", "body.visualize", "body.textDetThresh"}
    assert reply.json()["logId"] == "mine"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b"null", b'"file"', b'{"file": NaN}', b'{"textDetThresh": Infinity, "file": "aaaa"}',
     b'{"textDetThresh": 1e999, "file": "aaaa"}', b"[" * 100_000, b'{"a":' * 50_000, b'{"file": "\\ud800"}',
     b'{"file": "\xff"}', b"1" * 10_000],
)  # fmt: skip
def test_what_is_no_sound_json_object_is_refused(client: httpx.Client, body: bytes) -> None:
    reply = client.post("/ocr", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert faults(reply)


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", ""])
def test_base64_may_be_wrapped_and_a_data_url(client: httpx.Client, prefix: str) -> None:
    text = base64_of(PNG)
    wrapped = "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    assert pruned(client, prefix + wrapped)["rec_texts"] == INVOICE_TEXTS


def test_base64_of_many_short_lines_takes_no_more_memory_than_it_is_long() -> None:
    text = "AAAA " * 600_000
    tracemalloc.start()
    try:
        assert asyncio.run(file_of(text, None)) == bytes(1_800_000)
        assert tracemalloc.get_traced_memory()[1] < 5 * len(text)
    finally:
        tracemalloc.stop()


def test_a_pdf_that_can_never_be_drawn_is_given_up(text_engine: TextEngine) -> None:
    with serving(text_engine, deadline_s=1) as client:
        reply = ask(client, endless_pdf())
    assert reply.status_code == reply.json()["errorCode"] == 504


def test_a_page_that_is_too_large_is_a_413(client: httpx.Client) -> None:
    reply = ask(client, encoded(page(size=(2000, 1001))))
    assert reply.status_code == reply.json()["errorCode"] == 413


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "page.png").write_bytes(PNG)
    (tmp_path / "page.pdf").write_bytes(document([INK]))
    with files_of(tmp_path) as address:
        yield address


def test_a_file_is_fetched_from_where_the_settings_allow(text_engine: TextEngine, files: str) -> None:
    with serving(text_engine, fetch_hosts=("127.0.0.1",)) as client:
        assert pruned(client, f"{files}/page.png")["rec_texts"] == INVOICE_TEXTS
        assert result(client, f"{files}/page.pdf")["dataInfo"]["type"] == "pdf"
        (fault,) = faults(ask(client, f"{files}/nothing.png"))
        assert "404" in fault["msg"]


def test_nothing_is_fetched_where_the_settings_forbid_it(text_engine: TextEngine, files: str) -> None:
    with serving(text_engine, fetch=False, fetch_hosts=("127.0.0.1",)) as client:
        (fault,) = faults(ask(client, f"{files}/page.png"))
    assert "base64" in fault["msg"]
