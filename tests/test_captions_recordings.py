"""`platoon caption` against a server that a test commands."""

import base64
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from platoon import sample
from platoon.captions.showing import chosen
from platoon.cli import app
from platoon.errors import PlatoonError
from platoon.settings import CaptionSettings
from tests.clips import bar_position, write_clip
from tests.fake_vlm import FakeVlm, Reply, fake_vlm, said

PROBE = "What is this?"


def seen(request: dict[str, Any]) -> list[int]:
    """Which pictures of 16 the server was shown, in whatever form."""
    pictures: list[int] = []
    for part in request["messages"][0]["content"]:
        if part["type"] == "text":
            continue
        head, _, data = part[part["type"]]["url"].partition(";base64,")
        if head == "data:video/mp4":
            pictures += map(bar_position, sample(base64.b64decode(data), fps=1).pictures)
        else:
            files = [io.BytesIO(base64.b64decode(one)) for one in data.split(",")]
            pictures += [bar_position(np.asarray(Image.open(file))) for file in files]
    return pictures


def forms(request: dict[str, Any]) -> list[str]:
    """What each part of the request is."""
    parts = (part for part in request["messages"][0]["content"] if part["type"] != "text")
    return [part[part["type"]]["url"].partition(";")[0].removeprefix("data:") for part in parts]


def telling(prompt: str, request: dict[str, Any]) -> Reply:
    """Says what it was shown."""
    del prompt
    return said(" ".join(map(str, seen(request))))


def questions(fake: FakeVlm) -> list[dict[str, Any]]:
    """What was asked but for the probe."""
    return [request for request, prompt in zip(fake.asked, fake.prompts(), strict=True) if prompt != PROBE]


