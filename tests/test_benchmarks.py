import asyncio
import io
import json
import os
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from benchmarks import chart, report, service
from benchmarks.clients import Client, keep_asking, percentiles_ms, request
from benchmarks.deployments import Done, Platoon, Plays, Usual
from benchmarks.pictures import pages
from benchmarks.processes import Memory, ProcessTree
from benchmarks.reels import join
from benchmarks.soak import slope
from benchmarks.streams import Reading, figures, measure
from benchmarks.waiting import WINDOW_S, Windowed, open_loop
from rich.console import Console

from platoon.engine.runtime import cores
from platoon.media.input import Input
from platoon.ocr.engine import TextEngine
from platoon.plates.remote import png
from platoon.settings import SourceSettings
from tests.clips import write_clip
from tests.drawn import page
from tests.serving import serving

BUSY_CHILD = """
import subprocess, sys, time
code = "import time\\nwhile time.process_time() < 0.5: pass"
subprocess.run([sys.executable, "-c", code])
child = subprocess.Popen([sys.executable, "-c", "x = bytearray(50_000_000); print(flush=True); input()"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
time.sleep(600)
"""


def tree(code: str, tmp_path: Path) -> ProcessTree:
    return ProcessTree([sys.executable, "-c", code], environment={}, folder=tmp_path, log=tmp_path / "log")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_tree_counts_its_children_also_those_that_have_ended_and_ends_with_all(tmp_path: Path) -> None:
    with tree(BUSY_CHILD, tmp_path) as running:
        wait_for(lambda: "ready" in (tmp_path / "log").read_text())
        pids = running.pids()
        assert len(pids) == 2
        assert running.cpu_s() >= 0.5
        memory = running.memory()
        assert memory.rss_bytes > 50_000_000
        assert memory.pss_bytes is None or 50_000_000 < memory.pss_bytes <= memory.rss_bytes
    assert not any(runs(pid) for pid in pids)


def test_a_command_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with (
        tree("raise SystemExit('no such thing')", tmp_path) as running,
        pytest.raises(RuntimeError, match="no such thing"),
    ):
        wait_for(lambda: running.cpu_s() < 0)


def test_a_reel_is_its_clips_one_after_the_other(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "small.mp4", width=160, height=96, frames=30, fps=30)
    large = write_clip(tmp_path / "large.mp4", width=320, height=192, frames=15, fps=15, b_frames=2)
    join([small, large, small], tmp_path / "reel.ts")
    shown = [(picture.width, stamp) for picture, stamp in Input(str(tmp_path / "reel.ts"), SourceSettings()).pictures()]
    assert [width for width, _ in shown] == [160] * 30 + [320] * 15 + [160] * 30
    stamps = np.array([stamp for _, stamp in shown])
    assert np.all(np.diff(stamps) > 0)
    assert stamps[-1] - stamps[0] == pytest.approx(3, abs=0.2)


def began(folder: Path, *plays: tuple[str, float]) -> Plays:
    """What the server of the cameras writes: which began when."""
    file = folder / "plays.jsonl"
    file.write_text("".join(json.dumps({"path": f"/{camera}", "began": began}) + "\n" for camera, began in plays))
    return Plays(file)


def test_only_the_first_word_on_a_vehicle_is_timed_and_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    plays = began(tmp_path, ("a", 2e9))
    site = Platoon({"a": "clip.mp4"}, tmp_path / "site", plays=plays, isolated=False)
    events = tmp_path / "site" / "events.jsonl"
    lines = [
        json.dumps({"id": plate, "camera": "a", "media_time": second}) + "\n"
        for plate, second in (("x", 1), ("x", 2), ("y", 3))
    ]
    events.write_text("".join(lines)[:-5])
    site.listen()
    assert len(site.latencies_s(0)) == 1
    events.write_text("".join(lines))
    site.listen()
    assert len(site.latencies_s(0)) == 2
    assert not site.latencies_s(2e9)


