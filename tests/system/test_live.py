"""Cameras over RTSP, one process for all or one for each: what the faces say while they run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.clips import write_clip
from tests.rtsp_server import Clip, Fault, RtspServer
from tests.running import PATIENCE_S, Place, Running, free_ports
from tests.traffic import GATE, SIZE, YARD, write_traffic


def plain(written: list[str]) -> set[str]:
    return {text.replace(" ", "") for text in written}


class Street:
    """Three cameras, two of them with plates, and the process that watches them."""

    def __init__(self, place: Place, server: RtspServer, *options: str) -> None:
        self.place, self.server = place, server
        self.port, self.spare = free_ports(2)
        self.lines = [
            f"gate|The gate|{server.url('/gate')}|{self.port}",
            f"yard|The yard|{server.url('/yard')}|0",
            f"lane|The lane|{server.url('/lane')}|0",
        ]
        self.restore()
        self.running = place.start("run", place.registry, *options)

    def restore(self) -> None:
        self.place.register(*self.lines)


@pytest.fixture(scope="module", params=["shared", "isolated"])
def street(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    clips = {
        "/gate": Clip.load(write_traffic(folder / "gate.mp4", GATE)),
        "/yard": Clip.load(write_traffic(folder / "yard.mp4", YARD, country="FR")),
        "/lane": Clip.load(write_clip(folder / "lane.mp4", fps=15, frames=32, keyframe_every=16)),
    }
    width, height = SIZE
    place = Place(folder, cache=cache, plates__input_width=width, plates__input_height=height, source__backoff_max_s=1)
    options = ["--fps", "4"] + ["--isolated"] * (request.param == "isolated")
    with RtspServer(clips) as server:
        street = Street(place, server, *options)
        with street.running as running:
            running.until(lambda: {c["state"] for c in running.cameras().values()} == {"live"}, "all are live")
            yield street


@pytest.fixture
def running(street: Street) -> Running:
    return street.running


def test_events_come_over_both_websockets_and_lie_in_the_store(street: Street, running: Running) -> None:
    with running.listen() as all_cameras, running.listen("/ws", port=street.port) as gate:
        running.until(
            lambda: (
                len(finals(all_cameras.events(), "gate")) >= 2
                and len(finals(gate.events(), "gate")) >= 2
                and finals(all_cameras.events(), "yard")
            ),
            "vehicles passed both cameras",
        )
    assert {event["text"] for event in finals(all_cameras.events(), "gate")} <= plain(GATE)
    assert {event["text"] for event in finals(all_cameras.events(), "yard")} <= plain(YARD)
    assert {camera_of(message) for message in gate.messages} == {"gate"}
    for event in finals(all_cameras.events(), "gate"):
        assert running.get(f"/api/events/{event['id']}") == event
        picture = running.http.get(f"/api/events/{event['id']}/crop.jpg").raise_for_status()
        assert picture.headers["content-type"] == "image/jpeg"
        crop = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
        assert crop is not None
        assert crop.shape[1] > 2 * crop.shape[0]


def test_a_vehicle_has_one_final_whose_preview_had_the_same_id(running: Running) -> None:
    with running.listen() as listener:
        running.until(lambda: len(finals(listener.events(), "gate")) >= 3, "three vehicles passed")
    events = listener.events()
    ids = [event["id"] for event in events if event["state"] == "final"]
    assert len(set(ids)) == len(ids)
    previews = {event["id"]: number for number, event in enumerate(events) if event["state"] == "preview"}
    later = {event["id"]: number for number, event in enumerate(events) if event["state"] == "final"}
    assert previews.keys() & later.keys()
    assert all(previews[i] < later[i] for i in previews.keys() & later.keys())


def test_events_are_found_by_camera_state_and_any_part_of_the_plate(running: Running) -> None:
    running.until(lambda: running.texts("gate"), "a vehicle passed the gate")
    text = running.texts("gate")[0]
    for part in (text, text[2:5].lower(), f"{text[:4]} {text[4:]}"):
        found = running.get("/api/events", plate=part, camera="gate", state="final")["events"]
        assert {event["text"] for event in found} == {text}
    assert running.get("/api/events", plate=text, camera="yard") == {"events": []}
    times = [event["time"] for event in running.get("/api/events", limit=3)["events"]]
    assert times == sorted(times, reverse=True)


def test_a_manual_read_answers_on_the_cameras_port_and_on_the_gateway(street: Street, running: Running) -> None:
    own_port = f"http://127.0.0.1:{street.port}/manual-ocr"
    asks = [
        lambda: httpx.post(own_port, timeout=PATIENCE_S),
        lambda: running.http.post("/manual-ocr", json={"camera": "gate"}),
        lambda: running.http.post("/api/cameras/gate/manual-ocr"),
    ]
    for ask in asks:

        def read(ask: Any = ask) -> list[str]:
            answer = ask().raise_for_status().json()
            assert (answer["camera"], answer["width"], answer["height"]) == ("gate", *SIZE)
            return [plate["text"] for plate in answer["plates"] if plate["text"] in plain(GATE)]

        running.until(read, "a vehicle is read by hand")
    assert running.http.post("/manual-ocr", json={"camera": "nobody"}).status_code == 404


def test_a_camera_that_is_not_live_shows_nothing_old_and_says_why(street: Street, running: Running) -> None:
    asks: list[Callable[[], httpx.Response]] = [
        lambda: running.http.get("/api/cameras/lane/preview.jpg"),
        lambda: running.http.post("/api/cameras/lane/manual-ocr"),
    ]
    running.until(lambda: all(ask().status_code == 200 for ask in asks), "it is seen")
    street.server.fault("/lane", Fault.REFUSE)
    running.until(lambda: running.cameras()["lane"]["cause"] == "rejected", "it is lost")
    for ask in asks:
        answer = ask()
        assert answer.status_code == 503
        assert "'lane' shows nothing now: reconnecting (rejected)" in answer.json()["error"]["message"]
    street.server.heal("/lane")
    running.until(lambda: all(ask().status_code == 200 for ask in asks), "it is seen again")
    running.until(lambda: running.cameras()["lane"]["state"] == "live", "it is live")


def test_whole_frames_are_converted_for_manual_reads_alone(running: Running) -> None:
    def converted() -> float:
        return running.metric("platoon_conversions_total", purpose="picture")

    def analysed() -> float:
        return running.metric("platoon_frames_analysed_total")

    before, seen = converted(), analysed()
    running.until(lambda: analysed() >= seen + 20, "twenty frames were analysed")
    assert converted() == before
    running.http.post("/manual-ocr", json={"camera": "gate"}).raise_for_status()
    running.until(lambda: converted() == before + 1, "the manual read is counted, and nothing else")


def test_the_metrics_count_what_every_camera_does(running: Running) -> None:
    for camera in ("gate", "yard", "lane"):
        assert running.metric("platoon_camera_state", camera=camera, state="live") == 1
        assert running.metric("platoon_frames_decoded_total", camera=camera) > 0
        assert running.metric("platoon_frames_analysed_total", camera=camera) > 0
        assert running.metric("platoon_frames_dropped_total", camera=camera, cause="sampled") > 0
    stored = len(running.get("/api/events", camera="gate", state="final", limit=1000)["events"])
    running.until(
        lambda: running.metric("platoon_events_total", camera="gate", state="final") >= stored, "events are counted"
    )
    assert running.metric("platoon_model_executions_total") > 0


def test_the_preview_of_a_camera_is_its_picture(running: Running) -> None:
    def shown() -> httpx.Response | None:
        answer = running.http.get("/api/cameras/gate/preview.jpg", params={"width": 320})
        return answer if answer.status_code == 200 else None

    answer = running.until(shown, "the gate has a picture")
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (180, 320, 3)


def test_an_edit_adds_changes_and_removes_cameras_and_the_others_never_notice(street: Street, running: Running) -> None:
    before = running.cameras()["yard"]
    _, yard, lane = street.lines
    gate_elsewhere = f"gate|The gate|{street.server.url('/lane')}|{street.spare}"
    with running.listen() as listener:
        street.place.register(gate_elsewhere, yard, lane.replace("lane|", "side|", 1))
        running.until(lambda: list(running.cameras()) == ["gate", "yard", "side"], "the edit is seen")
        running.until(
            lambda: all(camera["state"] == "live" for camera in running.cameras().values()), "the new ones are live"
        )
        running.until(
            lambda: any(m["type"] == "removed" and m["camera"] == "lane" for m in listener.messages),
            "notified of the end",
        )
    after = running.cameras()
    assert after["gate"]["width"] == 160
    running.until(lambda: answers(street.spare) and not answers(street.port), "the gate has moved to another port")
    assert after["yard"]["decoded"] > before["decoded"]
    assert (after["yard"]["since"], after["yard"]["reconnects"]) == (before["since"], 0)
    street.restore()
    running.until(lambda: list(running.cameras()) == ["gate", "yard", "lane"], "all is as before")
    running.until(
        lambda: all(camera["state"] == "live" for camera in running.cameras().values()), "they are live again"
    )
    assert running.cameras()["yard"]["since"] == before["since"]


def test_a_bad_edit_is_reported_with_its_lines_and_changes_nothing(street: Street, running: Running) -> None:
    before = running.cameras()
    street.place.register(*street.lines, "no camera at all", "gate|Twice|rtsp://10.0.0.1/1|0")
    running.until(lambda: "line 5: id 'gate' is already used in line 1" in running.log, "the second line is reported")
    assert "line 4: has 1 field" in running.log
    street.restore()
    after = running.cameras()
    assert list(after) == list(before)
    assert [camera["since"] for camera in after.values()] == [camera["since"] for camera in before.values()]


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S).status_code == 404
    except httpx.ConnectError:
        return False


def finals(events: list[dict[str, Any]], camera: str) -> list[dict[str, Any]]:
    return [event for event in events if event["state"] == "final" and event["camera"] == camera]


def camera_of(message: dict[str, Any]) -> str:
    """Whom a message is about."""
    if message["type"] == "event":
        return str(message["event"]["camera"])
    about = message["camera"]
    return str(about["id"] if isinstance(about, dict) else about)
