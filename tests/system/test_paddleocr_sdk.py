"""The job API, called by PaddleOCR's own SDK and by LangChain's loader, which polls for minutes if need be."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.absent import absent
from tests.drawn import document, page
from tests.http_server import files_of
from tests.running import LIGHT, PATIENCE_S, Place

TOKEN = "a token of theirs"
PAPER = document([page(("Hello World", 20, 60)), page(("Second Leaf", 20, 60))])


@pytest.fixture
def clients() -> Path:
    """The Python that has the clients."""
    folder = Path(os.environ.get("PLATOON_CLIENTS") or Path(__file__).parents[2] / ".venv-clients")
    python = folder / "bin" / "python"
    if not python.is_file():
        absent(f"no PaddleOCR SDK in {folder}: make clients, or PLATOON_CLIENTS names the environment that has it")
    return python


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where the paper can be fetched."""
    (folder := tmp_path / "files").mkdir()
    (folder / "paper.pdf").write_bytes(PAPER)
    with files_of(folder) as address:
        yield f"{address}/paper.pdf"


def test_paddleocrs_sdk_and_langchains_loader_read_documents_through_us(
    tmp_path: Path, cache: Path, clients: Path, url: str
) -> None:
    key = {"name": "ann", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    place = Place(
        tmp_path,
        cache=cache,
        api__open_paths='["/health"]',
        service__keys=json.dumps([key]),
        service__fetch_hosts='["127.0.0.1"]',
        **LIGHT,
    )
    (tmp_path / "paper.pdf").write_bytes(PAPER)
    script = str(Path(__file__).with_name("ask_paddleocr_sdk.py"))
    with place.start("serve") as running:
        done = subprocess.run(
            [str(clients), script, running.address, TOKEN, str(tmp_path / "paper.pdf"), url],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    texts = [["Hello World"], ["Second Leaf"]]
    assert (results["texts"], results["pages"], results["chosen"]) == (texts, 2, texts[1:])
    (left, top, right, bottom), *_ = results["boxes"][0]
    assert (left / 2, top / 2, right / 2, bottom / 2) == pytest.approx((20, 38, 174, 66), abs=10)
    assert results["blocks"] == texts
    assert [text.lstrip("# ") for text in results["markdown"]] == ["Hello World", "Second Leaf"]
    assert (results["status"], results["batch"]) == (["done", 2, 2], [[True, "done"]])
    assert "pages" in results["refused"]
    (loaded,) = results["loaded"]
    assert "Hello World" in loaded
    assert "Second Leaf" in loaded
