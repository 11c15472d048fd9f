"""`kill -9` while a document is read: what was taken is read to its end, and each page is in the result once."""

import random
import re
import sqlite3
import time
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.clips import write_clip
from tests.drawn import document, page
from tests.running import LIGHT, Place, Running

PAGES = 12
KILLS = 3
LISTENS = re.compile(r"sent to .*(http://[\d.]+:\d+)")
WATCHES = re.compile(r"watches .*(http://[\d.]+:\d+)")
PAPER = document([page((f"Leaf {number}", 20, 60), size=(320, 120)) for number in range(1, PAGES + 1)])


@pytest.fixture
def place(place: Place) -> Place:
    place.settings |= LIGHT
    return place


def test_no_page_is_lost_or_notified_twice_however_often_the_service_is_killed(place: Place) -> None:
    chance = random.Random(4)
    with place.start("serve") as running:
        sent = running.http.post("/api/v1/ocr/process", files={"file": PAPER})
        assert sent.status_code == 202
        task = sent.json()["task_id"]
        running.kill()
    for _ in range(KILLS):
        with place.start("serve") as running:
            done = standing(running, task)["progress"]["done"]
            goal = min(done + chance.randint(0, 3), PAGES - 1)
            reach(running, task, goal)
            time.sleep(chance.uniform(0, 0.1))  # anywhere in a page
            running.kill()
        with closing(sqlite3.connect(place.store / "jobs.sqlite")) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (kept,) = database.execute("SELECT count(*) FROM page").fetchone()
            assert kept >= goal
    with place.start("serve") as running:
        running.until(lambda: standing(running, task)["status"] == "SUCCESS", "it is read")
        task_status = standing(running, task)
        read_now = running.metric("platoon_job_pages_total")
    assert task_status["progress"] == {"pages": PAGES, "done": PAGES}
    found = [(line["page_number"], line["text"]) for line in task_status["result"]["detections"]]
    assert found == [(number, f"Leaf {number}") for number in range(1, PAGES + 1)]
    assert read_now <= PAGES - kept


def test_kills_while_the_models_are_loaded_use_up_no_attempt(place: Place) -> None:
    place.settings |= {"jobs__attempts": 2}
    task = ""
    for _ in range(3):
        with place.begin("serve") as process:
            found = process.until(lambda it=process: LISTENS.search(it.log), "it listens")  # type: ignore[misc]
            if not task:
                sent = httpx.post(f"{found[1]}/api/v1/ocr/process", files={"file": PAPER}, timeout=60, trust_env=False)
                task = sent.json()["task_id"]
            process.kill()
    with place.start("serve") as running:
        running.until(lambda: standing(running, task)["status"] in ("SUCCESS", "FAILURE"), "it has ended")
        assert standing(running, task)["status"] == "SUCCESS"


def test_jobs_that_cannot_be_kept_keep_no_camera_from_running(place: Place) -> None:
    write_clip(place.folder / "gate.mp4", frames=20, fps=5)
    place.register("gate|Gate|gate.mp4|0")
    place.store.mkdir(exist_ok=True)
    (place.store / "jobs.sqlite").write_bytes(b"this was a database once " * 400)
    with place.begin("run", place.registry, "--loop") as process:
        address = process.until(lambda: WATCHES.search(process.log), "it listens")[1]
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:

            def analysed() -> bool:
                return 'platoon_frames_analysed_total{camera="gate"}' in client.get("/metrics").text

            process.until(analysed, "frames are analysed")
            ready = client.get("/health/ready")
            assert ready.status_code == 503
            assert "jobs.sqlite" in ready.text
            refused = client.post("/api/v1/ocr/process", files={"file": PAPER})
            assert refused.status_code == 503
            assert "move it away" in refused.text


def test_a_stop_puts_a_document_back_and_the_next_start_goes_on(place: Place) -> None:
    with place.start("serve") as running:
        task = running.http.post("/api/v1/ocr/process", files={"file": PAPER}).json()["task_id"]
        reach(running, task, 1)
        assert running.stop() == 0
    with place.start("serve") as running:
        running.until(lambda: standing(running, task)["status"] == "SUCCESS", "it is read")
        assert running.metric("platoon_job_pages_total") < PAGES


def reach(running: Running, task: str, goal: int) -> None:
    running.until(lambda: standing(running, task)["progress"]["done"] >= goal, f"{goal} pages are read")


def standing(running: Running, task: str) -> Any:
    return running.get(f"/api/v1/ocr/results/{task}")