def probed(answer: Any, takes: str = "video/jpeg") -> Any:
    """A server that takes one form, and answers with `answer`."""

    def reply(prompt: str, request: dict[str, Any]) -> Reply:
        if any(form != takes for form in forms(request)):
            return 400, {"error": "of no kind that is taken here"}
        return said("") if prompt == PROBE else answer(prompt, request)

    return reply


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Pictures at eight a second: that of second n is 8 n mod 16; keyframes every 2.5 s."""
    return write_clip(tmp_path / "clip.mp4", frames=44, fps=8, keyframe_every=20)


def caption(fake: FakeVlm, *arguments: object, **environment: str) -> tuple[int, list[str], str]:
    """Exit code, lines and what was said beside them."""
    result = CliRunner().invoke(
        app, ["caption", "--url", fake.url, *map(str, arguments)], env={"COLUMNS": "300", **environment}
    )
    if isinstance(result.exception, PlatoonError):
        return 1, result.stdout.splitlines(), str(result.exception)
    return result.exit_code, result.stdout.splitlines(), result.stderr


@pytest.mark.parametrize("takes", ["video/jpeg", "video/mp4", "image/jpeg"])
def test_segments_are_captioned_in_the_form_that_the_server_takes(clip: Path, takes: str) -> None:
    with fake_vlm(probed(telling, takes)) as fake:
        code, lines, _ = caption(fake, clip, "--every", 2, "--prompt", "What goes on?")
        assert lines == [
            '[Segment 0] PTS 0–2 s "0 8"',
            '[Segment 1] PTS 2–4 s "0 8"',
            '[Segment 2] PTS 4–5.5 s "0 8"',
        ]
        assert code == 0
        asked = questions(fake)
        assert {prompt for prompt in fake.prompts() if prompt != PROBE} == {"What goes on?"}
        assert {form for request in asked for form in forms(request)} == {takes}


def test_a_server_that_ignores_video_in_silence_is_found_out(clip: Path) -> None:
    def counting(prompt: str, request: dict[str, Any]) -> Reply:
        status, body = telling(prompt, request)
        pictures = sum(form == "image/jpeg" for form in forms(request))
        return status, {**body, "usage": {"prompt_tokens": 5 + 100 * pictures, "completion_tokens": 2}}

    with fake_vlm(counting) as fake:
        code, lines, _ = caption(fake, clip, "--every", 4, "--once")
        assert (code, lines) == (0, ['[Segment 0] PTS 0–4 s "0 8 0 8"'])
        assert forms(questions(fake)[0]) == ["image/jpeg"] * 4


def test_a_server_that_takes_no_video_is_named_with_its_refusals(clip: Path) -> None:
    with fake_vlm(probed(telling, "nothing")) as fake:
        code, lines, message = caption(fake, clip)
        assert (code, lines) == (1, [])
        assert "takes video in no form" in message
        assert "of no kind that is taken here" in message


def test_a_segment_that_fails_costs_no_other(clip: Path) -> None:
    def refusing(prompt: str, request: dict[str, Any]) -> Reply:
        return (400, {"error": "too dark"}) if seen(request) == [8] else telling(prompt, request)

    with fake_vlm(probed(refusing)) as fake:
        code, lines, stderr = caption(fake, clip, "--every", 1, "--json")
        found = [json.loads(line) for line in lines]
        assert [one["text"] for one in found] == ["0", "", "0", "", "0", ""]
        assert [one["error"] is None for one in found] == [True, False] * 3
        assert code == 1
        assert [f"segment {number}" in stderr for number in range(6)] == [False, True] * 3
        assert "too dark" in stderr


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(clip: Path) -> None:
    replies = iter([(429, {"error": "busy"}), (429, {"error": "busy"})])
    with fake_vlm(probed(lambda *what: next(replies, None) or telling(*what))) as fake:
        fake.retry_after = "0.2"
        code, lines, _ = caption(fake, clip, "--every", 3, PLATOON_CAPTIONS__MAX_REQUESTS="1")
        assert (code, len(lines)) == (0, 2)
        assert len(questions(fake)) == 4


@pytest.mark.parametrize("trouble", [(500, {"error": "out of memory"}), (0, None)], ids=["500", "cut"])
def test_a_server_that_stumbles_is_asked_again(clip: Path, trouble: Reply) -> None:
    replies = iter([trouble])
    with fake_vlm(probed(lambda *what: next(replies, None) or telling(*what))) as fake:
        code, lines, _ = caption(fake, clip, "--every", 6)
        assert (code, lines) == (0, ['[Segment 0] PTS 0–5.5 s "0 8 0 8 0 8"'])


def test_silence_ends_at_the_deadline_and_the_others_are_captioned(clip: Path) -> None:
    silent = threading.Event()

    def hanging(prompt: str, request: dict[str, Any]) -> Reply:
        if not silent.is_set():
            silent.set()
            fake.closing.wait()
        return telling(prompt, request)

    with fake_vlm(probed(hanging)) as fake:
        code, lines, stderr = caption(
            fake, clip, "--every", 2, PLATOON_CAPTIONS__TIMEOUT_S="0.7", PLATOON_CAPTIONS__MAX_REQUESTS="1"
        )
        assert code == 1
        assert lines[0].startswith("[Segment 0] PTS 0–2 s failed: ")
        assert lines[1:] == ['[Segment 1] PTS 2–4 s "0 8"', '[Segment 2] PTS 4–5.5 s "0 8"']
        assert "did not answer in time" in stderr


def test_subtitles(clip: Path) -> None:
    with fake_vlm(probed(lambda *_: said("a <bar>\nmoves\x1b[2J"))) as fake:
        _, srt, _ = caption(fake, clip, "--every", 4, "--srt")
        assert srt == [
            "1",
            "00:00:00,000 --> 00:00:04,000",
            r"a <bar> moves\x1b[2J",
            "",
            "2",
            "00:00:04,000 --> 00:00:05,500",
            r"a <bar> moves\x1b[2J",
            "",
        ]
        _, vtt, _ = caption(fake, clip, "--every", 6, "--vtt")
        assert vtt == ["WEBVTT", "", "00:00:00.000 --> 00:00:05.500", r"a &lt;bar&gt; moves\x1b[2J", ""]


def test_a_video_that_cannot_be_read_costs_no_other(clip: Path, tmp_path: Path) -> None:
    with fake_vlm(probed(telling)) as fake:
        code, lines, stderr = caption(fake, tmp_path / "nowhere.mp4", clip, "--every", 6)
        assert code == 1
        assert lines[-1] == '[Segment 0] PTS 0–5.5 s "0 8 0 8 0 8"'
        assert "nowhere.mp4" in stderr


def test_without_a_server_it_says_what_to_set(clip: Path) -> None:
    result = CliRunner().invoke(app, ["caption", str(clip)])
    assert isinstance(result.exception, PlatoonError)
    assert "captions.url" in str(result.exception)


@pytest.mark.parametrize(
    ("how", "numbers"),
    [
        ({}, [16, 24, 32, 40]),
        ({"fps": 0.5}, [16, 32]),
        ({"frames": 3}, [16, 32, 47]),
        ({"fps": 60.0}, [*range(16, 48)]),
    ],
)
def test_pictures_of_a_segment_are_chosen_by_rate_or_number(how: dict[str, Any], numbers: list[int]) -> None:
    assert chosen(np.arange(80) / 8, 2.0, 6.0, CaptionSettings(**how)).tolist() == numbers


def test_no_segment_has_more_pictures_than_servers_take() -> None:
    numbers = chosen(np.arange(6000) / 25, 0.0, 240.0, CaptionSettings(every=240))
    assert len(numbers) == 32
    assert (numbers[0], numbers[-1]) == (0, 5975)
