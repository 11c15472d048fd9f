import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from platoon.ocr.engine import TextEngine
from tests.drawn import INVOICE, encoded, page
from tests.hostile import Body, bodies
from tests.serving import serving

EXPECTED = {200, 413, 415, 422, 504}


def answer_of(client: httpx.Client, picture: bytes) -> Any:
    reply = client.post("/ocr", files={"image": picture})
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    return answer["mergedText"], answer["lines"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of odd tags, which do no harm
def test_hostile_bodies_hurt_neither_the_service_nor_other_callers(text_engine: TextEngine) -> None:
    honest = encoded(page(*INVOICE))
    done = threading.Event()

    def send(body: Body) -> int:
        reply = client.post(body.path, content=body.content, headers={b"Content-Type": body.kind.encode("latin-1")})
        answer = reply.json()
        refused = isinstance(answer, dict) and (answer.get("error") or answer.get("errorMsg") != "Success")
        assert reply.status_code in EXPECTED, (body.kind, body.content[:500], reply.text)
        assert refused or reply.status_code == 200, reply.text
        return reply.status_code

    def ask_again_and_again() -> list[Any]:
        answers = []
        while not done.is_set():
            answers.append(answer_of(client, honest))
            done.wait(0.2)
        return answers

    with (
        serving(text_engine, max_pixels=1_000_000, max_body_bytes=4_000_000, max_pages=4, deadline_s=30) as client,
        ThreadPoolExecutor(5) as pool,
    ):
        expected = answer_of(client, honest)
        others = pool.submit(ask_again_and_again)
        try:
            statuses = Counter(pool.map(send, bodies(270)))
        finally:
            done.set()
        assert all(answer == expected for answer in others.result(60))
        assert statuses[200] and statuses[413] and statuses[415] and statuses[422], statuses
        assert answer_of(client, honest) == expected
        assert client.get("/health/ready").status_code == 200
