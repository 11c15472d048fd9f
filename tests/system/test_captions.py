"""Captions from end to end: of recordings by a real OpenAI-compatible server, whose model says nothing of use, and of
cameras that are watched for plates.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from platoon.cli import app
from tests.clips import write_clip
from tests.fake_vlm import Reply, fake_vlm, said
from tests.rtsp_server import Clip, RtspServer
from tests.running import PATIENCE_S, Place
from tests.test_captions_recordings import probed
from tests.traffic import GATE, SIZE, write_traffic
from tests.vlm_server import VlmServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VlmServer]:
    with VlmServer(tmp_path_factory.mktemp("vlm")) as server:
        yield server


def test_transformers_serve_captions_each_segment_of_a_recording(server: VlmServer, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=40, fps=8, keyframe_every=20)
    result = CliRunner().invoke(
        app,
        ["caption", str(clip), "--url", server.url, "--every", "2", "--json"],
        env={"PLATOON_CAPTIONS__MAX_TOKENS": "8", "PLATOON_CAPTIONS__TIMEOUT_S": str(PATIENCE_S)},
    )
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0, result.output
    assert [(one["start"], one["end"], one["error"]) for one in found] == [(0, 2, None), (2, 4, None), (4, 5, None)]
    assert all(one["text"] for one in found)


def test_a_camera_is_captioned_beside_its_plates(tmp_path: Path, cache: Path) -> None:
    def slow(*_: Any) -> Reply:
        fake.closing.wait(2.0)  # twice as long as a segment
        return said("a van passes")

    width, height = SIZE
    clip = Clip.load(write_traffic(tmp_path / "gate.mp4", GATE))
    with RtspServer({"/gate": clip}) as camera, fake_vlm(probed(slow)) as fake:
        place = Place(
            tmp_path,
            cache=cache,
            plates__input_width=width,
            plates__input_height=height,
            captions__url=fake.url,
            captions__every=1,
            captions__skip_still="false",
        )
        place.register(f"gate|The gate|{camera.url('/gate')}|0")
        with place.start("run", place.registry, "--fps", "4") as running:
            running.until(lambda: len(running.get("/api/captions", q="van")["captions"]) >= 3, "it is captioned")
            running.until(lambda: running.texts("gate"), "its plates are read")
            caption = running.get("/api/captions", camera="gate", limit=1)["captions"][0]
            picture = httpx.get(f"{running.address}/api/events/{caption['id']}/crop.jpg", trust_env=False)
            assert picture.headers["content-type"] == "image/jpeg"
            # Read before the states, as segments go on being cut.
            cut = running.metric("platoon_caption_segments_cut_total", camera="gate", cause="full")
            ended = {
                state: running.metric("platoon_caption_segments_total", camera="gate", state=state)
                for state in ("captioned", "superseded")
            }
            assert ended["superseded"] >= 2
            assert cut - 2 <= sum(ended.values()) <= cut + 2
            assert not [event for event in running.get("/api/events")["events"] if event.get("kind") == "caption"]
