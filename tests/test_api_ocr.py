from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from platoon.api.serve import HttpServer
from platoon.ocr.engine import TextEngine
from platoon.ocr.service import OcrService
from platoon.settings import ApiSettings, ServiceSettings, Settings
from tests.drawn import INVOICE, INVOICE_TEXTS, document, encoded, page
from tests.fake_site import FakeSite, camera
from tests.serving import serving

INK = page(*INVOICE)
PNG = encoded(INK)
LINE = encoded(page(("KA 7351", 8, 36), size=(150, 48)))


@pytest.fixture(scope="module")
def client(text_engine: TextEngine) -> Iterator[httpx.Client]:
    with serving(text_engine, max_pictures=8) as client:
        yield client


def fleet(client: httpx.Client, picture: bytes = PNG, **options: Any) -> dict[str, Any]:
    reply = client.post("/ocr", files={"image": picture}, **options)
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def test_a_picture_comes_back_as_the_fleet_expects_it(client: httpx.Client) -> None:
    answer = fleet(client, data={"lang": "en"})
    assert set(answer) == {"mergedText", "inferenceMs", "lines", "batchSize", "batchInferenceMs", "engine"}
    assert answer["mergedText"] == " ".join(INVOICE_TEXTS)
    assert [line["text"] for line in answer["lines"]] == INVOICE_TEXTS
    first = answer["lines"][0]
    assert set(first) == {"text", "confidence", "box"}
    assert 0.9 < first["confidence"] <= 1
    assert first["box"] == pytest.approx([20, 28, 122, 52], abs=12)
    assert answer["engine"] == "modular-det-rec-batch"
    assert answer["batchSize"] >= 1
    assert answer["inferenceMs"] >= answer["batchInferenceMs"] > 0


def test_a_picture_without_text_has_no_lines(client: httpx.Client) -> None:
    answer = fleet(client, encoded(page()))
    assert (answer["mergedText"], answer["lines"]) == ("", [])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_pictures_of_all_formats_are_read(client: httpx.Client, kind: str) -> None:
    assert fleet(client, encoded(INK, kind))["mergedText"] == " ".join(INVOICE_TEXTS)


