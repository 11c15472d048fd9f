"""Every camera of a site through one engine, in one process.

A decoder thread per camera fills its newest-frame slot; the lanes of the analysis (`lanes`) take what is ready and hand
events to the sink. No frame is copied whole, no camera waits for another, and what fails in one camera stays there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from platoon.captions.live import LiveCaptions
from platoon.errors import NotFound, Unavailable
from platoon.media.attention import Level, Reason
from platoon.media.decoder import open_decoder
from platoon.media.frame import Frame, as_jpeg
from platoon.media.sampling import Sampler
from platoon.media.source import Pace, Source, SourceState, SourceStatus
from platoon.metrics import Metrics, Purpose
from platoon.plates import open_engine
from platoon.plates.analysis import Analysis
from platoon.plates.engine import PlateEngine
from platoon.plates.events import PlateEvent, PlatePipeline
from platoon.plates.grammar import SiteGrammar
from platoon.plates.remote import RemoteReader
from platoon.plates.served import FOR_CALLERS
from platoon.redaction import redact
from platoon.settings import Settings
from platoon.store.event import PLATE
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.streams.camera import DISABLED, Camera
from platoon.streams.hub import Hub
from platoon.streams.lanes import Lanes
from platoon.streams.manual import Sight, read_sight
from platoon.streams.mux import Mux
from platoon.streams.registry import CameraSpec, changes
from platoon.streams.sink import EventSink
from platoon.streams.site import CameraStatus, Message, not_live

_log = logging.getLogger(__name__)

STOP_S = 5.0
"""How long a source may take to end; one that hangs in its network ends by itself later."""
PREVIEW_QUALITY = 80
VIEWED_S = 3.0
"""For so long after each look at its preview somebody watches a camera."""
WAKING_S = 1.0
"""So long a manual read waits for a camera that sleeps to show more than its last keyframe."""


class SharedSite:
    """A running site; implements `site.Site`.

    Args:
        recorded: read file sources to their end as fast as they can be analysed, losing no frame, and emit only
            final events. Otherwise files play in real time.
        loop: play files again and again.
        callers: there will be some who have pictures read; the models they need are loaded once cameras are analysed.
        lanes: how many frames are analysed at once, at most, and how many models are executed at once on the CPU;
            none: as many as there are cores for.
        on_event: called with the JSON of every stored event, from the sink's thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        recorded: bool = False,
        loop: bool = False,
        callers: bool = False,
        lanes: int | None = None,
        on_event: Callable[[Mapping[str, Any]], None] = lambda _event: None,
    ) -> None:
        self._grammar = SiteGrammar(settings.plates)
        self.metrics = Metrics()
        self._settings, self._recorded, self._loop, self._on_event = settings, recorded, loop, on_event
        self._decoder = open_decoder(
            settings, self.metrics.pixels, cameras=lambda: sum(spec.enabled for spec in self._specs)
        )
        self.events = EventStore(settings.store.path / "events.sqlite", settings.deliveries, unattended=not recorded)
        self.crops = ObjectStore(settings.store.crops_location, unattended=not recorded)
        self._hub = Hub()
        self._sink = EventSink(self.events, self.crops, self.metrics, on_event=self._stored, give_up=recorded)
        self._mux = Mux(stale=lambda camera: self.metrics.frames_dropped.labels(camera, "stale").inc())
        self._cameras: dict[str, Camera] = {}
        self._specs: list[CameraSpec] = []
        self._removed: set[str] = set()
        """Cameras taken out by the last change: what is counted of them after it, as their last events are written, is
        forgotten with the next."""
        self._started = False
        """Before that, cameras are known but not connected to: who finds a port taken has started nothing."""
        self._engine = open_engine(settings, self.metrics, executions=lanes)
        self._remote = RemoteReader(settings.remote, self._engine, self.metrics) if settings.remote.url else None
        self._lanes = Lanes(
            lambda: Analysis(self._engine, settings, self.metrics, reads=self._remote),
            self._mux,
            self._cameras,
            self.metrics,
            emit=self._emit,
            show=self._show,
            on_ready=(lambda: self._engine.warm_up(FOR_CALLERS)) if callers else lambda: None,
            recorded=recorded,
            count=lanes,
        )
        self._captions = self._open_captions() if settings.captions.url is not None and not recorded else None

    @property
    def engine(self) -> PlateEngine:
        """The text models, for all who read beside the cameras."""
        return self._engine

    def start(self) -> None:
        """Connect to the cameras and analyse; models load and warm up first, in the background."""
        self._started = True
        for camera in self._cameras.values():
            if camera.source is not None:
                camera.source.start()
        self._lanes.start()

    def change(self, cameras: Sequence[CameraSpec]) -> None:
        """Make these the cameras of the site; those that stay the same go on untouched."""
        stop, start = changes(self._specs, cameras)
        for identity in self._removed - {spec.id for spec in cameras}:
            self.metrics.forget(identity)
        self._removed.clear()
        for spec in stop:
            if (source := self._cameras[spec.id].source) is not None:
                source.stop()  # all at once, as one that is stalled takes its time
        stay = {spec.id for spec in cameras}
        for spec in stop:
            self._remove(spec.id, gone=spec.id not in stay)
        self._specs = list(cameras)
        for spec in start:
            self._add(spec)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether all recorded sources were read to their end, waiting for it so long. Raises what stopped it."""
        ended = self._lanes.join(timeout_s)
        if self._lanes.failure is not None:
            raise self._lanes.failure
        if self._recorded and self._sink.error is not None:
            raise self._sink.error
        return ended

    def stop(self) -> None:
        """End everything; events decided by then are written. Raises StoreError if they could not be."""
        self._lanes.stop()
        for camera in list(self._cameras.values()):
            if camera.source is not None:
                camera.source.stop()
        self._lanes.close()
        for camera in list(self._cameras.values()):
            self._mux.remove(camera.spec.id)
        self._decoder.close()
        for camera in list(self._cameras.values()):
            if camera.source is not None:
                camera.source.join(STOP_S)
        if self._captions is not None:
            self._captions.close()
        try:
            self._sink.close()
        finally:
            if self._remote is not None:
                self._remote.close()
            self._engine.close()
            self.events.close()

    def cameras(self) -> list[CameraStatus]:
        """See `Site.cameras`."""
        now = time.monotonic()
        return [self._status(camera, now) for spec in self._specs if (camera := self._cameras.get(spec.id)) is not None]

    def not_ready(self) -> list[str]:
        """See `Site.not_ready`."""
        reasons = []
        if self._lanes.failure is not None:
            reasons.append(f"analysis: stopped: {self._lanes.failure}")
        elif (trouble := self._lanes.trouble) is not None:
            reasons.append(f"analysis: {trouble}")
        reasons += self._engine.not_ready()
        if self._remote is not None:
            reasons += self._remote.not_ready()
        return reasons + self._sink.not_ready()

    def warnings(self) -> list[str]:
        """See `Site.warnings`."""
        return self._sink.warnings() + ([] if self._captions is None else self._captions.warnings())

    def quiet_s(self) -> float:
        """For how long the analysis has been with the same frames; 0 before the first. One that stands still hangs."""
        return self._lanes.quiet_s()

    def subscribe(self, listener: Callable[[Message], None], camera: str | None = None) -> Callable[[], None]:
        """See `Site.subscribe`."""
        return self._hub.subscribe(listener, camera)

    def manual_read(self, camera: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """See `Site.manual_read`."""
        frame = self._seen_now(camera)
        if (trouble := self._lanes.trouble) is not None:
            raise Unavailable(f"the engine cannot read now: {trouble}; try again in a moment")
        sight = Sight(frame.pixels.picture(frame), frame.captured_at)
        plates, grammar = self._settings.plates, self._grammar.of(camera)
        return read_sight(sight, camera, self._engine, plates, grammar, timeout_s=timeout_s)

    def wake(self, camera: str, for_s: float, reason: Reason = Reason.CALL) -> None:
        """See `Site.wake`."""
        known = self._cameras.get(camera)
        if known is None:
            raise NotFound(f"no camera {camera!r}")
        source = known.source
        if source is None or source.status.state is not SourceState.LIVE:
            raise not_live(camera, DISABLED if source is None else source.status)
        source.attention.wake(reason, for_s)

    def sight(self, camera: str) -> Sight:
        """What `camera` sees now, whole. Raises as `manual_read`."""
        frame = self._seen_now(camera)
        return Sight(frame.pixels.picture(frame), frame.captured_at)

    def preview(self, camera: str, *, width: int = 480, wake: bool = True) -> bytes:
        """See `Site.preview`."""
        if wake:
            self.wake(camera, VIEWED_S, Reason.VIEWER)
        frame = self._seen(camera)
        width = min(width, frame.width) & ~1
        room = frame.pixels.room(1, (width, max(2, round(width * frame.height / frame.width)) & ~1))
        frame.pixels.scale([frame], room, purpose=Purpose.PREVIEW)
        return as_jpeg(frame.pixels.host(room[0]), quality=PREVIEW_QUALITY)

    def _seen_now(self, camera: str) -> Frame:
        """What `camera` sees now: of one that sleeps, if it can be had, a frame that came after this call."""
        known = self._cameras.get(camera)
        called_at = time.time()
        if known is not None and known.source is not None and known.source.attention.level is Level.IDLE:
            known.source.attention.wake(Reason.MANUAL)
            known.await_frame(called_at, WAKING_S)
        return self._seen(camera)

    def _seen(self, camera: str) -> Frame:
        known = self._cameras.get(camera)
        if known is None:
            raise NotFound(f"no camera {camera!r}")
        analysis = self._settings.analysis
        period_s = 1 / analysis.fps if analysis.fps else 0.0
        return known.sees(time.monotonic(), max(analysis.max_picture_age_s, 2 * period_s))

    def _add(self, spec: CameraSpec) -> None:
        analysis = self._settings.analysis
        recorded = self._recorded
        watch = PlatePipeline(
            spec.id,
            self._grammar.of(spec.id),
            min_reads=self._settings.plates.min_reads,
            hold_finals=recorded,
            rejected=lambda rejected: self.metrics.rejected_reads.labels(spec.id, rejected.gate).inc(),
        )
        source = None
        if spec.enabled:
            source = Source(
                spec.id,
                spec.url,
                self._mux.add(spec.id, keep_all=recorded, max_age_s=None if recorded else analysis.max_age_s),
                Sampler(fps=analysis.fps, every=analysis.every),
                settings=self._settings.source,
                pixels=self._decoder.pixels,
                metrics=self.metrics,
                pace=Pace.FULL_SPEED if recorded else Pace.REAL_TIME,
                loop=self._loop,
                on_status=lambda status: self._hear(spec.id, status),
                on_look=lambda frame: self._see(spec.id, frame),
                tap=None if self._captions is None else self._captions.tap(spec.id),
                open_input=self._decoder.open_input,
            )
        self._cameras[spec.id] = Camera(spec, watch, source)
        if source is not None and self._started:
            source.start()
        self._announce(spec.id)

    def _remove(self, identity: str, *, gone: bool) -> None:
        """End a stopped camera; one that is not `gone` stays in sight until `_add` replaces it."""
        camera = self._cameras[identity]
        self._mux.remove(identity)
        if camera.source is not None:
            camera.source.join(STOP_S)  # so that its last words do not follow the first of its successor
        self._lanes.finish(camera)
        if self._captions is not None:
            self._captions.remove(identity)
        if gone:
            del self._cameras[identity]
            self._removed.add(identity)
            self.metrics.forget(identity)
            self._hub.publish(identity, {"type": "removed", "camera": identity})

    def _open_captions(self) -> LiveCaptions:
        return LiveCaptions(
            self._settings.captions,
            self._settings.source,
            self.metrics,
            emit=self._sink.put,
            on_gap=lambda gap: self._hub.publish(gap["camera"], {"type": "caption_gap", **gap}),
        )

    def _see(self, identity: str, frame: Frame) -> None:
        if (camera := self._cameras.get(identity)) is not None:
            camera.see(frame, time.monotonic())

    def _hear(self, identity: str, source: SourceStatus) -> None:
        if source.state is not SourceState.LIVE and identity in self._cameras:
            self._cameras[identity].last_frame = None  # whatever it sees next time, it is not that
        self._announce(identity)

    def _announce(self, identity: str) -> None:
        camera = self._cameras.get(identity)
        if camera is not None and self._hub.wanted(identity):
            status = self._status(camera, time.monotonic())
            self._hub.publish(identity, {"type": "camera", "camera": status.to_json()})

    def _status(self, camera: Camera, now: float) -> CameraStatus:
        spec = camera.spec
        return CameraStatus(
            id=spec.id,
            name=spec.name,
            url=redact(spec.url),
            port=spec.port,
            enabled=spec.enabled,
            source=camera.source.status if camera.source is not None else DISABLED,
            analysed_fps=round(camera.rate(now), 2),
            analysed=camera.analysed,
            dropped=self.metrics.frames_dropped.of(spec.id),
            last_event_at=camera.last_event_at,
        )

    def _stored(self, event: Mapping[str, Any]) -> None:
        kind = event.get("kind", PLATE)
        camera = self._cameras.get(event["camera"])
        if camera is not None and kind == PLATE:
            camera.last_event_at = time.time()
        self._hub.publish(event["camera"], {"type": "event" if kind == PLATE else kind, "event": event})
        self._on_event(event)

    def _show(self, frame: Frame, camera: Camera) -> None:
        if self._hub.wanted(frame.camera):
            try:
                self._hub.publish(frame.camera, _overlay(frame, camera.watch))
            except Exception:
                _log.exception("camera %s: what was found cannot be shown", frame.camera)

    def _emit(self, events: Sequence[PlateEvent]) -> None:
        for event in events:
            self._sink.put(event)


def _overlay(frame: Frame, watch: PlatePipeline) -> Message:
    return {
        "type": "overlay",
        "camera": frame.camera,
        "time": frame.captured_at,
        "width": frame.width,
        "height": frame.height,
        "boxes": watch.overlay(),
    }
