"""Every camera of a site through one engine, in one process.

A decoder thread per camera fills its newest-frame slot; one analysis thread takes what is ready, writes the scaled
frames into one batch, finds plates, reads those that are worth it and hands events to the sink. No frame is copied
whole, no camera waits for another, and what fails in one camera stays there. While frames cannot be analysed at all,
because a server is away, they are still taken, and counted as dropped for that reason; see `readiness`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from platoon.errors import DeadlineExceeded, NotFound, Overloaded, PlatoonError, Unavailable, says_retry
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
from platoon.plates.remote import NotRead, RemoteReader
from platoon.plates.served import FOR_CALLERS
from platoon.redaction import redact
from platoon.settings import Settings
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore
from platoon.streams.camera import DISABLED, Camera
from platoon.streams.hub import Hub
from platoon.streams.manual import Sight, read_sight
from platoon.streams.mux import Mux
from platoon.streams.readiness import Readiness
from platoon.streams.registry import CameraSpec, changes
from platoon.streams.sink import EventSink
from platoon.streams.site import CameraStatus, Message

_log = logging.getLogger(__name__)

QUIET_S = 20.0
"""A camera that has given nothing for so long: whoever was in sight has gone, as the next frame would tell."""
CHECK_S = 1.0
"""How often at most a batch without any result lets the engine be tried."""
STOP_S = 5.0
"""How long a source may take to end; one that hangs in its network ends by itself later."""
PREVIEW_QUALITY = 80
IDLE_S = 0.25
"""How soon the analysis notices that it should stop when no frame comes."""


class SharedSite:
    """A running site; implements `site.Site`.

    Args:
        recorded: read file sources to their end as fast as they can be analysed, losing no frame, and tell only
            final events. Otherwise files play in real time.
        loop: play files again and again.
        callers: there will be some who have pictures read; the models they need are loaded once cameras are analysed.
        on_event: called with the JSON of every stored event, from the sink's thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        recorded: bool = False,
        loop: bool = False,
        callers: bool = False,
        on_event: Callable[[Mapping[str, Any]], None] = lambda _event: None,
    ) -> None:
        self._callers = callers
        self._grammar = SiteGrammar(settings.plates)
        self.metrics = Metrics()
        self._settings, self._recorded, self._loop, self._on_event = settings, recorded, loop, on_event
        self._decoder = open_decoder(
            settings, self.metrics.pixels, cameras=lambda: sum(spec.enabled for spec in self._specs)
        )
        self.events = EventStore(settings.store.path / "events.sqlite", settings.deliveries, unattended=not recorded)
        self.crops = ObjectStore(settings.store.crops_place, unattended=not recorded)
        self._hub = Hub()
        self._sink = EventSink(self.events, self.crops, self.metrics, on_event=self._stored, give_up=recorded)
        self._mux = Mux(stale=lambda camera: self.metrics.frames_dropped.labels(camera, "stale").inc())
        self._cameras: dict[str, Camera] = {}
        self._specs: list[CameraSpec] = []
        self._removed: set[str] = set()
        """Cameras taken out by the last change: what is counted of them after it, as their last events are written, is
        forgotten with the next."""
        self._turn = threading.Lock()
        """Held by the analysis for one batch, and by whoever changes the set of cameras."""
        self._started = False
        """Before that, cameras are known but not connected to: who finds a port taken has started nothing."""
        self._stopping = threading.Event()
        self._came_round = math.inf
        """When the analysis last began anew, in seconds of the monotonic clock; infinity: it has not begun."""
        self._failure: PlatoonError | None = None
        self._engine = open_engine(settings, self.metrics)
        self._remote = RemoteReader(settings.remote, self._engine, self.metrics) if settings.remote.url else None
        self._analysis: Analysis | None = None
        self._readiness = Readiness(self._get_ready, self._stopping, patient=not recorded)
        self._checked_at = -math.inf
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)

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
        self._thread.start()

    def change(self, cameras: Sequence[CameraSpec]) -> None:
        """Make these the cameras of the site; those that stay the same go on untouched."""
        stop, start = changes(self._specs, cameras)
        for identity in self._removed - {spec.id for spec in cameras}:
            self.metrics.forget(identity)
        self._removed.clear()
        for spec in stop:
            if (source := self._cameras[spec.id].source) is not None:
                source.stop()  # all at once, as one that is stalled takes its time
        for spec in stop:
            self._remove(spec.id, gone=all(spec.id != other.id for other in cameras))
        self._specs = list(cameras)
        for spec in start:
            self._add(spec)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether all recorded sources were read to their end, waiting for it so long. Raises what stopped it."""
        self._thread.join(timeout_s)
        if self._failure is not None:
            raise self._failure
        if self._recorded and self._sink.error is not None:
            raise self._sink.error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End everything; events decided by then are written. Raises StoreError if they could not be."""
        self._stopping.set()
        for camera in list(self._cameras.values()):
            if camera.source is not None:
                camera.source.stop()
            self._mux.remove(camera.spec.id)
        if self._thread.is_alive():
            self._thread.join()
        self._readiness.join()
        if self._analysis is not None:
            self._analysis.close()
        self._decoder.close()
        for camera in list(self._cameras.values()):
            if camera.source is not None:
                camera.source.join(STOP_S)
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
        if self._failure is not None:
            reasons.append(f"analysis: stopped: {self._failure}")
        elif (trouble := self._readiness.trouble) is not None:
            reasons.append(f"analysis: {trouble}")
        reasons += self._engine.not_ready()
        if self._remote is not None:
            reasons += self._remote.not_ready()
        return reasons + self._sink.not_ready()

    def warnings(self) -> list[str]:
        """See `Site.warnings`."""
        return self._sink.warnings()

    def quiet_s(self) -> float:
        """For how long the analysis has been with the same frames; 0 before the first. One that stands still hangs."""
        return max(0.0, time.monotonic() - self._came_round)

    def subscribe(self, listener: Callable[[Message], None], camera: str | None = None) -> Callable[[], None]:
        """See `Site.subscribe`."""
        return self._hub.subscribe(listener, camera)

    def manual_read(self, camera: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """See `Site.manual_read`."""
        frame = self._seen(camera)
        if (trouble := self._readiness.trouble) is not None:
            raise Unavailable(f"the engine cannot read now: {trouble}; try again in a moment")
        sight = Sight(frame.pixels.picture(frame), frame.captured_at)
        plates, grammar = self._settings.plates, self._grammar.of(camera)
        return read_sight(sight, camera, self._engine, plates, grammar, timeout_s=timeout_s)

    def sight(self, camera: str) -> Sight:
        """What `camera` saw last, whole. Raises as `manual_read`."""
        frame = self._seen(camera)
        return Sight(frame.pixels.picture(frame), frame.captured_at)

    def preview(self, camera: str, *, width: int = 480) -> bytes:
        """See `Site.preview`."""
        frame = self._seen(camera)
        width = min(width, frame.width) & ~1
        room = frame.pixels.room(1, (width, max(2, round(width * frame.height / frame.width)) & ~1))
        frame.pixels.scale([frame], room, purpose=Purpose.PREVIEW)
        return as_jpeg(frame.pixels.host(room[0]), quality=PREVIEW_QUALITY)

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
            rejected=lambda gate: self.metrics.rejected_reads.labels(spec.id, gate).inc(),
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
                open_input=self._decoder.open_input,
            )
        with self._turn:
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
        with self._turn:
            self._finish(camera)
            if gone:
                del self._cameras[identity]
        if gone:
            self._removed.add(identity)
            self.metrics.forget(identity)
            self._hub.publish(identity, {"type": "removed", "camera": identity})

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
        camera = self._cameras.get(event["camera"])
        if camera is not None:
            camera.last_event_at = time.time()
        self._hub.publish(event["camera"], {"type": "event", "event": event})
        self._on_event(event)

    def _run(self) -> None:
        try:
            self._readiness.begin()
            while not self._stopping.is_set() and self._readiness.failure is None:
                self._came_round = time.monotonic()
                if self._recorded and not self._readiness.wait(IDLE_S):
                    continue  # a recording waits; cameras go on, whether or not anybody can look at what they see
                analysis = self._analysis if self._readiness.trouble is None else None
                limit = analysis.max_batch if analysis is not None else max(1, len(self._specs))
                frames = self._mux.collect(limit, timeout_s=IDLE_S)
                with self._turn:
                    seen = [(frame, self._cameras[frame.camera]) for frame in frames if frame.camera in self._cameras]
                    for _, camera in seen:
                        camera.came_at = time.monotonic()
                    if analysis is not None:
                        self._analyse(analysis, seen)
                    else:
                        self._let_pass(seen)
                    if not self._recorded:
                        self._let_go(time.monotonic())
                if self._recorded and not frames and self._mux.finished():
                    break
            self._failure = self._readiness.failure
        except Exception as error:
            self._failure = PlatoonError(f"analysis stopped by {type(error).__name__}: {error}")
            _log.exception("analysis stopped")
        with self._turn:
            for camera in self._cameras.values():
                self._finish(camera)

    def _get_ready(self) -> None:
        """Load what frames need; later, see whether it works again. Raises what keeps it from working."""
        if self._analysis is not None:
            self._analysis.check()
            return
        analysis = Analysis(self._engine, self._settings, self.metrics, reads=self._remote)
        try:
            analysis.warm_up()
        except BaseException:
            analysis.close()
            raise
        self._analysis = analysis
        if self._callers:
            self._engine.warm_up(FOR_CALLERS)

    def _analyse(self, analysis: Analysis, seen: Sequence[tuple[Frame, Camera]]) -> None:
        if not seen:
            return
        errors = analysis.analyse([(frame, camera.watch) for frame, camera in seen], self._emit)
        now = time.monotonic()
        for (frame, camera), error in zip(seen, errors, strict=True):
            if error is not None:
                self._lose(frame, camera, error)
            else:
                camera.see(frame, now)
                camera.failing = False
                camera.count(now)
                self.metrics.frames_analysed.labels(frame.camera).inc()
            if error is None or isinstance(error, NotRead):
                self._show(frame, camera)
        if (cause := self._is_away(analysis, errors)) is not None:
            self._readiness.lost(cause)

    def _is_away(self, analysis: Analysis, errors: Sequence[Exception | None]) -> Exception | None:
        """What keeps all frames from being analysed, if these errors come from that and not from their frames."""
        lost = [error for error in errors if error is not None]
        away = next((error for error in lost if says_retry(error) and not isinstance(error, NotRead)), None)
        if away is not None or len(lost) < len(errors) or isinstance(lost[0], NotRead):
            return away
        if time.monotonic() - self._checked_at < CHECK_S:
            return None
        self._checked_at = time.monotonic()
        try:
            analysis.check()
        except Exception as error:
            return error
        return None

    def _let_pass(self, seen: Sequence[tuple[Frame, Camera]]) -> None:
        """Frames that nobody can look at: they tell at least how late it is."""
        trouble = self._readiness.trouble
        cause = trouble if trouble is not None and says_retry(trouble) else Unavailable("not ready until just now")
        for frame, camera in seen:
            try:
                self._emit(camera.watch.gone(frame))
            except Exception:
                _log.exception("camera %s: vehicles that have gone cannot be told", frame.camera)
            self._lose(frame, camera, cause)

    def _let_go(self, now: float) -> None:
        """Tell the vehicles of cameras that went silent, which would otherwise wait for as long as these do."""
        for camera in self._cameras.values():
            if now - QUIET_S > camera.came_at:
                camera.came_at = math.inf
                self._finish(camera)

    def _finish(self, camera: Camera) -> None:
        """Tell the vehicles that are in sight of a camera."""
        try:
            self._emit(camera.watch.finish())
        except Exception:
            _log.exception("camera %s: the vehicles in sight cannot be told", camera.spec.id)

    def _lose(self, frame: Frame, camera: Camera, error: Exception) -> None:
        """Count a frame as dropped, and log an error that comes from it once until a frame is analysed again."""
        self.metrics.frames_dropped.labels(frame.camera, _cause(error)).inc()
        if says_retry(error):
            camera.see(frame, time.monotonic())
        elif not camera.failing:
            camera.failing = True
            _log.error("camera %s: a frame cannot be analysed and is left out", frame.camera, exc_info=error)

    def _show(self, frame: Frame, camera: Camera) -> None:
        if self._hub.wanted(frame.camera):
            try:
                self._hub.publish(frame.camera, _overlay(frame, camera.watch))
            except Exception:
                _log.exception("camera %s: what was found cannot be shown", frame.camera)

    def _emit(self, events: Sequence[PlateEvent]) -> None:
        for event in events:
            self._sink.put(event)


def _cause(error: Exception) -> str:
    """Why a frame was dropped, as the metrics say it."""
    if isinstance(error, NotRead):
        return "unread"
    if isinstance(error, Overloaded):
        return "overloaded"
    if isinstance(error, DeadlineExceeded):
        return "timeout"
    return "unavailable" if says_retry(error) else "failed"


def _overlay(frame: Frame, watch: PlatePipeline) -> Message:
    return {
        "type": "overlay",
        "camera": frame.camera,
        "time": frame.captured_at,
        "width": frame.width,
        "height": frame.height,
        "boxes": watch.overlay(),
    }
