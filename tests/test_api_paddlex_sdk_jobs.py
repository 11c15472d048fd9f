import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from platoon.settings import ApiKey
from tests.drawn import document, encoded
from tests.drawn import page as drawn
from tests.http_server import files_of
from tests.job_service import serving
from tests.running import wait_until
from tests.scripted_reader import ScriptedReader

PATIENCE_S = 30
JOBS = "/api/v2/ocr/jobs"
PAPER = document([drawn(("Ink", 4, 26), size=(100, 50))] * 3)


@pytest.fixture
def reader() -> ScriptedReader:
    return ScriptedReader()


@pytest.fixture
def client(tmp_path: Path, reader: ScriptedReader) -> Iterator[httpx.Client]:
    with serving(tmp_path, reader, max_body_bytes=100_000, fetch_hosts=("127.0.0.1",)) as client:
        yield client


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    (folder := tmp_path / "files").mkdir()
    (folder / "paper.pdf").write_bytes(PAPER)
    with files_of(folder) as address:
        yield address


def added(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert (answer["code"], set(answer["data"])) == (0, {"jobId"})
    return str(answer["data"]["jobId"])


def handed_in(client: httpx.Client, file: bytes = PAPER, **fields: str) -> str:
    return added(client.post(JOBS, files={"file": file}, data={"model": "PP-OCRv6", **fields}))


def until(client: httpx.Client, job: str, state: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        now: dict[str, Any] = client.get(f"{JOBS}/{job}").raise_for_status().json()["data"]
        return now if now["state"] == state else None

    return wait_until(reached, f"{job} is {state}", patience_s=PATIENCE_S)


def result(done: dict[str, Any]) -> list[dict[str, Any]]:
    """Fetched as the SDK does: without a token."""
    reply = httpx.get(done["resultUrl"]["jsonUrl"], trust_env=False, timeout=PATIENCE_S).raise_for_status()
    return [json.loads(line)["result"] for line in reply.text.splitlines()]


def test_a_job_gives_the_lines_of_each_page(client: httpx.Client) -> None:
    done = until(client, job := handed_in(client), "done")
    assert done["jobId"] == job
    progress = done["extractProgress"]
    assert (progress["totalPages"], progress["extractedPages"]) == (3, 3)
    assert progress["startTime"] <= progress["endTime"]
    pages = result(done)
    assert [page["ocrResults"][0]["prunedResult"]["rec_texts"] for page in pages] == [
        ["Page 1"],
        ["Page 2"],
        ["Page 3"],
    ]
    first = pages[0]["ocrResults"][0]["prunedResult"]
    assert first["rec_boxes"] == [[10, 20, 90, 40]]
    assert first["rec_scores"] == [0.9876]
    assert pages[0]["dataInfo"] == {"numPages": 3, "pages": [{"width": 100, "height": 50}], "type": "pdf"}


def test_the_layout_of_each_page_is_given_by_the_models_that_are_for_it(client: httpx.Client) -> None:
    payload = json.dumps({"prettifyMarkdown": False, "returnMarkdownImages": True, "visualize": None})
    done = until(client, handed_in(client, model="PaddleOCR-VL-1.6", optionalPayload=payload, pageRanges="2-3"), "done")
    pages = [page["layoutParsingResults"][0] for page in result(done)]
    assert [page["markdown"]["text"] for page in pages] == ["Page 2", "Page 3"]
    assert pages[0]["markdown"]["images"] == {}
    (block,) = pages[0]["prunedResult"]["parsing_res_list"]
    assert (block["block_label"], block["block_content"]) == ("text", "Page 2")


def test_pages_are_drawn_again_for_what_shows_them(client: httpx.Client) -> None:
    payload = json.dumps({"visualize": True})
    done = until(client, handed_in(client, model="PP-StructureV3", optionalPayload=payload), "done")
    assert all("inputImage" in page["layoutParsingResults"][0] for page in result(done))


def test_a_file_is_fetched_from_where_the_caller_says(client: httpx.Client, files: str) -> None:
    job = added(client.post(JOBS, json={"fileUrl": f"{files}/paper.pdf", "model": "PP-OCRv5", "pageRanges": "3"}))
    (page,) = result(until(client, job, "done"))
    assert page["ocrResults"][0]["prunedResult"]["rec_texts"] == ["Page 3"]


def test_a_batch_says_where_its_jobs_stand(client: httpx.Client) -> None:
    jobs = [handed_in(client, file, batchId="march") for file in (PAPER, b"broken", encoded(drawn()))]
    states = [until(client, job, state)["state"] for job, state in zip(jobs, ("done", "failed", "done"), strict=True)]
    data = client.get(f"{JOBS}/batch/march").json()["data"]
    assert [(standing["jobId"], standing["state"]) for standing in data["extractResult"]] == list(
        zip(jobs, states, strict=True)
    )
    assert data["extractResult"][1]["errorMsg"] == "the PDF is damaged"
    assert client.get(f"{JOBS}/batch/april").status_code == 404


def test_one_sees_how_far_a_job_is(client: httpx.Client, reader: ScriptedReader) -> None:
    reader.turns = threading.Semaphore(0)
    first, second = handed_in(client), handed_in(client)
    running = until(client, first, "running")
    assert "resultUrl" not in running
    assert until(client, second, "pending")["extractProgress"]["startTime"] is None
    assert client.delete(f"/api/v1/ocr/results/{second}").status_code == 200
    assert until(client, second, "failed")["errorMsg"] == "cancelled"
    reader.turns.release(9)
    until(client, first, "done")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": "PP-OCRv9"}, "PaddleOCR-VL-1.5"),
        ({"model": "PP-OCRv6", "optionalPayload": "{"}, "optionalPayload"),
        ({"model": "PP-OCRv6", "optionalPayload": '{"tilt": 1}'}, "tilt"),
        ({"model": "PP-OCRv6", "optionalPayload": '{"useDocUnwarping": true}'}, "useDocUnwarping"),
        ({"model": "PP-OCRv6", "optionalPayload": '{"visualize": true}'}, "visualize"),
        ({"model": "PaddleOCR-VL", "optionalPayload": '{"temperature": 0.5}'}, "temperature"),
        ({"model": "PaddleOCR-VL", "optionalPayload": '{"restructurePages": true}'}, "restructurePages"),
        ({"model": "PP-OCRv6", "pageRanges": "x"}, "pages"),
        ({}, "model"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_as_a_bad_request(
    client: httpx.Client, fields: dict[str, str], named: str
) -> None:
    reply = client.post(JOBS, files={"file": PAPER}, data=fields)
    assert reply.status_code == 400
    answer = reply.json()
    assert answer["code"] == 400
    assert named in answer["msg"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model": "PP-OCRv6"}', b'{"fileUrl": "", "model": "PP-OCRv6"}'])
def test_json_that_does_not_fit_is_a_bad_request(client: httpx.Client, body: bytes) -> None:
    assert client.post(JOBS, content=body, headers={"Content-Type": "application/json"}).status_code == 400


def test_a_file_that_cannot_be_fetched_is_a_bad_request(client: httpx.Client, files: str) -> None:
    reply = client.post(JOBS, json={"fileUrl": f"{files}/none.pdf", "model": "PP-OCRv6"})
    assert reply.status_code == 400
    assert "fileUrl" in reply.json()["msg"]


@pytest.mark.parametrize("public", [None, "https://plates.example.org/"])
def test_where_a_result_is_comes_from_the_settings_or_the_port_and_never_from_the_caller(
    tmp_path: Path, reader: ScriptedReader, public: str | None
) -> None:
    with serving(tmp_path, reader, public_url=public, hosts=("files.example",)) as client:
        job = handed_in(client)
        until(client, job, "done")
        forged = {"Host": "files.example:1", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
        url = client.get(f"{JOBS}/{job}", headers=forged).json()["data"]["resultUrl"]["jsonUrl"]
    assert url.startswith(f"{(public or str(client.base_url)).rstrip('/')}{JOBS}/{job}/result.jsonl?")


def test_a_token_is_needed_for_jobs_and_none_for_their_results(tmp_path: Path, reader: ScriptedReader) -> None:
    keys = [ApiKey(name="ann", sha256=hashlib.sha256(b"ann").hexdigest())]
    with serving(tmp_path, reader, keys=keys) as client:
        refused = client.post(JOBS, files={"file": PAPER}, data={"model": "PP-OCRv6"})
        assert (refused.status_code, refused.json()["code"]) == (401, 401)
        client.headers["Authorization"] = "Bearer ann"
        done = until(client, handed_in(client), "done")
        assert len(result(done)) == 3
        url = done["resultUrl"]["jsonUrl"]
        address = httpx.URL(url)
        unknown = address.copy_with(path=address.path.replace(done["jobId"], "0" * 32))
        until_later = address.copy_set_param("until", int(address.params["until"]) + 1)
        unsigned = address.copy_remove_param("signature")
        for changed, status in ((unknown, 404), (until_later, 403), (unsigned, 403)):
            assert httpx.get(changed, trust_env=False, timeout=PATIENCE_S).status_code == status
        assert httpx.get(f"{client.base_url}{JOBS}/{done['jobId']}", trust_env=False).status_code == 401
