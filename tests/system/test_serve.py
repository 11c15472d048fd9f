"""`platoon serve` as a process of its own, called by programs that nobody here wrote."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.absent import absent
from tests.drawn import INVOICE, INVOICE_TEXTS, document, encoded, page

PATIENCE_S = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "page.png").write_bytes(encoded(page(*INVOICE)))
    (folder / "paper.pdf").write_bytes(document([page(*INVOICE)]))
    for name, plate in (("a.jpg", "KA 7351"), ("b.jpg", "LS 15 EBC")):
        (folder / name).write_bytes(encoded(page((plate, 20, 50), size=(240, 80)), "JPEG"))
    return folder


@pytest.fixture(scope="module")
def address(folder: Path, cache: Path) -> Iterator[str]:
    """Where a service answers that is ready; its log goes to `serve.log`."""
    log = folder / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "platoon", "serve", "--port", "0"],
            cwd=folder,
            env={**os.environ, "PLATOON_CACHE": str(cache), "PLATOON_LOG_FORMAT": "json", "COLUMNS": "200"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(r"http://[\d.]+:\d+", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        while httpx.get(f"{found[0]}/health/ready", trust_env=False).status_code != 200:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def output_of(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_calls_in_the_readme_are_answered(address: str, folder: Path) -> None:
    if shutil.which("curl") is None:
        absent("curl is not installed")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    calls = [line for line in readme.splitlines() if "curl" in line and line.endswith(("/ocr", "/ocr/batch"))]
    answers = [
        json.loads(output_of(["sh", "-c", call.replace("http://127.0.0.1:8080", address)], folder)) for call in calls
    ]
    picture, plates, paper = answers
    assert picture["mergedText"] == " ".join(INVOICE_TEXTS)
    assert [plate["mergedText"] for plate in plates] == ["KA7351", "LS15EBC"]
    assert paper["result"]["ocrResults"][0]["prunedResult"]["rec_texts"] == INVOICE_TEXTS


def test_paddleocrs_mcp_server_reads_pictures_and_documents_through_us(address: str, folder: Path) -> None:
    for parts, scale in zip(through_mcp(address, "PP-OCRv6", folder), (1, 2), strict=True):
        (text,) = parts
        answer = json.loads(str(text))
        assert answer["text"].splitlines() == INVOICE_TEXTS
        assert answer["confidence"] > 0.9
        left, top, right, bottom = answer["text_lines"][0]["bbox"]
        assert (left / scale, top / scale) == pytest.approx((20, 28), abs=12)
        assert (right / scale, bottom / scale) == pytest.approx((122, 52), abs=14)


def test_paddleocrs_mcp_server_parses_pictures_and_documents_through_us(address: str, folder: Path) -> None:
    for parts in through_mcp(address, "PP-StructureV3", folder):
        text = "\n".join(part for part in parts if isinstance(part, str))
        assert all(said in text for said in INVOICE_TEXTS), text
        assert parts[-1] == "Pages: 1"


def through_mcp(address: str, model: str, folder: Path) -> list[list[str | int]]:
    """What PaddleOCR's MCP server says of a picture and of a document."""
    clients = Path(os.environ.get("PLATOON_CLIENTS") or Path(__file__).parents[2] / ".venv-clients")
    python = clients / "bin" / "python"
    if not python.is_file():
        absent(f"no paddleocr_mcp in {clients}: make clients, or PLATOON_CLIENTS names the environment that has it")
    script = str(Path(__file__).with_name("ask_paddleocr_mcp.py"))
    said = output_of([str(python), script, address, model, "page.png", "paper.pdf"], folder)
    answers: list[list[str | int]] = json.loads(said.splitlines()[-1])
    return answers


def test_every_call_is_a_line_of_json_with_its_id(address: str, folder: Path) -> None:
    picture = (folder / "page.png").read_bytes()
    httpx.post(f"{address}/ocr", files={"image": picture}, headers={"X-Request-ID": "order-9"}, timeout=PATIENCE_S)
    lines = [json.loads(line) for line in (folder / "serve.log").read_text().splitlines() if line.startswith("{")]
    (mine,) = [line for line in lines if line.get("request") == "order-9"]
    assert (mine["contract"], mine["status"], mine["level"]) == ("fleet", 200, "info")


@pytest.mark.parametrize(
    "command", [["serve"], ["run", "cameras.txt"], ["demo"], ["serve", "--host", "::"]], ids=" ".join
)
def test_what_others_reach_and_nothing_protects_does_not_start_and_says_the_two_ways_out(
    folder: Path, command: list[str]
) -> None:
    (folder / "cameras.txt").write_text("gate|Gate|rtsp://127.0.0.1:9/none|0\n")
    whole = [sys.executable, "-m", "platoon", *command, "--port", "0"]
    if "--host" not in command:
        whole += ["--host", "0.0.0.0"]
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2
    assert "service.keys" in done.stderr
    assert "service.open = true" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
