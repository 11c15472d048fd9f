"""Documents read by real Celery workers through a real Redis: workers are killed, Redis is started anew."""

import random
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.drawn import document, page
from tests.redis_server import RedisServer
from tests.running import LIGHT, Place, Running

PAGES = 6
MANY = 24
"""Pages that are not all read before what is done once one is read."""


def paper(name: str, pages: int) -> bytes:
    return document([page((f"{name} {number}", 20, 60), size=(320, 120)) for number in range(1, pages + 1)])


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, cache: Path, redis: RedisServer) -> Place:
    return Place(tmp_path_factory.mktemp("shop"), cache=cache, broker=redis.url, jobs__lease_s=3, **LIGHT)


@pytest.fixture(scope="module")
def running(shop: Place) -> Iterator[Running]:
    """Takes documents, for the workers of each test; no test leaves one that waits."""
    with shop.start("serve") as running:
        yield running


def handed_in(running: Running, name: str, pages: int = PAGES) -> str:
    sent = running.http.post("/api/v1/ocr/process", files={"file": paper(name, pages)})
    assert sent.status_code == 202, sent.text
    return str(sent.json()["task_id"])


def standing(running: Running, task: str) -> Any:
    return running.get(f"/api/v1/ocr/results/{task}")


def pages_read(running: Running, task: str) -> int:
    return int(standing(running, task)["progress"]["done"])


def reach(running: Running, task: str, goal: int) -> None:
    running.until(lambda: pages_read(running, task) >= goal, f"{goal} pages are read")


def reach_in_all(running: Running, tasks: Collection[str], more: int) -> None:
    goal = min(sum(pages_read(running, task) for task in tasks) + more, PAGES * len(tasks))
    running.until(lambda: sum(pages_read(running, task) for task in tasks) >= goal, f"{more} more pages are read")


def has_each_page_once(running: Running, task: str, name: str, pages: int = PAGES) -> None:
    running.until(lambda: standing(running, task)["status"] not in ("PENDING", "STARTED", "PROGRESS"), "it ends")
    task_status = standing(running, task)
    assert task_status["status"] == "SUCCESS", task_status
    found = [(line["page_number"], line["text"]) for line in task_status["result"]["detections"]]
    assert found == [(number, f"{name} {number}") for number in range(1, pages + 1)]


def test_two_workers_share_what_is_handed_in_and_one_that_is_killed_loses_nothing(
    shop: Place, running: Running
) -> None:
    chance = random.Random(9)
    tasks = {name: handed_in(running, name) for name in ("Ash", "Oak")}
    assert {standing(running, task)["status"] for task in tasks.values()} == {"PENDING"}
    assert running.metric("platoon_jobs_waiting") == len(tasks)
    with ExitStack() as stack:
        workers = [stack.enter_context(shop.begin("worker")) for _ in range(2)]
        for worker in list(workers):
            reach_in_all(running, tasks.values(), chance.randint(1, 3))
            time.sleep(chance.uniform(0, 0.1))  # anywhere in a page
            worker.kill()
            workers.append(stack.enter_context(shop.begin("worker")))
        for name, task in tasks.items():
            has_each_page_once(running, task, name)


def test_a_worker_that_is_stopped_gives_its_document_back_at_once(shop: Place, running: Running) -> None:
    task = handed_in(running, "Ash", MANY)
    with shop.begin("worker") as worker:
        reach(running, task, 1)
        assert worker.stop() == 0
    assert standing(running, task)["status"] == "PENDING"
    with shop.begin("worker"):
        has_each_page_once(running, task, "Ash", MANY)


def test_cancelling_reaches_the_worker(shop: Place, running: Running) -> None:
    with shop.begin("worker"):
        task = handed_in(running, "Ash", MANY)
        reach(running, task, 1)
        assert running.http.delete(f"/api/v1/ocr/results/{task}").json()["status"] == "REVOKED"
        other = handed_in(running, "Oak")
        has_each_page_once(running, other, "Oak")
        assert pages_read(running, task) < MANY
        assert standing(running, task)["status"] == "REVOKED"


def test_redis_may_be_started_anew_while_documents_are_read(shop: Place, redis: RedisServer, running: Running) -> None:
    with shop.begin("worker"):
        first, second = handed_in(running, "Ash"), handed_in(running, "Oak")
        reach(running, first, 2)
        redis.kill()
        redis.start()
        has_each_page_once(running, first, "Ash")
        has_each_page_once(running, second, "Oak")
