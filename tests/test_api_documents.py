import hashlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pikepdf
import pytest
from PIL import Image

from platoon.api.documents import LONGEST_SIDE
from platoon.settings import ApiKey
from tests.drawn import document, encoded, page
from tests.job_service import serving
from tests.running import wait_until
from tests.scripted_reader import ScriptedReader

PATIENCE_S = 30
BATCH = "documents of one browser"
PAGES = document([page(("Ink", 4, 26), size=(64, 32))] * 2)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(tmp_path, ScriptedReader(), max_body_bytes=4_000_000, max_pixels=10_000_000) as client:
        yield client


def handed_in(client: httpx.Client, file: bytes, **fields: str) -> dict[str, Any]:
    reply = client.post("/api/documents", files={"file": file}, data={"batch": BATCH, **fields})
    assert reply.status_code == 202, reply.text
    taken: dict[str, Any] = reply.json()
    return taken


def ended(client: httpx.Client, taken: dict[str, Any]) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        now: dict[str, Any] = client.get(f"/api/documents/{taken['id']}").raise_for_status().json()
        return now if now["state"] in ("done", "failed", "cancelled") else None

    return wait_until(found, "it has ended", patience_s=PATIENCE_S)


def test_a_batch_lists_its_documents_newest_first_and_only_them(client: httpx.Client) -> None:
    first, second = handed_in(client, b"2", name="one.pdf"), handed_in(client, b"broken", name="two.pdf")
    handed_in(client, b"1", batch="documents of another browser")
    for taken in (first, second):
        ended(client, taken)
    listed = client.get("/api/documents", params={"batch": BATCH}).json()
    assert listed["max_bytes"] == 4_000_000
    assert [
        (taken["name"], taken["state"], taken["pages"], taken["done"], taken["error"]) for taken in listed["documents"]
    ] == [
        ("two.pdf", "failed", None, 0, "the PDF is damaged"),
        ("one.pdf", "done", 2, 2, None),
    ]
    assert [taken["queue_position"] for taken in listed["documents"]] == [None, None], "nothing waits any more"


@pytest.mark.parametrize("batch", ["", "guessed", "x" * 65])
def test_a_batch_that_could_be_guessed_is_refused(client: httpx.Client, batch: str) -> None:
    assert client.get("/api/documents", params={"batch": batch}).status_code == 422
    reply = client.post("/api/documents", files={"file": b"1"}, data={"batch": batch})
    assert reply.status_code == 422
    assert reply.json()["error"]["message"].startswith("batch")


def test_looking_again_and_again_is_no_news_for_the_log(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "platoon.api.intake"):
        taken = ended(client, handed_in(client, b"1"))
        for address in (
            "/api/documents",
            f"/api/documents/{taken['id']}/pages/1",
            f"/api/v1/ocr/results/{taken['id']}",
        ):
            client.get(address, params={"batch": BATCH}).raise_for_status()
        client.get("/api/documents/nothing")
        lines = [(vars(record)["path"], vars(record)["status"]) for record in caplog.records]
    assert lines == [("/api/documents", 202), ("/api/documents/nothing", 404)]


def test_a_page_is_described_by_its_blocks_and_shown_by_its_picture(client: httpx.Client) -> None:
    taken = ended(client, handed_in(client, PAGES, pages="2"))
    assert taken["numbers"] == [2]
    found = client.get(f"/api/documents/{taken['id']}/pages/2").json()
    assert (found["number"], found["width"], found["height"], found["error"]) == (2, 100, 50, None)
    corners = [[10.0, 20.0], [90.0, 20.0], [90.0, 40.0], [10.0, 40.0]]
    block = {
        "label": "text",
        "box": [10, 20, 90, 40],
        "text": "Page 2",
        "level": None,
        "table": None,
        "lines": [corners],
    }
    assert found["blocks"] == [block]
    assert client.get(f"/api/documents/{taken['id']}/pages/1").status_code == 404
    picture = client.get(f"{taken['address']}/pages/2.jpg")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(picture.content)).size == (128, 64)


