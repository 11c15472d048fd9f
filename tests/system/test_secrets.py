"""Passwords of cameras, in whatever form they were written, are in nothing that a site tells anybody."""

import json

import httpx
import psutil
import pytest

from tests.running import Place, Running

SECRET = "S3cret"
ADDRESSES = (
    "rtsp://admin:{}@127.0.0.1:1/Streaming/Channels/101",
    "RTSP://admin:12345/{}@127.0.0.1:1/x",
    "rtsp://admin:a%23{}@127.0.0.1:1/x",
    "rtsp://admin:a%40{}@[::1]:1/x",
    "rtsp://127.0.0.1:1/user=admin_password={}_channel=1_stream=0.sdp",
    "rtsp://127.0.0.1:1/cam/realmonitor?channel=1&subtype=0&authbasic={}",
    "http://127.0.0.1:1/videostream.cgi?loginuse=admin&loginpas={}",
    "http://127.0.0.1:1/live?access_token={}#psw={}",
)
BAD = (
    "a|A|rtsp://admin:S3cret|x@127.0.0.1/x|0",
    "b|B|rtsp:/admin:S3cret@127.0.0.1/x|0",
    "c|C|admin:S3cret@cam/x|S3cret",
)


def answers_of(site: Running) -> str:
    """All that anybody can ask of it, for a camera and in general."""
    places = ["/", "/api/cameras", "/api/events", "/metrics", "/health", "/health/ready", "/openapi.json"]
    cameras = [camera["id"] for camera in site.get("/api/cameras")["cameras"]]
    places += [f"/api/cameras/{camera}{rest}" for camera in cameras for rest in ("", "/preview", "/preview.jpg")]
    answers = [site.http.get(place) for place in places]
    answers += [
        site.http.post("/manual-ocr", json={"camera": cameras[0]}),
        site.http.get(f"/rtsp://admin:{SECRET}@127.0.0.1/x?token={SECRET}"),
        site.http.get(f"/api/cameras/admin:{SECRET}@127.0.0.1?password={SECRET}"),
        site.http.post("/ocr", json={"file": f"http://admin:{SECRET}@127.0.0.1:1/x.png?psw={SECRET}"}),
        site.http.post("/ocr", json={"file": f"ftp://admin:{SECRET}@127.0.0.1:1/x.png"}),
    ]
    assert all(isinstance(answer, httpx.Response) for answer in answers)
    return "\n".join(f"{answer.headers}\n{answer.text}" for answer in answers)


@pytest.mark.parametrize(
    ("form", "options", "addresses"), [("json", (), ADDRESSES), ("text", ("--isolated",), ADDRESSES[4:6])]
)
def test_a_password_is_shown_nowhere(
    quick: Place, form: str, options: tuple[str, ...], addresses: tuple[str, ...]
) -> None:
    quick.settings |= {"log_format": form, "log_level": "DEBUG"}
    lines = [
        f"cam{number}|Nr {number} {address.format(SECRET, SECRET)}|{address.format(SECRET, SECRET)}|0"
        for number, address in enumerate(addresses)
    ]
    quick.register(*lines)
    with quick.start("run", quick.registry, "--events", quick.event_file, *options) as site, site.listen() as listener:
        site.until(
            lambda: all(camera["cause"] for camera in site.cameras().values()), "every camera was looked for in vain"
        )
        arguments = [child.cmdline() for child in psutil.Process(site.process.pid).children(recursive=True)]
        answers = answers_of(site)
        quick.register(*BAD)
        site.until(lambda: "the edited registry is not used" in site.log, "the bad edit was seen")
        shown = site.cameras()
        outputs = {
            "answers": answers,
            "process arguments": str(arguments),
            "messages": json.dumps(listener.messages),
            "cameras": json.dumps(shown),
        }
    outputs["log"] = site.log
    outputs["events"] = quick.event_file.read_text() if quick.event_file.exists() else ""
    assert {name for name, text in outputs.items() if SECRET in text} == set()
    assert "channel=1" in str(shown)  # and yet one sees which camera is meant
    assert all("127.0.0.1:1" in camera["url"] or "[::1]:1" in camera["url"] for camera in shown.values())
    assert not options or arguments
