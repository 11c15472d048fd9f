"""The page in a real browser, as an operator uses it."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from platoon.api.serve import HttpServer
from platoon.errors import Unavailable
from platoon.media.frame import Pixels
from platoon.media.source import SourceFailure, SourceState
from platoon.settings import ApiKey, ApiSettings, ServiceSettings, Settings, StoreSettings
from platoon.store.event import Event
from tests.browser import Browser
from tests.fake_site import FakeSite, camera, event
from tests.keys import key
from tests.running import free_ports, wait_until
from tests.scenery import plate_picture, road

DESKTOP, PHONE = (1440, 900), (390, 844)
PLATES = ["LS15 EBC", "JLN390", "B AK 4711", "JMH552", "KA-123-BD", "M 0815 X", "AB12 CDE", "ZH 483920"]


@pytest.fixture
def site(tmp_path: Path) -> FakeSite:
    return FakeSite(tmp_path, camera("gate", name="North gate"), camera("yard", name="Yard, lane 2"))


Opener = Callable[[FakeSite], None]


@pytest.fixture
def show(browser: Browser) -> Iterator[Opener]:
    """Serve a site and open its page on a desktop, connected."""
    with ExitStack() as stack:

        def show(site: FakeSite) -> None:
            http_server = stack.enter_context(HttpServer(site, Settings(api=ApiSettings(port=0))))
            browser.view(*DESKTOP)
            browser.open(f"{http_server.address}/")
            browser.wait_for("document.getElementById('link').dataset.state === 'live'")

        yield show


def text_of(browser: Browser, selector: str) -> list[str]:
    """The text of all elements that `selector` finds."""
    texts: list[str] = browser.evaluate(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")
    return texts


def moments_ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def overlay(camera_id: str, *boxes: dict[str, Any]) -> dict[str, Any]:
    return {"type": "overlay", "camera": camera_id, "time": 0, "width": 1280, "height": 720, "boxes": boxes}


FINAL = {"track": 1, "box": [520, 420, 640, 452], "text": "LS15EBC", "confidence": 0.9, "state": "final"}
PREVIEW = {"track": 2, "box": [820, 300, 890, 320], "text": "GH72", "confidence": 0.7, "state": "preview"}
SHOWN_BOXES = """[...document.querySelectorAll('[data-camera=gate] .box')].map(box => {
    const place = box.querySelector('rect').getBBox();
    return [box.querySelector('text').textContent, box.classList.contains('final'),
            [place.x, place.y, place.width, place.height]];
})"""


def boxes_shown(browser: Browser, site: FakeSite, *boxes: dict[str, Any]) -> list[tuple[str, bool, list[float]]]:
    """(text, final, place) of the boxes that the page shows at the gate, sent again and again as a camera does: they
    are gone after moments.
    """

    def shown() -> list[tuple[str, bool, list[float]]]:
        site.say(overlay("gate", *boxes))
        found = [tuple(box) for box in browser.evaluate(SHOWN_BOXES)]
        return found if len(found) == len(boxes) else []

    return wait_until(shown, "the boxes are shown")


def test_a_camera_shows_its_picture_its_boxes_and_its_rate(browser: Browser, site: FakeSite, show: Opener) -> None:
    show(site)
    browser.wait_for("document.querySelectorAll('.stage img:not([hidden])').length === 2")
    assert text_of(browser, ".tile .name") == ["North gate", "Yard, lane 2"]
    assert text_of(browser, ".tile .rate") == ["12.5 fps", "12.5 fps"]
    final, preview = boxes_shown(browser, site, FINAL, PREVIEW)
    assert final == ("LS15EBC", True, [520, 420, 120, 32])
    assert preview[1] is False
    browser.wait_for("document.querySelectorAll('.box').length === 0")  # nothing new: no box stays behind
    assert browser.problems == []


def test_a_camera_that_is_decoded_too_slowly_says_how_late_it_is(
    browser: Browser, site: FakeSite, show: Opener
) -> None:
    show(site)
    late = camera("gate", name="North gate")
    site.set_camera(replace(late, source=replace(late.source, lag=2.34)))
    browser.wait_for("document.querySelector('[data-camera=gate] .rate').textContent === '12.5 fps · 2.3 s behind'")
    site.set_camera(late)
    browser.wait_for("document.querySelector('[data-camera=gate] .rate').textContent === '12.5 fps'")


def test_a_picture_goes_where_there_is_no_newer_one(browser: Browser, site: FakeSite, show: Opener) -> None:
    show(site)
    pictures = "document.querySelectorAll('.stage img:not([hidden])').length"
    browser.wait_for(f"{pictures} === 2")
    draw = site.draw

    def refuse(_: str) -> Pixels:
        raise Unavailable("nothing was analysed for 11 s")

    site.draw = refuse
    browser.wait_for(f"{pictures} === 0")
    site.draw = draw
    browser.wait_for(f"{pictures} === 2")


def test_a_camera_that_is_not_live_shows_why_and_when_it_is_tried_again(
    browser: Browser, site: FakeSite, show: Opener
) -> None:
    show(site)
    site.set_camera(
        camera(
            "gate",
            name="North gate",
            state=SourceState.RECONNECTING,
            cause=SourceFailure.READ_TIMEOUT,
            message="rtsp://***@10.0.0.1/stream sent nothing for 10 s",
            retry_at=time.time() + 60,
        )
    )
    browser.wait_for("document.querySelector('[data-camera=gate] .away').checkVisibility()")
    shown = text_of(browser, "[data-camera=gate] .away")[0]
    assert "read timeout" in shown
    assert "sent nothing for 10 s" in shown
    assert "next attempt in" in shown
    assert text_of(browser, "#live-count") == ["1 / 2"]
    site.set_state("gate", SourceState.LIVE)
    browser.wait_for("!document.querySelector('[data-camera=gate] .away').checkVisibility()")


def test_only_cameras_on_the_screen_are_asked_for_pictures_and_one_at_a_time(
    browser: Browser, tmp_path: Path, show: Opener
) -> None:
    site = FakeSite(tmp_path, *(camera(f"c{number:02}") for number in range(24)))
    asked, most, lock = Counter[str](), Counter[str](), threading.Lock()
    picture = road("any")

    def draw(camera_id: str) -> Pixels:
        with lock:
            asked[camera_id] += 1
            most[camera_id] = max(most[camera_id], asked[camera_id])
        time.sleep(0.02)
        with lock:
            asked[camera_id] -= 1
        return picture

    site.draw = draw
    show(site)
    deadline = time.monotonic() + 60
    while site.looked_at["c00"] < 3:
        assert time.monotonic() < deadline
        browser.evaluate("0")
    assert site.looked_at["c23"] == 0, "far below the fold"
    assert set(most.values()) == {1}
    browser.evaluate("document.querySelector('[data-camera=c23]').scrollIntoView()")
    while site.looked_at["c23"] < 2:
        assert time.monotonic() < deadline
        browser.evaluate("0")


def test_a_final_takes_the_place_of_its_preview(browser: Browser, site: FakeSite, show: Opener) -> None:
    show(site)
    site.record(event("a", state="preview", text="LS15 E8C", time=moments_ago(3)), plate_picture("LS15 E8C"))
    site.record(event("b", camera="yard", text="JLN390", time=moments_ago(2)), plate_picture("JLN390"))
    browser.wait_for("document.querySelectorAll('#feed li').length === 2")
    assert text_of(browser, "#feed .plate") == ["JLN390", "LS15 E8C"]
    before = browser.evaluate("document.querySelector('[data-event=a] img').src")
    site.record(event("a", state="final", text="LS15 EBC", time=moments_ago(1)), plate_picture("LS15 EBC"))
    browser.wait_for("document.querySelector('[data-event=a]').dataset.state === 'final'")
    assert text_of(browser, "#feed .plate") == ["LS15 EBC", "JLN390"]
    assert browser.evaluate("document.querySelector('[data-event=a] img').src") != before, "the crop that was read"
    site.say({"type": "event", "event": event("a", state="preview", text="L")})
    site.record(event("c", text="LATE", time=moments_ago(0)))
    browser.wait_for("document.querySelectorAll('#feed li').length === 3")
    assert text_of(browser, "#feed .plate") == ["LATE", "LS15 EBC", "JLN390"]
    browser.wait_for("document.getElementById('plates-today').textContent === '3'")


def test_a_search_asks_the_store_and_holds_for_what_comes_live(browser: Browser, site: FakeSite, show: Opener) -> None:
    for number, plate in enumerate(PLATES):
        site.record(event(f"e{number}", text=plate, camera=["gate", "yard"][number % 2], time=moments_ago(number)))
    show(site)
    browser.wait_for(f"document.querySelectorAll('#feed li').length === {len(PLATES)}")
    browser.press("/")
    browser.type("j m-h5")
    browser.wait_for("document.querySelectorAll('#feed li').length === 1")
    assert text_of(browser, "#feed .plate") == ["JMH552"]
    site.record(event("no", text="AA11 AAA"))
    site.record(event("yes", text="1JMH 5", time=moments_ago(0)))
    browser.wait_for("document.querySelectorAll('#feed li').length === 2")
    assert text_of(browser, "#feed .plate") == ["1JMH 5", "JMH552"]
    browser.type("ZZZ")
    browser.wait_for("document.getElementById('no-plates').textContent.includes('No plate holds')")


def test_plates_can_be_limited_to_one_camera(browser: Browser, site: FakeSite, show: Opener) -> None:
    for number, plate in enumerate(PLATES):
        site.record(event(f"e{number}", text=plate, camera=["gate", "yard"][number % 2], time=moments_ago(number)))
    show(site)
    browser.wait_for(f"document.querySelectorAll('#feed li').length === {len(PLATES)}")
    browser.evaluate("document.querySelector('[data-camera=yard] .name').click()")
    browser.wait_for("document.querySelectorAll('#feed li').length === 4")
    assert set(text_of(browser, "#feed .camera")) == {"Yard, lane 2"}
    assert browser.evaluate("document.getElementById('camera-filter').value") == "yard"


def test_older_plates_are_fetched_when_asked_for(browser: Browser, site: FakeSite, show: Opener) -> None:
    for number in range(70):
        site.events.put(Event.of(event(f"e{number}", text=f"N {number}", time=moments_ago(60 + number))))
    show(site)
    browser.wait_for("document.querySelectorAll('#feed li').length === 60")
    browser.evaluate("document.getElementById('older').click()")
    browser.wait_for("document.querySelectorAll('#feed li').length === 70")
    assert browser.evaluate("document.getElementById('older').hidden") is True


def test_one_plate_opens_with_all_that_is_known_by_keyboard_alone(
    browser: Browser, site: FakeSite, show: Opener
) -> None:
    show(site)
    site.record(event("a", time=moments_ago(5)), plate_picture("LS15 EBC"))
    browser.wait_for("document.querySelector('#feed button')")
    browser.evaluate("document.getElementById('camera-filter').focus()")
    browser.press("Tab")
    browser.press("Enter")
    browser.wait_for("document.querySelector('#detail[open] .crop')?.naturalWidth === 260")
    shown = text_of(browser, "#detail")[0]
    for known in ("LS15 EBC", "North gate", "97 %", "7 reads", "520, 400, 680, 440", "LS15E8C"):
        assert known in shown
    browser.press("Escape")
    browser.wait_for("!document.getElementById('detail').open")


def test_text_from_outside_never_becomes_markup(browser: Browser, tmp_path: Path, show: Opener) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    site = FakeSite(tmp_path, camera("gate", name=hostile))
    show(site)
    site.record(event("a", text=hostile, raw=hostile, candidates=[{"text": hostile, "confidence": 1.0}]))
    browser.wait_for("document.querySelector('#feed button')")
    browser.evaluate("document.querySelector('#feed button').click()")
    ((shown, *_),) = boxes_shown(browser, site, {**FINAL, "text": hostile})
    assert shown == hostile
    assert text_of(browser, "#feed .plate") == [hostile]
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0


def test_a_lost_connection_is_visible_and_what_was_missed_is_fetched(browser: Browser, site: FakeSite) -> None:
    (port,) = free_ports(1)
    with HttpServer(site, Settings(api=ApiSettings(port=port))) as http_server:
        browser.view(*DESKTOP)
        browser.open(f"{http_server.address}/")
        browser.wait_for("document.getElementById('link').dataset.state === 'live'")
    browser.wait_for("document.getElementById('lost').checkVisibility()")
    assert text_of(browser, "#link") == ["Disconnected"]
    site.record(event("missed"))
    site.remove_camera("yard")
    with HttpServer(site, Settings(api=ApiSettings(port=port))):
        browser.wait_for("document.getElementById('link').dataset.state === 'live'")
        browser.wait_for("document.querySelector('[data-event=missed]')")
        browser.wait_for("document.querySelectorAll('.tile').length === 1")
        assert browser.evaluate("document.getElementById('lost').checkVisibility()") is False


def test_after_a_long_absence_the_list_starts_again_rather_than_show_a_gap(browser: Browser, site: FakeSite) -> None:
    site.events.put(Event.of(event("old", time=moments_ago(900))))
    (port,) = free_ports(1)
    with HttpServer(site, Settings(api=ApiSettings(port=port))) as http_server:
        browser.open(f"{http_server.address}/")
        browser.wait_for("document.querySelector('[data-event=old]')")
    for number in range(70):
        site.events.put(Event.of(event(f"e{number}", time=moments_ago(100 - number))))
    with HttpServer(site, Settings(api=ApiSettings(port=port))):
        browser.wait_for("document.querySelectorAll('#feed li').length === 60")
        assert browser.evaluate("document.querySelector('[data-event=old]')") is None
        assert browser.evaluate("document.getElementById('older').hidden") is False


def test_cameras_come_and_go_without_a_reload(browser: Browser, tmp_path: Path, show: Opener) -> None:
    site = FakeSite(tmp_path)
    show(site)
    browser.wait_for("document.getElementById('no-cameras').checkVisibility()")
    browser.wait_for("document.getElementById('no-plates').checkVisibility()")
    site.set_camera(camera("gate", name="North gate"))
    browser.wait_for("document.querySelectorAll('.tile').length === 1")
    assert browser.evaluate("document.getElementById('no-cameras').checkVisibility()") is False
    site.remove_camera("gate")
    browser.wait_for("document.querySelectorAll('.tile').length === 0")


@pytest.mark.parametrize(("name", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_fits_its_window_and_loads_nothing_from_elsewhere(
    browser: Browser, tmp_path: Path, show: Opener, name: str, size: tuple[int, int], scheme: str
) -> None:
    site = FakeSite(
        tmp_path,
        camera("gate", name="North gate"),
        camera("yard", name="Yard, lane 2"),
        camera("exit", name="Exit barrier", state=SourceState.CONNECTING, message="opening rtsp://***@10.0.0.7/"),
        camera("bay", name="Loading bay", enabled=False),
    )
    site.draw = road
    for number, plate in enumerate(PLATES):
        at = {"camera": ["gate", "yard"][number % 2], "time": moments_ago(7 + 40 * number * number)}
        site.record(event(f"e{number}", text=plate, **at), plate_picture(plate))
    show(site)
    browser.view(*size, dark=scheme == "dark", mobile=name == "phone")
    browser.wait_for(
        "document.querySelector('.stage img:not([hidden])') && document.querySelector('#feed img')?.complete"
    )
    boxes_shown(browser, site, FINAL, PREVIEW)
    # `PLATOON_SCREENSHOTS=folder` keeps what was seen, for the README and for people.
    folder = Path(os.environ.get("PLATOON_SCREENSHOTS", tmp_path))
    browser.screenshot(folder / f"page-{name}-{scheme}.png")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    origin = browser.evaluate("location.origin")
    assert [url for url in browser.requests if not url.startswith(origin)] == []
    assert browser.problems == []


def test_the_documentation_lists_every_operation(browser: Browser, site: FakeSite, show: Opener) -> None:
    show(site)
    browser.open(f"{browser.evaluate('location.origin')}/docs")
    browser.wait_for("document.querySelectorAll('#operations article').length > 0")
    listed = " ".join(text_of(browser, "article h3"))
    for path in ("/api/cameras", "/api/events/{event}/crop.jpg", "/manual-ocr", "/metrics", "/health/ready", "/api/ws"):
        assert path in listed
    assert browser.problems == []


def secured(folder: Path, *keys: ApiKey) -> Settings:
    return Settings(
        api=ApiSettings(port=0),
        service=ServiceSettings(keys=keys),
        store=StoreSettings(path=folder / "store"),
    )


def show_key(browser: Browser, secret: str, why: str) -> None:
    """On the page that asks for one, and says why."""
    asks = f"document.getElementById('why')?.textContent.includes({why!r})"
    browser.wait_for(f"document.readyState === 'complete' && {asks}")
    browser.evaluate("document.getElementById('key').focus()")
    browser.type(secret)
    browser.press("Enter")


def test_where_keys_are_set_the_page_asks_once_and_then_all_of_it_works(
    browser: Browser, site: FakeSite, tmp_path: Path
) -> None:
    settings = secured(tmp_path, key("guard-secret", scopes=("operate",)))
    with HttpServer(site, settings) as http_server:
        browser.view(*DESKTOP)
        browser.open(f"{http_server.address}/")
        assert text_of(browser, ".tile") == []
        show_key(browser, "guard-secret", "needed")
        browser.wait_for("document.getElementById('link')?.dataset.state === 'live'")
        browser.wait_for("document.querySelectorAll('.stage img:not([hidden])').length === 2")
        site.record(event("a", time=moments_ago(1)), plate_picture("LS15 EBC"))
        browser.wait_for("document.querySelector('#feed .crop')?.naturalWidth === 260")
        boxes_shown(browser, site, FINAL)
        assert browser.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
        browser.open(f"{http_server.address}/")
        browser.wait_for("document.getElementById('link')?.dataset.state === 'live'")
        assert browser.problems == []
    with HttpServer(site, settings) as http_server:  # the session outlives the process
        browser.open(f"{http_server.address}/docs")
        browser.wait_for("document.querySelectorAll('#operations article').length > 0")
        browser.wait_for("document.getElementById('log-out')")
        browser.evaluate("document.getElementById('log-out').click()")
        browser.wait_for("document.getElementById('why')")
        browser.open(f"{http_server.address}/")
        browser.wait_for("document.getElementById('why')")


def test_a_key_that_may_not_see_a_page_is_answered_what_it_lacks_and_can_be_changed(
    browser: Browser, site: FakeSite, tmp_path: Path
) -> None:
    keys = key("clerk-secret", scopes=("infer",)), key("guard-secret", scopes=("read",))
    with HttpServer(site, secured(tmp_path, *keys)) as http_server:
        browser.open(f"{http_server.address}/")
        show_key(browser, "clerk-secret", "needed")
        show_key(browser, "guard-secret", "clerk' has infer")
        browser.wait_for("document.getElementById('link')?.dataset.state === 'live'")


def test_a_page_whose_session_ends_asks_again(browser: Browser, site: FakeSite, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = secured(tmp_path, key("guard-secret", scopes=("read",)))
    settings = settings.model_copy(update={"api": ApiSettings(port=port)})
    with HttpServer(site, settings) as http_server:
        browser.open(f"{http_server.address}/")
        show_key(browser, "guard-secret", "needed")
        browser.wait_for("document.getElementById('link')?.dataset.state === 'live'")
    changed = settings.service.model_copy(update={"keys": (key("guard-changed", scopes=("read",)),)})
    with HttpServer(site, settings.model_copy(update={"service": changed})):
        browser.wait_for("document.getElementById('why')?.textContent.includes('needed')")
