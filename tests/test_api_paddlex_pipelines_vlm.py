import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest

from platoon.api.paddlex.gateway import block_reader_for
from platoon.api.paddlex.layout_request import LayoutOptions, LayoutRequest
from platoon.api.paddlex.pipelines.own import OwnPipeline
from platoon.api.paddlex.pipelines.vlm_block_reader import MAX_PIXELS, MIN_PIXELS, content_of, limits, spotted, within
from platoon.engine.batcher import Priority
from platoon.engine.chat_server import ATTEMPTS, Said, Unreadable
from platoon.engine.request_context import RequestContext
from platoon.errors import DeadlineExceeded, FailedBehind, Unavailable
from platoon.ocr.service import OcrService
from platoon.ocr.vision_model import VisionModel
from platoon.settings import GatewaySettings, Settings
from tests.fake_vlm import FakeVlm, Reply, fake_vlm, said
from tests.made_up_documents import MadeUpReader, parsing
from tests.serving import serving
from tests.test_api_paddlex_layout_parsing import NoEngine, ask, faults, refused, result

PICTURE = np.full((60, 80, 3), 200, np.uint8)


@contextmanager
def asking(fake: FakeVlm, **settings: Any) -> Iterator[VisionModel]:
    model = VisionModel(GatewaySettings(vlm_url=fake.url, **settings))
    try:
        yield model
    finally:
        model.close()


def call(seconds: float = 30) -> RequestContext:
    return RequestContext(Priority.BULK, time.monotonic() + seconds)


def echo(prompt: str, request: dict[str, Any]) -> Reply:
    del request
    return said(f"read by {prompt}")


def test_a_question_has_the_picture_the_prompt_and_the_options() -> None:
    with fake_vlm(echo) as fake, asking(fake, vlm_api_key="secret") as model:
        reply = model.ask(PICTURE, "OCR:", {"temperature": 0.5}, call()).result(30)
        assert reply == Said("read by OCR:", whole=True)
        (request,) = fake.asked
        assert (request["model"], request["temperature"]) == ("tiny-reader", 0.5)
        assert fake.sizes() == [(80, 60)]
        assert fake.keys == ["Bearer secret"]


def test_no_more_questions_than_the_limit_are_under_way() -> None:
    arrived, leave = threading.Semaphore(0), threading.Event()

    def slow(prompt: str, request: dict[str, Any]) -> Reply:
        arrived.release()
        assert leave.wait(30)
        return echo(prompt, request)

    with fake_vlm(slow) as fake, asking(fake, vlm_max_requests=3) as model:
        replies = [model.ask(PICTURE, "OCR:", {}, call()) for _ in range(8)]
        assert all(arrived.acquire(timeout=30) for _ in range(3))
        leave.set()
        assert len([reply.result(30) for reply in replies]) == 8
        assert fake.most_at_once == 3


@pytest.mark.parametrize("failure", [(503, {}), (429, {}), (500, b"oops"), (0, None)], ids=str)
def test_a_server_that_fails_for_a_moment_is_asked_again(failure: Reply) -> None:
    failures = [failure, failure]

    def flaky(prompt: str, request: dict[str, Any]) -> Reply:
        return failures.pop() if failures else echo(prompt, request)

    with fake_vlm(flaky) as fake, asking(fake) as model:
        assert model.ask(PICTURE, "OCR:", {}, call()).result(30).text == "read by OCR:"
        assert len(fake.asked) == 3


def test_a_server_that_goes_on_failing_is_given_up() -> None:
    with fake_vlm(lambda *_: (503, {"error": "loading"})) as fake, asking(fake) as model:
        with pytest.raises(Unavailable, match=f"failed {ATTEMPTS} times.*503.*loading"):
            model.ask(PICTURE, "OCR:", {}, call()).result(30)
        assert len(fake.asked) == ATTEMPTS


def test_what_would_come_too_late_is_not_waited_for() -> None:
    with fake_vlm(lambda *_: (503, {})) as fake, asking(fake) as model, pytest.raises(DeadlineExceeded):
        model.ask(PICTURE, "OCR:", {}, call(0.2)).result(30)