def test_a_mode_may_come_as_field_or_in_the_query(client: httpx.Client) -> None:
    for asked in ({"data": {"mode": "rec-only"}}, {"params": {"mode": "rec-only"}}):
        answer = fleet(client, LINE, **asked)
        assert answer["mergedText"] == "KA 7351"
        assert answer["lines"][0]["box"] == [0, 0, 150, 48]
    assert fleet(client, LINE, data={"mode": "det-rec"})["lines"][0]["box"] != [0, 0, 150, 48]


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"files": {"image": PNG}, "data": {"mode": "guess"}}, "mode: 'guess' is none of det-rec"),
        ({"files": {"image": PNG}, "data": {"find": "perhaps"}}, "find: 'perhaps' is neither"),
        ({"files": {"image": PNG}, "data": {"lang": "ru"}}, "lang: 'ru' is written in Cyrillic"),
        ({"files": {"image": PNG}, "params": {"lang": "ar_EG"}}, "lang: 'ar_EG' is written in Arabic"),
        ({"files": {"file": PNG}, "data": {"language": "ko"}}, "language: 'ko' is written in Hangul"),
        ({"files": {"image": (None, "text")}}, "image: send one picture as a file"),
        ({"files": [("image", PNG), ("mode", PNG)]}, "image: at most 1 files"),
        ({"files": {"mode": PNG}}, "image: send a picture"),
        ({"data": {"image": "x"}, "files": {"other": PNG}}, "image: send one picture as a file"),
        ({"files": {"image": b"not a picture"}}, "none of JPEG, PNG"),
        ({"files": {"image": PNG[:200]}}, "cannot be read"),
        ({"files": {"image": b""}}, "picture of 0 bytes"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(client: httpx.Client, sent: dict[str, Any], named: str) -> None:
    reply = client.post("/ocr", **sent)
    assert reply.status_code in (413, 422)
    assert named in reply.json()["error"]
    assert reply.json()["retry"] is False


@pytest.mark.parametrize(
    "sent",
    [
        {"content": PNG, "headers": {"Content-Type": "image/png"}},
        {"content": PNG},
        {"data": {"image": "x"}},
        {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    ],
)
@pytest.mark.parametrize("path", ["/ocr", "/ocr/batch"])
def test_other_content_types_are_refused(client: httpx.Client, path: str, sent: dict[str, Any]) -> None:
    reply = client.post(path, **sent)
    assert reply.status_code == 415
    assert "Content-Type" in reply.json()["error"]


def test_a_plate_is_read_in_its_own_alphabet_with_candidates(client: httpx.Client) -> None:
    stacked = encoded(page(("KA 01", 40, 50), ("7351", 46, 100), size=(190, 120)))
    answer = fleet(client, stacked, data={"mode": "plate", "lang": "ru"})
    assert answer["mergedText"] == "KA017351"
    assert [line["text"] for line in answer["lines"]] == ["KA01", "7351"]
    for line in answer["lines"]:
        assert "".join(candidates[0][0] for candidates in line["characters"]) == line["text"]
        assert all(0 <= probability <= 1 for candidates in line["characters"] for _, probability in candidates)


def test_a_picture_that_is_one_line_is_not_searched_in_any_mode(client: httpx.Client) -> None:
    answer = fleet(client, LINE, data={"mode": "plate", "find": "false"})
    assert answer["mergedText"] == "KA7351"
    assert answer["lines"][0]["box"] == [0, 0, 150, 48]
    assert fleet(client, LINE, params={"find": "False"})["mergedText"] == "KA 7351"


def test_a_batch_answers_in_order_and_a_failed_picture_in_its_place(client: httpx.Client) -> None:
    files = [("images", PNG), ("images", b"nothing"), ("images", LINE), ("images", PNG[:300])]
    reply = client.post("/ocr/batch", files=files)
    assert reply.status_code == 200
    first, none, line, half = reply.json()
    assert first["mergedText"] == " ".join(INVOICE_TEXTS)
    assert line["mergedText"] == "KA 7351"
    assert set(none) == set(half) == {"error", "code", "retry"}
    assert none["code"] == "InvalidInput"
    assert set(first) == set(fleet(client))


def test_pictures_of_one_size_travel_together(client: httpx.Client) -> None:
    answers = client.post("/ocr/batch", files=[("images", LINE)] * 8, data={"mode": "rec-only"}).json()
    assert [answer["mergedText"] for answer in answers] == ["KA 7351"] * 8


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([("images", PNG)] * 9, 413),
        ([("images", PNG)] * 30, 413),
        ([("image", PNG)], 422),
        ([("images", (None, "text"))], 422),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_by_name(client: httpx.Client, files: Any, status: int) -> None:
    reply = client.post("/ocr/batch", files=files)
    assert reply.status_code == status
    assert reply.json()["error"].startswith("images: ")


def test_liteparse_gets_its_results(client: httpx.Client) -> None:
    reply = client.post("/ocr", files={"file": ("page.png", PNG, "image/png")}, data={"language": "en"})
    assert reply.status_code == 200
    results = reply.json()["results"]
    assert set(reply.json()) == {"results"}
    assert [result["text"] for result in results] == INVOICE_TEXTS
    for result in results:
        x1, y1, x2, y2 = result["bbox"]
        assert x1 < x2
        assert y1 < y2
        assert 0 <= result["confidence"] <= 1
        polygon = np.array(result["polygon"])
        assert polygon.shape == (4, 2)
        assert polygon[0] == pytest.approx((x1, y1), abs=3)
        assert polygon[2] == pytest.approx((x2, y2), abs=3)


def test_liteparse_need_not_name_a_language_and_gets_nothing_for_a_blank_page(client: httpx.Client) -> None:
    assert client.post("/ocr", files={"file": encoded(page())}).json() == {"results": []}


@pytest.mark.parametrize(("turns", "first_corner"), [(1, "bottom left"), (3, "top right")])
def test_liteparse_sees_which_way_text_runs(client: httpx.Client, turns: int, first_corner: str) -> None:
    picture = np.rot90(page(("Sideways 12", 100, 110)), turns).copy()
    (result,) = client.post("/ocr", files={"file": encoded(picture)}).json()["results"]
    x1, y1, x2, y2 = result["bbox"]
    corner = {"bottom left": (x1, y2), "top right": (x2, y1)}[first_corner]
    assert result["text"] == "Sideways 12"
    assert result["polygon"][0] == pytest.approx(corner, abs=3)


def test_liteparse_hears_of_errors_in_a_sentence(client: httpx.Client) -> None:
    reply = client.post("/ocr", files={"file": b"not a picture"})
    assert reply.status_code == 422
    assert isinstance(reply.json()["error"], str)


def test_callers_of_all_contracts_are_served_at_once_and_get_their_own(client: httpx.Client) -> None:
    texts = [f"Order {number}" for number in range(12)]
    pages = [page((text, 30, 60 + 7 * index)) for index, text in enumerate(texts)]

    def ask(index: int) -> str:
        data = encoded(pages[index])
        if index % 3 == 0:
            return str(fleet(client, data)["mergedText"])
        if index % 3 == 1:
            return str(client.post("/ocr", files={"file": data}).json()["results"][0]["text"])
        answers = client.post("/ocr/batch", files=[("images", data), ("images", PNG)]).json()
        return str(answers[0]["mergedText"])

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(12))) == texts


def test_a_document_is_no_picture_for_the_fleet(client: httpx.Client) -> None:
    reply = client.post("/ocr", files={"image": document([INK])})
    assert reply.status_code == 422


def test_the_api_describes_its_contracts(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    content = paths["/ocr"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert "textDetThresh" in content["application/json"]["schema"]["properties"]
    assert "/ocr/batch" in paths
    assert "/api/cameras" not in paths


def test_without_cameras_the_first_page_is_the_documentation(client: httpx.Client) -> None:
    assert client.get("/").text == client.get("/docs").text
    assert client.get("/api/cameras").status_code == 404
    assert client.get("/health/ready").status_code == 200


def test_beside_the_cameras_the_same_port_reads_for_others(text_engine: TextEngine, tmp_path: Path) -> None:
    site = FakeSite(tmp_path, camera("gate"))
    service = OcrService(text_engine, ServiceSettings(), site.metrics)
    try:
        with HttpServer(site, Settings(api=ApiSettings(port=0)), service=service) as http_server:
            reply = httpx.post(f"{http_server.address}/ocr", files={"image": PNG}, timeout=60)
            assert reply.json()["mergedText"] == " ".join(INVOICE_TEXTS)
            assert httpx.get(f"{http_server.address}/api/cameras").json()["cameras"][0]["id"] == "gate"
            assert (
                'platoon_requests_total{contract="fleet",status="200"} 1.0'
                in httpx.get(f"{http_server.address}/metrics").text
            )
            site.missing = ["engine: warming up"]
            assert httpx.get(f"{http_server.address}/health/ready").status_code == 503
    finally:
        service.close()
