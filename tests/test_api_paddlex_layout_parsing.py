import base64
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from platoon.api.paddlex.layout_request import LayoutRequest, Refusals, RestructureRequest
from platoon.api.paddlex.pipelines.own import OwnPipeline
from platoon.errors import FailedBehind
from platoon.ocr.service import OcrService
from platoon.settings import GatewaySettings, Settings
from tests.made_up_documents import MadeUpReader, parsing
from tests.serving import serving


class NoEngine:
    """Documents are made up: nothing asks an engine for anything but whether it is ready."""

    def detect(self) -> None: ...

    def not_ready(self) -> list[str]:
        return []


@contextmanager
def gateway(reader: MadeUpReader | None = None, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a gateway over made-up documents."""

    def pipeline(service: OcrService, whole: Settings) -> OwnPipeline:
        return parsing(reader or MadeUpReader(), service, whole)

    with serving(NoEngine(), pipeline=pipeline, gateway=GatewaySettings(**settings)) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with gateway() as client:
        yield client


def file(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def ask(client: httpx.Client, document: str = "PDF2", **fields: Any) -> httpx.Response:
    return client.post("/layout-parsing", json={"file": file(document), **fields})


def result(client: httpx.Client, document: str = "PDF2", **fields: Any) -> dict[str, Any]:
    reply = ask(client, document, **fields)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()["result"]
    return found


def refused(reply: httpx.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert set(body) == {"logId", "errorCode", "errorMsg"}
    assert body["errorCode"] == status
    message: str = body["errorMsg"]
    return message


def faults(reply: httpx.Response) -> dict[str, str]:
    """The fields that do not fit, and why."""
    found = json.loads(refused(reply, 422))
    assert all(set(fault) == {"type", "loc", "msg"} for fault in found)
    return {fault["loc"]: fault["msg"] for fault in found}


def test_the_envelope_is_paddlexs(client: httpx.Client) -> None:
    body = ask(client).json()
    assert set(body) == {"logId", "errorCode", "errorMsg", "result"}
    assert (body["errorCode"], body["errorMsg"]) == (0, "Success")
    assert UUID(body["logId"]).version == 4
    assert ask(client, logId="order-7").json()["logId"] == "order-7"
    assert ask(client, "nothing", logId="order-8").json()["logId"] == "order-8"


def test_pages_come_in_order_with_every_part(client: httpx.Client) -> None:
    found = result(client, "PDF3")
    assert found["dataInfo"] == {"numPages": 3, "pages": [{"width": 400, "height": 800}] * 3, "type": "pdf"}
    pages = found["layoutParsingResults"]
    assert [page["prunedResult"]["page_index"] for page in pages] == [0, 1, 2]
    assert all(page["prunedResult"]["page_count"] == 3 for page in pages)
    assert all(set(page) == {"prunedResult", "markdown"} for page in pages), "nulls are left out"
    paths = [path for page in pages for path in page["markdown"]["images"]]
    assert len(set(paths)) == 3, "pictures of one page do not replace those of another"


def test_a_picture_is_one_page(client: httpx.Client) -> None:
    found = result(client, "PNG", fileType=1)
    assert found["dataInfo"] == {"width": 400, "height": 800, "type": "image"}
    assert len(found["layoutParsingResults"]) == 1


def test_what_paddleocr_mcp_needs_is_there(client: httpx.Client) -> None:
    for page in result(client, returnMarkdownImages=False)["layoutParsingResults"]:
        assert page["markdown"]["images"] == {}
    (first, _) = result(client, visualize=False)["layoutParsingResults"]
    found = set(re.findall(r'<img[^>]+src="([^"]+)"[^>]*>', first["markdown"]["text"]))
    assert found == set(first["markdown"]["images"])
    lines = first["prunedResult"]["overall_ocr_res"]
    assert len(lines["rec_texts"]) == len(lines["rec_scores"]) == len(lines["rec_boxes"]) > 0


def test_what_ragflow_does_works(client: httpx.Client) -> None:
    probe = client.get("/layout-parsing")
    assert probe.status_code == 200
    assert probe.json()["errorCode"] == 0
    sent = {"fileType": 0, "returnMarkdownImages": False, "prettifyMarkdown": True, "showFormulaNumber": True}
    more = {"useDocOrientationClassify": False, "useDocUnwarping": False, "mergeLayoutBlocks": False}
    found = result(client, "PDF2", **sent, **more, visualize=False, formatBlockContent=True, restructurePages=False)
    for page in found["layoutParsingResults"]:
        for block in page["prunedResult"]["parsing_res_list"]:
            left, top, right, bottom = block["block_bbox"]
            assert (left // 2, top // 2) <= (right // 2, bottom // 2)
            assert isinstance(block["block_content"], str)
    title = found["layoutParsingResults"][0]["prunedResult"]["parsing_res_list"][1]
    assert title["block_content"] == "# Great Title"


def test_visualize_brings_pictures(client: httpx.Client) -> None:
    page = result(client, visualize=True)["layoutParsingResults"][0]
    assert set(page) == {"prunedResult", "markdown", "outputImages", "inputImage"}


def test_pages_are_put_together_if_asked_for(client: httpx.Client) -> None:
    apart, together = (
        [block for page in result(client, restructurePages=yes)["layoutParsingResults"]
         for block in page["prunedResult"]["parsing_res_list"]]
        for yes in (False, True)
    )  # fmt: skip
    assert [block["global_block_id"] for block in together] == [*range(len(apart))]
    assert "global_block_id" not in apart[0]
    assert {block["title_level"] for block in together if block["block_label"] == "doc_title"} == {1}


def test_options_of_one_call_reach_the_reader_and_no_other_call() -> None:
    reader = MadeUpReader()
    with gateway(reader) as client:
        result(client, textDetLimitSideLen=960, textRecScoreThresh=0.7, useTableRecognition=False)
        result(client)
    first, second = reader.options
    assert (first.read_options.limit_side, first.read_options.min_confidence, first.tables) == (960, 0.7, False)
    assert (second.read_options.limit_side, second.read_options.min_confidence, second.tables) == (1280, 0.0, True)


def test_a_page_that_cannot_be_read_keeps_its_place(client: httpx.Client) -> None:
    first, second = result(client, "PDF2 broken")["layoutParsingResults"]
    assert "error" not in first["prunedResult"]
    assert second["prunedResult"]["error"] == "page 2 cannot be drawn"
    assert "could not be read" in second["markdown"]["text"]


def test_a_document_of_which_nothing_can_be_read_is_refused(client: httpx.Client) -> None:
    assert faults(ask(client, "PDF1 broken")) == {"body.file": "page 1 cannot be drawn"}
    assert "neither a PDF" in faults(ask(client, "poem"))["body.file"]


def test_a_file_of_another_kind_than_it_is_said_to_be_is_refused(client: httpx.Client) -> None:
    assert "of the kind pdf, not image" in faults(ask(client, fileType=1))["body.file"]
    assert "of the kind image, not pdf" in faults(ask(client, "PNG", fileType=0))["body.file"]


def test_what_cannot_be_done_is_refused_by_name_where_the_settings_want_that() -> None:
    with gateway(unavailable="refuse") as client:
        found = faults(ask(client, useSealRecognition=True, useChartRecognition=True, promptLabel="ocr"))
        assert set(found) == {"body.useSealRecognition", "body.useChartRecognition", "body.promptLabel"}
        assert found["body.useSealRecognition"].startswith("useSealRecognition is not available")
        assert result(client, useSealRecognition=False, useChartRecognition=None, promptLabel=None)


def test_models_that_are_not_here_are_left_out_by_name_and_nothing_else_is(client: httpx.Client) -> None:
    found = result(client, useChartRecognition=True, useSealRecognition=True)
    for page in found["layoutParsingResults"]:
        assert set(page["prunedResult"]["left_out"]) == {"useChartRecognition", "useSealRecognition"}
        assert page["prunedResult"]["model_settings"]["use_chart_recognition"] is False
    assert set(faults(ask(client, useChartRecognition=True, layoutNms=False))) == {"body.layoutNms"}
    assert "left_out" not in result(client)["layoutParsingResults"][0]["prunedResult"]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"fileType": 2}, "body.fileType"),
        ({"temperature": -1}, "body.temperature"),
        ({"nothingOfThatName": 1}, "body.nothingOfThatName"),
        ({"layoutNms": "maybe"}, "body.layoutNms"),
        ({"file": ""}, "body.file"),
        ({"file": "$$$"}, "body.file"),
    ],
)
def test_fields_that_do_not_fit_are_named(client: httpx.Client, fields: dict[str, Any], where: str) -> None:
    assert where in faults(client.post("/layout-parsing", json={"file": file("PDF1"), **fields}))


def test_a_missing_file_is_named(client: httpx.Client) -> None:
    assert set(faults(client.post("/layout-parsing", json={}))) == {"body.file"}


@pytest.mark.parametrize("path", ["/layout-parsing", "/restructure-pages"])
@pytest.mark.parametrize("body", [b"", b"{", b'{"file": NaN}', b"\xff\xfe", b"file=abc"])
def test_what_is_no_json_is_said_to_be(client: httpx.Client, path: str, body: bytes) -> None:
    assert refused(client.post(path, content=body), 400).startswith("Invalid JSON: ")


def test_what_takes_too_long_is_given_up_and_waiting_counts() -> None:
    reader = MadeUpReader(turns=threading.Semaphore(0))
    with gateway(reader, timeout_s=1, max_inference_requests=1) as client, ThreadPoolExecutor(2) as pool:
        replies = [*pool.map(lambda _: ask(client), range(2))]
        assert [refused(reply, 504) for reply in replies] == ["Gateway timeout"] * 2
        assert all("Retry-After" in reply.headers for reply in replies)
        reader.turns = None
        assert ask(client).status_code == 200, "the places are free again"


def test_no_more_than_the_limit_are_parsed_at_once() -> None:
    reader = MadeUpReader(turns=threading.Semaphore(0))
    assert reader.turns is not None
    with gateway(reader, max_inference_requests=2) as client, ThreadPoolExecutor(5) as pool:
        replies = [pool.submit(ask, client, "PNG") for _ in range(5)]
        assert all(reader.begun.acquire(timeout=30) for _ in range(2))
        assert not reader.begun.acquire(timeout=0.2), "the third waits"
        assert client.post("/restructure-pages", json={"pages": []}).status_code == 200, "others have their own limit"
        reader.turns.release(5)
        assert [reply.result(30).status_code for reply in replies] == [200] * 5


def test_a_client_that_leaves_frees_its_slot() -> None:
    reader = MadeUpReader(turns=threading.Semaphore(0))
    with gateway(reader, max_inference_requests=1) as client:
        body = json.dumps({"file": file("PDF9")}).encode()
        with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as gone:
            head = f"POST /layout-parsing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
            assert reader.begun.acquire(timeout=30)
        assert reader.given_up.acquire(timeout=30), "what was read for it is given up"
        reader.turns = None
        assert ask(client, "PNG").status_code == 200


class Failing:
    """A pipeline that fails in a certain way."""

    def __init__(self, error: Exception, reasons: tuple[str, ...] = ()) -> None:
        self.error, self.reasons = error, reasons
        self.cannot: Refusals = {}
        self.cannot_restructure: Refusals = {}

    async def parse(self, asked: LayoutRequest, data: bytes, *, deadline: float) -> dict[str, Any]:
        raise self.error

    async def restructure(self, asked: RestructureRequest, *, deadline: float) -> dict[str, Any]:
        raise self.error

    def not_ready(self) -> tuple[str, ...]:
        return self.reasons

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (FailedBehind(422, "the file is odd"), 422, "the file is odd"),
        (FailedBehind(503, "loading"), 503, "loading"),
        (FailedBehind(7, "seven"), 500, "Internal server error"),
        (RuntimeError("secret of the house"), 500, "Internal server error"),
    ],
)
def test_an_error_from_behind_becomes_the_status(error: Exception, status: int, message: str) -> None:
    with serving(NoEngine(), pipeline=lambda _service, _settings: Failing(error)) as client:
        for reply in (ask(client), client.post("/restructure-pages", json={"pages": []})):
            assert message in refused(reply, status)


def test_health_names_what_is_behind() -> None:
    failing = Failing(RuntimeError(), ("inference backend: timed out after 5 s", "VLM server: refused"))
    with serving(NoEngine(), pipeline=lambda _service, _settings: failing) as client:
        assert client.get("/health").json()["errorMsg"] == "Healthy"
        reply = client.get("/health/ready")
        message = refused(reply, 503)
        assert message == "Not ready: inference backend: timed out after 5 s; VLM server: refused"
        failing.reasons = ()
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["errorCode"], ready.json()["errorMsg"]) == (200, 0, "Ready")


def restructure(client: httpx.Client, pages: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    reply = client.post("/restructure-pages", json={"pages": pages, **fields})
    assert reply.status_code == 200, reply.text
    assert set(reply.json()["result"]) == {"layoutParsingResults"}
    found: list[dict[str, Any]] = reply.json()["result"]["layoutParsingResults"]
    return found


def parsed(client: httpx.Client, document: str = "PDF2") -> list[dict[str, Any]]:
    """Pages as a client sends them back."""
    pages = result(client, document)["layoutParsingResults"]
    return [{"prunedResult": page["prunedResult"], "markdownImages": page["markdown"]["images"]} for page in pages]


def test_pages_go_back_as_they_came_and_are_put_together(client: httpx.Client) -> None:
    pages = parsed(client)
    found = restructure(client, pages)
    assert [page["markdown"]["images"] for page in found] == [page["markdownImages"] for page in pages]
    assert "# Great Title" in found[1]["markdown"]["text"]
    assert found[0]["prunedResult"]["overall_ocr_res"] == pages[0]["prunedResult"]["overall_ocr_res"]


def test_pages_become_one_with_all_their_pictures(client: httpx.Client) -> None:
    pages = parsed(client, "PDF3")
    (whole,) = restructure(client, pages, concatenatePages=True)
    assert whole["prunedResult"]["page_count"] == 3
    assert whole["markdown"]["text"].count("# Great Title") == 3
    paths = re.findall(r'src="([^"]+)"', whole["markdown"]["text"])
    assert set(paths) == set(whole["markdown"]["images"])
    assert len(paths) == 3
    (bare,) = restructure(client, pages, concatenatePages=True, returnMarkdownImages=False, prettifyMarkdown=False)
    assert bare["markdown"]["images"] == {}
    assert "<div" not in bare["markdown"]["text"]


def test_pictures_of_others_that_have_the_same_path_stay_two(client: httpx.Client) -> None:
    path = "imgs/img_in_image_box_1_2_3_4.jpg"
    block = {"block_label": "image", "block_content": "", "block_bbox": [1, 2, 3, 4]}
    pages = [
        {"prunedResult": {"parsing_res_list": [block]}, "markdownImages": {path: data}} for data in ("QQ==", "Qg==")
    ]
    (whole,) = restructure(client, pages, concatenatePages=True)
    assert whole["markdown"]["images"] == {path: "QQ==", "imgs/page_2_img_in_image_box_1_2_3_4.jpg": "Qg=="}
    for found in whole["markdown"]["images"]:
        assert whole["markdown"]["text"].count(f'src="{found}"') == 1


def test_no_pages_are_none(client: httpx.Client) -> None:
    assert restructure(client, []) == restructure(client, [], concatenatePages=True) == []


def test_pages_that_are_none_are_refused_by_their_place(client: httpx.Client) -> None:
    reply = client.post("/restructure-pages", json={"pages": [{"prunedResult": {"parsing_res_list": [{}]}}]})
    assert "body.pages[0].prunedResult.parsing_res_list[0].block_label" in faults(reply)
    reply = client.post("/restructure-pages", json={"pages": [], "outputFormats": ["docx"]})
    assert set(faults(reply)) == {"body.outputFormats"}


def test_the_description_of_the_calls_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    schemas = {
        path: paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path in ("/layout-parsing", "/restructure-pages")
    }
    assert "$ref" not in json.dumps(schemas)
    page = schemas["/restructure-pages"]["properties"]["pages"]["items"]["properties"]["prunedResult"]
    assert set(page["properties"]) == {"parsing_res_list", "model_settings"}