def test_an_answer_that_hangs_is_asked_for_again() -> None:
    first = threading.Event()

    def hanging(prompt: str, request: dict[str, Any]) -> Reply:
        if not first.is_set():
            first.set()
            fake.closing.wait(30)
        return echo(prompt, request)

    with fake_vlm(hanging) as fake, asking(fake, vlm_timeout_s=0.3) as model:
        assert model.ask(PICTURE, "OCR:", {}, call()).result(30).text == "read by OCR:"
        assert len(fake.asked) == 2
        fake.closing.set()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((400, {"error": "too small"}), Unreadable),
        ((401, {}), FailedBehind),
        ((404, {}), FailedBehind),
        ((200, b"no json"), FailedBehind),
        ((200, {"choices": []}), FailedBehind),
        ((200, {"choices": [{"message": {"content": None}}]}), FailedBehind),
    ],
    ids=str,
)
def test_what_would_not_get_better_is_not_asked_again(reply: Reply, error: type[Exception]) -> None:
    with fake_vlm(lambda *_: reply) as fake, asking(fake) as model:
        with pytest.raises(error):
            model.ask(PICTURE, "OCR:", {}, call()).result(30)
        assert len(fake.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_model_that_the_server_does_not_have_is_no_fault_of_the_picture(status: int) -> None:
    def pinned(prompt: str, request: dict[str, Any]) -> Reply:
        return status, {"detail": "pinned"}

    with fake_vlm(pinned) as fake, asking(fake, vlm_model="other") as model:
        fake.models = [f"reader-{number}" for number in range(9)]
        said = r"no model other, but reader-0, .*reader-4, \.\.\.; set gateway\.vlm_model"
        with pytest.raises(FailedBehind, match=said):
            model.ask(PICTURE, "OCR:", {}, call()).result(30)
        assert len(fake.asked) == 1


def test_a_server_that_does_not_list_its_models_is_believed() -> None:
    with fake_vlm(lambda *_: (400, {"error": "too small"})) as fake, asking(fake, vlm_model="other") as model:
        fake.models = []
        with pytest.raises(Unreadable, match="too small"):
            model.ask(PICTURE, "OCR:", {}, call()).result(30)


def test_a_server_that_came_back_with_another_model_is_asked_for_that() -> None:
    def strict(prompt: str, request: dict[str, Any]) -> Reply:
        together.wait(30)
        return echo(prompt, request) if request["model"] in fake.models else (404, {"error": "no such model"})

    together = threading.Barrier(1)
    with fake_vlm(strict) as fake, asking(fake) as model:
        assert model.ask(PICTURE, "OCR:", {}, call()).result(30).whole
        fake.models = ["better-reader"]
        together = threading.Barrier(2)
        replies = [model.ask(PICTURE, "OCR:", {}, call()) for _ in range(2)]
        assert all(reply.result(30).whole for reply in replies)
        names = [request["model"] for request in fake.asked]
        assert names == ["tiny-reader"] * 3 + ["better-reader"] * 2


def test_a_caller_who_leaves_takes_his_questions_back() -> None:
    arrived = threading.Semaphore(0)

    def never(prompt: str, request: dict[str, Any]) -> Reply:
        arrived.release()
        fake.closing.wait(30)
        return echo(prompt, request)

    with fake_vlm(never) as fake, asking(fake, vlm_max_requests=1) as model:
        leaving = call()
        replies = [model.ask(PICTURE, "OCR:", {}, leaving) for _ in range(3)]
        assert arrived.acquire(timeout=30)
        leaving.cancel()
        for reply in replies:
            with pytest.raises(CancelledError):
                reply.result(30)
        fake.answer = echo
        assert model.ask(PICTURE, "OCR:", {}, call()).result(30).text == "read by OCR:"
        assert len(fake.asked) == 2
        fake.closing.set()


def test_it_says_why_the_server_is_not_ready() -> None:
    with fake_vlm(echo) as fake:
        with asking(fake) as model:
            assert model.not_ready() == []
            fake.models = []
            assert model.not_ready() == ["VLM server: it has no model at all"]
        with asking(fake, vlm_model="other") as model:
            fake.models = ["tiny-reader"]
            (reason,) = model.not_ready()
            assert "it has no model other, but tiny-reader; set gateway.vlm_model" in reason
    with asking(fake, health_timeout_s=2) as model:
        (reason,) = model.not_ready()
        assert reason.startswith("VLM server: ")


@contextmanager
def gateway(fake: FakeVlm, **settings: Any) -> Iterator[httpx.Client]:
    def pipeline(service: OcrService, whole: Settings) -> OwnPipeline:
        return parsing(MadeUpReader(), service, whole, block_reader_for(whole.gateway))

    with serving(NoEngine(), pipeline=pipeline, gateway=GatewaySettings(vlm_url=fake.url, **settings)) as client:
        yield client


ANSWERS = {
    "OCR:": "what **OCR** said",
    "Table Recognition:": "<fcel>n<fcel>x<nl><fcel>1<fcel>a<b<nl>",
    "Chart Recognition:": "year | cars\n2019 | 7",
    "Formula Recognition:": "$$a^2$$",
    "Spotting:": "Stop<|LOC_0|><|LOC_0|><|LOC_500|><|LOC_0|><|LOC_500|><|LOC_100|><|LOC_0|><|LOC_100|>",
    "Seal Recognition:": "a seal",
}


def answering(prompt: str, request: dict[str, Any]) -> Reply:
    del request
    return said(ANSWERS[prompt])


def contents(found: dict[str, Any]) -> dict[str, str]:
    blocks = found["layoutParsingResults"][0]["prunedResult"]["parsing_res_list"]
    return {block["block_label"]: block["block_content"] for block in blocks}


def test_each_kind_of_block_is_asked_about_in_its_own_words() -> None:
    with fake_vlm(answering) as fake, gateway(fake) as client:
        found = result(client, "PDF1")
        assert sorted(fake.prompts()) == ["OCR:"] * 6 + ["Table Recognition:"]
        said_by = contents(found)
        assert said_by["text"] == "what **OCR** said"
        assert said_by["image"] == "in the picture", "nobody asked for the words of pictures"
        assert said_by["table"] == "<table><tr><td>n</td><td>x</td></tr><tr><td>1</td><td>a&lt;b</td></tr></table>"
        page = found["layoutParsingResults"][0]
        assert page["prunedResult"]["table_res_list"][0]["table_region_id"] == 5
        assert "what **OCR** said" in page["markdown"]["text"], "it writes Markdown"
        assert page["prunedResult"]["overall_ocr_res"]["rec_texts"]


def test_pictures_are_charts_or_are_read_if_asked_for() -> None:
    with fake_vlm(answering) as fake, gateway(fake) as client:
        found = result(client, "PDF1", useChartRecognition=True)
        assert contents(found)["chart"].startswith("<table><tr><td>year</td><td>cars</td></tr>")
        assert "<img" not in found["layoutParsingResults"][0]["markdown"]["text"]
        assert contents(result(client, "PDF1", useOcrForImageBlock=True))["image"] == "what **OCR** said"


def test_a_whole_page_is_what_the_caller_says() -> None:
    with fake_vlm(answering) as fake, gateway(fake) as client:
        assert contents(result(client, "PDF1", useLayoutDetection=False)) == {"ocr": "what **OCR** said"}
        formula = result(client, "PDF1", useLayoutDetection=False, promptLabel="formula")
        assert contents(formula) == {"formula": "$$ a^2 $$"}
        assert contents(result(client, "PDF1", promptLabel="seal")) == {"seal": "a seal"}
        spotting = result(client, "PDF1", promptLabel="spotting")
        assert contents(spotting) == {"spotting": "Stop"}
        assert spotting["layoutParsingResults"][0]["prunedResult"]["spotting_res"] == {
            "rec_texts": ["Stop"],
            "rec_polys": [[[0, 0], [200, 0], [200, 80], [0, 80]]],
        }
        assert fake.prompts() == ["OCR:", "Formula Recognition:", "Seal Recognition:", "Spotting:"]


def test_sampling_and_sizes_are_passed_on() -> None:
    with fake_vlm(answering) as fake, gateway(fake) as client:
        result(
            client,
            "PDF1",
            temperature=0.3,
            topP=0.9,
            repetitionPenalty=1.2,
            maxNewTokens=77,
            minPixels=1000,
            maxPixels=2000,
            vlmExtraArgs={"table_max_pixels": 4000},
        )
        names = ("temperature", "top_p", "repetition_penalty", "max_tokens")
        assert {tuple(request[name] for name in names) for request in fake.asked} == {(0.3, 0.9, 1.2, 77)}
        for prompt, (width, height) in zip(fake.prompts(), fake.sizes(), strict=True):
            assert 900 <= width * height <= (4000 if prompt.startswith("Table") else 2000)


def test_a_block_that_is_refused_keeps_what_was_read_here_and_is_named() -> None:
    def picky(prompt: str, request: dict[str, Any]) -> Reply:
        return (422, {"error": "odd"}) if prompt.startswith("Table") else said("cut", "length")

    with fake_vlm(picky) as fake, gateway(fake) as client:
        found = result(client, "PDF1")
        warnings = found["layoutParsingResults"][0]["prunedResult"]["warnings"]
        assert contents(found)["table"].startswith("<table><tr><td>a</td>")
        assert len([warning for warning in warnings if "stopped before its end" in warning]) == 6
        assert any(warning.startswith("block 5 was not read") for warning in warnings)


def test_a_server_that_is_away_is_503_and_one_that_is_slow_504() -> None:
    with fake_vlm(lambda *_: (503, {})) as fake, gateway(fake) as client:
        assert "failed 4 times" in refused(ask(client, "PDF1"), 503)

    def slow(prompt: str, request: dict[str, Any]) -> Reply:
        fake.closing.wait(30)
        return answering(prompt, request)

    with fake_vlm(slow) as fake:
        with gateway(fake, timeout_s=1) as client:
            assert refused(ask(client, "PDF1"), 504) == "Gateway timeout"
        fake.closing.set()


def test_what_even_the_model_cannot_do_is_refused_by_name() -> None:
    with fake_vlm(answering) as fake, gateway(fake, unavailable="refuse") as client:
        assert set(faults(ask(client, "PDF1", useSealRecognition=True))) == {"body.useSealRecognition"}
        assert client.get("/health/ready").status_code == 200
        fake.models = []
        assert "VLM server: it has no model at all" in client.get("/health/ready").json()["errorMsg"]


def test_pictures_are_scaled_between_the_limits_of_their_kind() -> None:
    asked = LayoutOptions.model_validate
    request = LayoutRequest(file="x", minPixels=400, maxPixels=900, vlmExtraArgs={"table_min_pixels": 500})
    assert limits("ocr", request) == (400, 900)
    assert limits("table", request) == (500, 900)
    assert limits("ocr", LayoutRequest(file="x")) == (MIN_PIXELS, MAX_PIXELS)
    assert limits("ocr", LayoutRequest(file="x", maxPixels=100)) == (100, 100)
    assert within(PICTURE, 1, 100_000) is PICTURE
    assert within(PICTURE, 1, 1200).shape == (30, 40, 3)
    assert within(PICTURE, 19200, 99999).shape == (120, 160, 3)
    with pytest.raises(ValueError, match="vlmExtraArgs"):
        asked({"vlmExtraArgs": {"poem_max_pixels": 1}})


def test_what_a_model_says_becomes_content() -> None:
    assert content_of(" x^2 ", "formula") == content_of("$$x^2$$", "formula") == "$$ x^2 $$"
    assert content_of("", "formula") == ""
    assert content_of("| a | b |\n|---|---|\n| 1 |", "table").count("<td>") == 4
    assert content_of("no table", "table") == "no table"
    assert spotted("nothing", 10, 10) == {"rec_texts": [], "rec_polys": []}
