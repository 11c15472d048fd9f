"""`platoon run` with `source.decoder = gstreamer`: all cameras in one pipeline, and the events that they give."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.clips import write_clip
from tests.gstreamer import site
from tests.rtsp_server import Clip, RtspServer
from tests.running import Place
from tests.traffic import GATE, write_traffic


@pytest.fixture(autouse=True)
def _bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site()), os.environ.get("PYTHONPATH")))))


def what_was_read(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    fields = ("camera", "text", "state", "confidence", "reads", "agreement", "box", "candidates")
    return sorted(tuple(event[field] for field in fields) for event in events)


def test_real_clips_give_the_same_events_as_by_the_other_decoder(place: Place, video: Path) -> None:
    place.register(
        f"highway|Highway|{video}/highway.mp4|0",
        f"roadside|Roadside|{video}/roadside.mp4|0",
        f"gone|Gone|{video}/gone.mp4|0",
    )
    by_decoder = {}
    for decoder in ("cpu", "gstreamer"):
        place.settings["source__decoder"] = decoder
        place.store, place.event_file = place.folder / decoder, place.folder / f"{decoder}.jsonl"
        done = place.run("run", place.registry, "--once", "--events", place.event_file)
        assert "gone.mp4: no such file" in done.err + done.out, done
        by_decoder[decoder] = what_was_read(place.emitted())
    assert [(camera, text) for camera, text, *_ in by_decoder["gstreamer"]] == [
        ("highway", "JLN390"),
        ("highway", "JMH552"),
        ("roadside", "LS15EBC"),
    ]
    assert by_decoder["gstreamer"] == by_decoder["cpu"]


def test_cameras_come_go_and_change_while_the_pipeline_runs(quick: Place, tmp_path: Path) -> None:
    quick.settings["source__decoder"] = "gstreamer"
    quick.settings["source__backoff_max_s"] = 1
    clips = {
        "/gate": Clip.load(write_traffic(tmp_path / "gate.mp4", GATE[:2])),
        "/lane": Clip.load(write_clip(tmp_path / "lane.mp4", fps=15, frames=32, keyframe_every=16)),
    }
    with RtspServer(clips) as server:
        gate, lane = (f"{name}|{name}|{server.url(f'/{name}')}|0" for name in ("gate", "lane"))
        quick.register(gate, "dark|dark|rtsp://user:S3cret@127.0.0.1:1/cam|0")
        with quick.start("run", quick.registry, "--fps", "4") as running:
            running.until(lambda: running.cameras()["gate"]["state"] == "live", "the gate is live")
            running.until(lambda: running.cameras()["dark"]["cause"] == "refused", "the dark one is refused")
            quick.register(gate, lane)
            running.until(lambda: running.cameras().get("lane", {}).get("state") == "live", "the lane is live")
            assert "dark" not in running.cameras()
            quick.register(lane.replace("/lane", "/gate"))
            running.until(lambda: running.texts("lane"), "a vehicle passed the changed camera")
            assert set(running.texts("lane")) <= {text.replace(" ", "") for text in GATE[:2]}
            assert running.cameras().keys() == {"lane"}
            server.shut()
            running.until(lambda: running.cameras()["lane"]["state"] == "reconnecting", "it is lost")
            server.listen()
            running.until(lambda: running.cameras()["lane"]["state"] == "live", "it is back")
            assert running.cameras()["lane"]["reconnects"] == 1
        assert "S3cret" not in running.log