def test_events_are_timed_from_when_their_frame_was_sent_however_late_it_was_decoded(tmp_path: Path) -> None:
    now = time.time()
    plays = began(tmp_path, ("a", now - 1000), ("a", now + 60), ("b", now + 60), ("b", now + 70))
    site = Platoon(dict.fromkeys("ab", "clip.mp4"), tmp_path / "site", plays=plays, isolated=False)
    said = [{"id": camera, "camera": camera, "media_time": 5.0, "time": "2126-01-01T00:00:00Z"} for camera in "ab"]
    (tmp_path / "site" / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in said))
    site.listen()
    (latency,) = site.latencies_s(0)  # the server played `b` twice: from when its media time counts is not known
    assert latency == pytest.approx(time.time() - (now + 65), abs=30)


@pytest.mark.parametrize(
    ("detecting", "reading"), [("plate-detection", "plate-reading"), ("text-detection", "plate-recognition")]
)
def test_a_site_says_what_it_did_with_either_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detecting: str, reading: str
) -> None:
    said = f"""\
platoon_frames_analysed_total{{camera="a"}} 5
platoon_frames_decoded_total{{camera="a"}} 9
platoon_conversions_total{{purpose="picture"}} 1
platoon_conversions_total{{purpose="detector"}} 5
platoon_converted_bytes_total{{purpose="detector"}} 800
platoon_model_executions_total{{model="{detecting}"}} 3
platoon_model_executions_total{{model="{reading}"}} 4
platoon_model_items_total{{model="{reading}"}} 7
"""
    site = Platoon({"a": "clip.mp4"}, tmp_path / "site", plays=None, isolated=False)
    monkeypatch.setattr(site, "_get", lambda _path: said)
    expected = {"whole_frames": 1, "converted_bytes": 800, "executions": 3, "lines_read": 7}
    assert site.done() == Done(analysed={"a": 5}, decoded=9, **expected)


def test_the_usual_way_counts_frames_once_every_camera_has_one(tmp_path: Path) -> None:
    now = time.time()
    plays = began(tmp_path, ("a", now + 60), ("b", now + 60))
    usual = Usual({"a": "clip.mp4", "b": "clip.mp4"}, tmp_path / "usual", plays=plays)
    results = tmp_path / "usual" / "results"
    results.mkdir()
    for camera in ("a", "b"):
        assert usual.done() is None
        line = json.dumps({"media_s": 5.0, "texts": ["X1"], "said_at": [now + 65.5, now + 65.7]})
        (results / f"{camera}.jsonl").write_text(f"{line}\n{line[:9]}")
        np.array([7, 700]).tofile(results / f"{camera}.counts")
    assert usual.done() == Done(analysed={"a": 1, "b": 1}, decoded=14, whole_frames=14, converted_bytes=1400)
    assert usual.latencies_s(now) == pytest.approx([0.5, 0.7, 0.5, 0.7])
    assert usual.latencies_s(now + 65.6) == pytest.approx([0.7, 0.7])


def measured(way: str, **changed: Any) -> dict[str, Any]:
    nothing = {"whole_frames": 0, "converted_bytes": 0}
    start = Reading(100.0, 5.0, frozenset({1}), Done(analysed={"a": 1, "b": 1}, decoded=10, **nothing), 2.0)
    done = Done(analysed={"a": 61, "b": 41}, decoded=310, whole_frames=0, converted_bytes=10**8, lines_read=50)
    end = Reading(120.0, 25.0, frozenset({1}), done, 4.0)
    found = figures(start, end, Memory(10**9, 2 * 10**9), [0.1, 0.3])
    return {"input": "rtsp", "cameras": 4, "way": way, **found, **changed}


def test_figures_are_of_the_time_between_two_readings() -> None:
    found = measured("shared")
    assert (found["analysed"], found["decoded"], found["seconds"], found["cpu_s"]) == (100, 300, 20.0, 20.0)
    assert (found["frames_per_cpu_s"], found["frames_per_s"]) == (5.0, 5.0)
    assert (found["least_frames_per_s"], found["most_frames_per_s"]) == (2.0, 3.0)
    assert (found["event_p50_s"], found["converted_bytes_per_frame"]) == (pytest.approx(0.2), 1e6)


def test_what_the_server_of_the_cameras_takes_is_nothing_that_could_have_been_used() -> None:
    assert measured("shared")["busy"] == pytest.approx(20 / (20 * cores() - 2))