def test_the_picture_of_a_large_page_is_scaled_down(client: httpx.Client) -> None:
    taken = ended(client, handed_in(client, encoded(page(size=(3000, 300)))))
    picture = Image.open(io.BytesIO(client.get(f"{taken['address']}/pages/1.jpg").content))
    assert picture.size == (LONGEST_SIDE, LONGEST_SIDE // 10)


@pytest.mark.parametrize(
    ("form", "kind", "begins"),
    [
        ("md", "text/markdown; charset=utf-8", b"Page 1"),
        ("txt", "text/plain; charset=utf-8", b"Page 1"),
        ("json", "application/json", b'{"name": "Br\xc3\xbccke <b>.pdf"'),
        ("hocr", "application/xhtml+xml", b"<?xml"),
        ("alto", "application/xml", b"<?xml"),
        ("pdf", "application/pdf", b"%PDF-"),
    ],
)
def test_a_document_is_downloaded_in_every_form(client: httpx.Client, form: str, kind: str, begins: bytes) -> None:
    taken = ended(client, handed_in(client, PAGES, name="Brücke <b>.pdf"))
    reply = client.get(f"{taken['address']}/exports/{form}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, kind)
    name = f"Br%C3%BCcke%20%3Cb%3E.{'alto.xml' if form == 'alto' else form}"
    assert reply.headers["content-disposition"] == f"attachment; filename*=UTF-8''{name}"
    assert reply.content.startswith(begins)
    if form == "pdf":
        assert len(pikepdf.Pdf.open(io.BytesIO(reply.content)).pages) == 2


def test_a_picture_becomes_a_pdf_too(client: httpx.Client) -> None:
    taken = ended(client, handed_in(client, encoded(page(size=(64, 32))), name="scan"))
    reply = client.get(f"{taken['address']}/exports/pdf")
    assert reply.content.startswith(b"%PDF-")
    assert reply.headers["content-disposition"].endswith("''scan.pdf")


def test_there_are_no_other_forms_of_what_is_not_read(client: httpx.Client) -> None:
    taken = ended(client, handed_in(client, b"broken"))
    reply = client.get(f"{taken['address']}/exports/md")
    assert reply.status_code == 404
    assert "not read to its end" in reply.json()["error"]["message"]


def test_only_its_key_finds_a_document_its_pictures_and_its_other_forms(tmp_path: Path) -> None:
    keys = [ApiKey(name=name, sha256=hashlib.sha256(name.encode()).hexdigest()) for name in ("ann", "bob")]
    with serving(tmp_path, ScriptedReader(), keys=keys, max_pixels=10_000_000) as client:
        ann, bob = ({"X-API-Key": name} for name in ("ann", "bob"))
        assert client.post("/api/documents", files={"file": PAGES}, data={"batch": BATCH}).status_code == 401
        client.headers.update(ann)
        taken = ended(client, handed_in(client, PAGES))
        del client.headers["X-API-Key"]
        path = f"/api/documents/{taken['id']}"
        for method, asked in (("GET", path), ("DELETE", path), ("GET", f"{path}/pages/1")):
            assert client.request(method, asked).status_code == 401
            assert client.request(method, asked, headers=bob).status_code == 404
            assert client.request(method, asked, headers=ann).status_code == 200
        listing = f"/api/documents?batch={quote(BATCH)}"
        assert client.get(listing).status_code == 401
        assert client.get(listing, headers=bob).json()["documents"] == []
        assert len(client.get(listing, headers=ann).json()["documents"]) == 1
        for found in ("pages/1.jpg", "exports/txt"):
            assert client.get(f"{taken['address']}/{found}").status_code == 401
            assert client.get(f"{taken['address']}/{found}", headers=bob).status_code == 404
            assert client.get(f"{taken['address']}/{found}", headers=ann).status_code == 200
