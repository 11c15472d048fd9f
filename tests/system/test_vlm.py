"""The gateway in front of a real OpenAI-compatible server, whose model says nothing of use, but ever the same."""

import base64
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from platoon.api.paddlex.gateway import block_reader_for
from platoon.api.paddlex.pipelines.own import OwnPipeline
from platoon.ocr.service import OcrService
from platoon.ocr.vision_model import VisionModel
from platoon.settings import GatewaySettings, Settings
from tests.drawn import encoded
from tests.made_up_documents import MadeUpReader, parsing
from tests.running import PATIENCE_S, wait_until
from tests.serving import serving
from tests.test_api_paddlex_layout_parsing import NoEngine, ask, refused, result
from tests.test_api_paddlex_pipelines_vlm import PICTURE, call, contents
from tests.vlm_server import MODEL, VlmServer

FEW, MANY = 8, 4000
"""Tokens: of an answer within moments, and of one that others wait for, as the server generates one at a time."""
PAPER = 240
"""The shade of made-up pages."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VlmServer]:
    with VlmServer(tmp_path_factory.mktemp("vlm")) as server:
        yield server


@contextmanager
def gateway(server: VlmServer, **settings: Any) -> Iterator[httpx.Client]:
    def pipeline(service: OcrService, whole: Settings) -> OwnPipeline:
        return parsing(MadeUpReader(), service, whole, block_reader_for(whole.gateway))

    how = GatewaySettings(vlm_url=server.url, health_timeout_s=PATIENCE_S, **settings)
    with serving(NoEngine(), pipeline=pipeline, gateway=how) as client:
        client.timeout = httpx.Timeout(PATIENCE_S)
        yield client


def asked_directly(server: VlmServer, shade: int) -> str:
    """What the model says of a picture of one colour, as it is asked without us."""
    url = f"data:image/png;base64,{base64.b64encode(encoded(np.full((80, 60, 3), shade, np.uint8))).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "OCR:"}]
    body = {"model": MODEL, "temperature": 0, "max_tokens": FEW, "messages": [{"role": "user", "content": content}]}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE_S, trust_env=False)
    said: str = reply.raise_for_status().json()["choices"][0]["message"]["content"]
    return said.strip()


def test_blocks_reach_the_model_as_pictures_and_no_more_than_the_limit_at_once(server: VlmServer) -> None:
    before = len(server.under_way())
    with gateway(server, vlm_max_requests=3) as client:
        assert client.get("/health/ready").status_code == 200
        found = result(client, "PDF2", maxNewTokens=FEW)
    assert max(server.under_way()[before:]) == 3
    pages = found["layoutParsingResults"]
    assert [len(page["prunedResult"]["warnings"]) for page in pages] == [7, 7], "each was stopped at so few tokens"
    assert contents(found)["text"] == asked_directly(server, PAPER) != asked_directly(server, 0)


def test_a_name_that_the_server_does_not_know_is_named(server: VlmServer, caplog: pytest.LogCaptureFixture) -> None:
    with gateway(server, vlm_model="nobody/none") as client:
        said = f"it has no model nobody/none, but {MODEL}; set gateway.vlm_model to one of these"
        assert said in client.get("/health/ready").json()["errorMsg"]
        assert refused(ask(client, "PDF1"), 500) == "Internal server error"
        assert said in caplog.text


def test_who_leaves_frees_his_slot_and_who_stays_is_answered_by_a_server_that_died(
    server: VlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.engine.chat_server.ATTEMPTS", 10_000)  # it takes seconds to start
    monkeypatch.setattr("platoon.engine.chat_server._LONGEST_WAIT_S", 0.5)
    before = len(server.under_way()) - 1
    model = VisionModel(GatewaySettings(vlm_url=server.url, vlm_max_requests=1))
    try:
        leaving = call(PATIENCE_S)
        left = model.ask(PICTURE, "OCR:", {"max_tokens": MANY}, leaving)
        wait_until(lambda: server.under_way()[before:] == [0, 1], "it came")
        stayed = model.ask(PICTURE, "OCR:", {"max_tokens": FEW}, call(PATIENCE_S))
        leaving.cancel()
        with pytest.raises(CancelledError):
            left.result(PATIENCE_S)
        wait_until(lambda: server.under_way()[before:] == [0, 1, 2], "his place is free")
        server.kill()
        server.start()
        assert stayed.result(PATIENCE_S).text
        assert server.under_way() == [0, 1, 0], "nobody asks for him who left"
    finally:
        model.close()
