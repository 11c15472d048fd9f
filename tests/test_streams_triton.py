"""A site whose models are on a server of Triton's protocol that is not there yet, goes, and comes back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from platoon.api.kserve.models import ServedModels
from platoon.media.source import SourceState
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.settings import EngineSettings, PlateSettings, ServiceSettings, Settings, StoreSettings
from platoon.streams import readiness
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec
from tests.running import free_ports, wait_until
from tests.traffic import GATE, SIZE, write_traffic

pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")


@contextmanager
def serving(engine: TextEngine, port: int) -> Iterator[None]:
    from platoon.api.kserve.rpc import GrpcServer

    with GrpcServer(ServedModels(engine, not_ready=list), ServiceSettings(), Metrics(), host="127.0.0.1", port=port):
        yield


def test_a_site_waits_for_its_triton_at_the_start_and_whenever_it_goes(
    text_engine: TextEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "WAITS_S", (0.05, 0.2))
    clip = write_traffic(tmp_path / "gate.mp4", GATE)
    (port,) = free_ports(1)
    width, height = SIZE
    engine = EngineSettings(runtime="triton", triton_url=f"127.0.0.1:{port}", triton_timeout_s=2, max_batch=2)
    settings = Settings(
        engine=engine,
        plates=PlateSettings(detector="text", input_width=width, input_height=height),
        store=StoreSettings(path=tmp_path / "store"),
        cache=tmp_path / "cache",
    )
    emitted: list[Any] = []
    site = SharedSite(settings, loop=True, on_event=emitted.append)

    def count(name: str, **labels: str) -> float:
        return site.metrics.registry.get_sample_value(name, {"camera": "gate", **labels}) or 0.0

    def away() -> bool:
        return any(f"triton at 127.0.0.1:{port} could not be reached" in reason for reason in site.not_ready())

    def waited_for() -> None:
        wait_until(lambda: away() or None, "the cause")
        before = count("platoon_frames_dropped_total", cause="unavailable")
        wait_until(
            lambda: count("platoon_frames_dropped_total", cause="unavailable") > before + 10 or None, "dropped frames"
        )
        assert not site.wait(0.0)
        assert site.cameras()[0].source.state is SourceState.LIVE

    try:
        site.change([CameraSpec("gate", "Gate", str(clip), 0)])
        site.start()
        waited_for()
        for _ in range(2):
            analysed, events = count("platoon_frames_analysed_total"), len(emitted)
            with serving(text_engine, port):
                wait_until(lambda: site.not_ready() == [] or None, "the server")
                wait_until(
                    lambda: (count("platoon_frames_analysed_total") > analysed and len(emitted) > events) or None,  # noqa: B023
                    "events",
                )
            waited_for()
    finally:
        site.stop()
    with closing(sqlite3.connect(tmp_path / "store" / "events.sqlite")) as database:
        stored = {identity for (identity,) in database.execute("SELECT id FROM event")}
    assert {event["id"] for event in emitted} <= stored, "what was emitted is kept"