LIMIT = {"decode_s": 0.05, "detect_s": 0.09, "read_s": 0.08, "detect_batch": 1}
LIMIT |= {"decode_every_s": 0.03, "detect_every_s": 0.05, "read_every_s": 0.24}


def test_an_aim_is_met_at_its_bound_and_not_beyond() -> None:
    shared = {"busy": 0.9, "evenness": 0.79, "event_p95_s": 1.0}
    ways = [
        measured("shared", **shared),
        measured("isolated", pss_bytes=4 * 10**9, frames_per_s=2.4),
        measured("usual", pss_bytes=7 * 10**9, frames_per_cpu_s=5 / 3, converted_bytes_per_frame=3e7),
    ]
    assert [(round(aim["reached"], 3), aim["met"]) for aim in report.aims(ways, LIMIT)] == [
        (2.083, True),  # frames a second
        (0.25, True),
        (1.111, True),  # CPU time: 0.05 + 0.09 + 0.08 / 2 alone
        (0.9, True),
        (0.79, False),
        (1.0, True),
        (3.0, True),
        (0.143, False),
        (0.033, True),
        (0.0, True),
    ]
    missed = [
        aim["aim"] for aim in report.aims([{**way, "frames_per_s": 5.0} for way in ways], LIMIT) if not aim["met"]
    ]
    assert missed[0] == "frames/s, shared / isolated"


def test_from_files_what_models_and_decoder_do_alone_is_the_measure() -> None:
    aims = report.aims([measured("shared", input="files"), measured("isolated", input="files")], LIMIT)
    reached = {aim["aim"]: (aim["reached"], aim["met"]) for aim in aims if aim["aim"].startswith("frames/s")}
    assert reached["frames/s, shared / isolated"] == (1.0, True)
    assert reached["frames/s, shared / alone on all cores"] == (pytest.approx(1.0), True)


class Idle(Platoon):
    """A deployment that never says that it has done anything."""

    words = "import time; time.sleep(600)"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.words]

    def done(self) -> Done | None:
        return None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("import time; time.sleep(600)", "not every camera had a frame analysed within 0.5 s"),
        ("exit('no way')", "no way"),
    ],
)
def test_a_way_that_does_not_get_there_is_kept_as_that(tmp_path: Path, words: str, why: str) -> None:
    idle = Idle({"a": "clip.mp4"}, tmp_path / "idle", plays=None, isolated=False)
    idle.words = words
    found = measure(idle, dict(os.environ), tmp_path / "log", 0.1, start_s=0.5 if "sleep" in words else 30)
    assert list(found) == ["failed"]
    assert why in found["failed"]


@pytest.mark.parametrize("failed", ["shared", "isolated", "usual"])
def test_what_a_way_failed_at_is_reported_and_the_others_are_shown(failed: str) -> None:
    ways = [measured(way) for way in ("shared", "isolated", "usual") if way != failed]
    ways.append({"input": "rtsp", "cameras": 4, "way": failed, "failed": "it was too slow"})
    ways += [measured(way, cameras=1) for way in ("shared", "isolated", "usual")]
    found = report.aims(ways, LIMIT)
    assert not any(f"/ {failed}" in aim["aim"] for aim in found if aim["cameras"] == 4)
    assert len([aim for aim in found if aim["cameras"] == 1]) == 10
    facts = {"cpu": "a", "cores": 2, "memory_gib": 4}
    console = Console(width=160, record=True, file=io.StringIO())
    results = {
        "machine": facts,
        "precision": "auto",
        "clips": "demo",
        "limit": LIMIT,
        "measurements": ways,
        "aims": found,
    }
    report.show(results, console)
    text = console.export_text()
    assert f"rtsp, 4 cameras, {failed}: it was too slow" in text
    assert "5.00" in text
    assert "nan" not in chart.draw(ways)


def test_the_chart_draws_a_bar_for_each_way_and_measure() -> None:
    drawing = ET.fromstring(chart.draw([measured("shared"), measured("isolated"), measured("usual")]))
    bars = [rect for rect in drawing.iter("{http://www.w3.org/2000/svg}rect") if rect.get("width") != "13"]
    assert len(bars) == 9
    assert {bar.get("height") for bar in bars} == {f"{chart.FLOOR_PX - chart.TOP_PX:.1f}"}


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles_ms([0.001] * 98 + [0.5, 0.5]) == {"p50": pytest.approx(1.0), "p99": pytest.approx(500.0)}


