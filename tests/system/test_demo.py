"""The demo: its clips from file to event, and `platoon demo` with its page in a real browser."""

import os
from pathlib import Path

from platoon.media.synthetic.clips import demo_clips
from tests.browser import Browser
from tests.running import Place

SIZE = (1440, 900)


def test_the_demo_clips_give_each_vehicle_of_the_ground_truth_once(place: Place, cache: Path) -> None:
    clips = demo_clips(cache / "demo")
    place.register(*(f"demo-{n}|{clip.name}|{clip.path}|0" for n, clip in enumerate(clips, 1)))
    done = place.run("run", place.registry, "--once", "--every", "3", "--events", place.event_file)
    assert done.code == 0, done
    for n, clip in enumerate(clips, 1):
        plates = sorted(event["text"] for event in place.emitted() if event["camera"] == f"demo-{n}")
        assert plates == sorted(plate.text for plate in clip.truth.vehicles), clip.name


def test_the_page_of_the_demo_shows_live_cameras_and_right_plates(place: Place, cache: Path, browser: Browser) -> None:
    clips = demo_clips(cache / "demo")
    truth = {plate.text for clip in clips for plate in clip.truth.vehicles}
    with place.start("demo") as running:
        browser.view(*SIZE)
        browser.open(f"{running.address}/")

        def texts(selector: str) -> list[str]:
            found: list[str] = browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")
            return found

        def right_plates() -> set[str]:
            return {text.replace(" ", "") for text in texts("#feed .plate.final")} & truth

        running.until(lambda: len(right_plates()) >= 8, "plates of the ground truth are on the page")
        assert texts("#live-count") == ["4 / 4"]
        assert texts(".tile .name") == [clip.name for clip in clips]
        browser.wait_for("[...document.querySelectorAll('.stage img')].filter(i => i.naturalWidth > 0).length === 4")
        browser.wait_for("Number(document.getElementById('plates-today').textContent) >= 8")
        browser.wait_for("document.querySelectorAll('.stage .box.final').length >= 2")
        folder = Path(os.environ.get("PLATOON_SCREENSHOTS") or place.folder)
        folder.mkdir(parents=True, exist_ok=True)
        browser.screenshot(folder / "demo.png")
        # A camera that has just become live may be asked for its picture before there is one.
        assert [problem for problem in browser.problems if "preview.jpg" not in problem] == []