def test_a_request_is_what_the_service_understands(text_engine: TextEngine) -> None:
    crop = page(("KA7351", 8, 36), size=(150, 48))
    with serving(text_engine) as client:
        port = client.base_url.port
        assert port is not None

        async def ask() -> list[tuple[int, Any]]:
            async with Client(port) as one:
                single = await one.ask(request("/ocr", [png(crop)], mode="plate", find="false"))
                several = await one.ask(request("/ocr/batch", [png(crop), b"none"], mode="plate", find="false"))
            return [(status, json.loads(body)) for status, body in (single, several)]

        (status, alone), (_, (first, second)) = asyncio.run(ask())
    assert (status, alone["mergedText"], first["mergedText"]) == (200, "KA7351", "KA7351")
    assert "error" in second


def test_clients_report_what_they_got_and_how_long_it_took(text_engine: TextEngine) -> None:
    heard: list[int] = []
    with serving(text_engine) as client:
        port = client.base_url.port
        assert port is not None
        damaged = [request("/ocr", [b"no picture"]), request("/ocr", [b"nor this"], mode="plate")]
        answers = asyncio.run(
            keep_asking(
                port,
                damaged,
                clients=2,
                until=time.monotonic() + 0.5,
                judge=lambda number, status, _: heard.append(number),
            )
        )
    assert answers.statuses == {422: len(answers.latencies_s)}
    assert answers.lost == 0
    assert set(heard) == {0, 1}


def test_memory_that_grows_is_distinguished_from_memory_that_wavers() -> None:
    random = np.random.default_rng(1)
    asked = range(0, 4000, 10)
    wavering = [(count, 10**9 + int(random.normal(0, 10**6))) for count in asked]
    steepness, error = slope(wavering)
    assert abs(steepness) <= 3 * error
    steepness, error = slope([(count, size + 5000 * count) for count, size in wavering])
    assert steepness == pytest.approx(5000, abs=3 * error)


def test_in_a_window_the_first_item_waits_for_all_of_it() -> None:
    waited = open_loop(Windowed, lambda batch: (batch,), np.zeros(4, np.uint8), rate=40, seconds=0.5)
    assert waited["p99"] >= 1e3 * WINDOW_S


def test_pages_differ_and_are_full_of_text() -> None:
    first, second = pages(2)
    assert first.shape == second.shape
    assert (first != second).any()
    assert (first < 128).mean() > 0.02


def served(**changed: float) -> dict[str, Any]:
    """Results that just meet every aim, but for what is `changed`."""
    cpu_ms = {"plates, rapidocr": 500.0, "plates, rapidocr tuned": 40.0, "plates, platoon": 10.0}
    cpu_ms |= {"pages, rapidocr": 1800.0, "pages, rapidocr tuned": 1200.0, "pages, platoon": 1000.0}
    p99 = {"idle": 10.0, "bulk of plates": 20.0, "bulk of pages": 20.0} | changed
    loads = [f"{load}, {way}" for load in ("60%", "90%") for way in ("when idle", "30 ms window")]
    return {
        "alone": {name: {"cpu_ms": value} for name, value in cpu_ms.items()},
        "limit": {"detection": {"cpu_ms": 2.5}, "recognition": {"cpu_ms": 6.0}},
        "service": {"cpu_ms": 10.0},
        "waiting_ms": {"capacity_per_s": 50.0} | {name: {"p99": 40.0} for name in loads},
        "calls": {name: {"wall_ms": 100.0} for name in ("1 call", "30 calls in turn")},
        "interactive_ms": {name: {"p99": value} for name, value in p99.items()},
    }


def test_the_services_aims_are_met_at_their_bounds_and_not_beyond() -> None:
    assert all(aim["met"] for aim in service.aims(served()))
    missed = [aim["aim"] for aim in service.aims(served(**{"bulk of plates": 20.1})) if not aim["met"]]
    assert missed == ["p99 of a plate, behind bulk plates / idle"]
