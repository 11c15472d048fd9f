"""The analysis of a site: several threads, each with a few frames of cameras that no other has.

One thread could not keep more than one core busy, as it waits for the detector, then for the reader. Each lane takes
what is ready (`mux`), finds plates, reads those that are worth it, hands events on and lets the cameras go. Frames of
one camera are analysed one after the other, in whichever lanes, so what is said of them does not depend on how many
lanes there are. What fails in one camera stays there. While frames cannot be analysed at all, because a server is away,
they are still taken, and counted as dropped for that reason; see `readiness`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from platoon.errors import DeadlineExceeded, Overloaded, PlatoonError, Unavailable, says_retry
from platoon.media.attention import Reason
from platoon.media.frame import Frame
from platoon.metrics import Metrics
from platoon.plates.analysis import Analysis
from platoon.plates.events import PlateEvent
from platoon.plates.remote import NotRead
from platoon.streams.camera import Camera
from platoon.streams.mux import Mux
from platoon.streams.readiness import Readiness

_log = logging.getLogger(__name__)

QUIET_S = 20.0
"""A camera that has given nothing for so long: whoever was in sight has gone, as the next frame would show."""
CHECK_S = 1.0
"""How often at most a batch without any result lets the engine be tried."""
IDLE_S = 0.25
"""How soon a lane notices that it should stop when no frame comes."""
LANES_LEAST = 2
"""Also where the detector is executed once at a time, on a GPU or elsewhere: meanwhile other frames are read."""


class Lanes:
    """Analyses the frames of a mux until it is stopped or, of recordings, until all are read.

    Args:
        open_analysis: loads the models. It may raise Unavailable, and is called again then.
        mux: gives frames, and keeps every camera in one lane at a time.
        cameras: by their ids; whoever changes it removes the camera from the mux before.
        emit: called with events, from any lane; must not raise.
        show: called with each frame that was analysed and its camera, from any lane.
        on_ready: called once the models are loaded; must not raise.
        recorded: frames wait for the models, and none is lost.
        count: how many lanes; none: as many as keep the detector busy.
    """

    def __init__(
        self,
        open_analysis: Callable[[], Analysis],
        mux: Mux,
        cameras: Mapping[str, Camera],
        metrics: Metrics,
        *,
        emit: Callable[[Sequence[PlateEvent]], None],
        show: Callable[[Frame, Camera], None],
        on_ready: Callable[[], None] = lambda: None,
        recorded: bool,
        count: int | None = None,
    ) -> None:
        self._open_analysis, self._mux, self._cameras, self._metrics = open_analysis, mux, cameras, metrics
        self._emit, self._show, self._recorded, self._count = emit, show, recorded, count
        self._on_ready = on_ready
        self._stopping = threading.Event()
        self._analysis: Analysis | None = None
        self._readiness = Readiness(self._get_ready, self._stopping, patient=not recorded)
        self._checked_at = -math.inf
        self._came_round: dict[int, float] = {}
        """When each lane last began anew, in seconds of the monotonic clock."""
        self._failure: PlatoonError | None = None
        self._thread = threading.Thread(target=self._run, name="analysis", daemon=True)

    @property
    def trouble(self) -> PlatoonError | None:
        """Why frames cannot be analysed now; None while they can."""
        return self._readiness.trouble

    @property
    def failure(self) -> PlatoonError | None:
        """Why they never will be: what has ended the analysis before its time."""
        return self._failure or self._readiness.failure

    def start(self) -> None:
        """Load the models and begin."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Whether the analysis has ended, waiting for it so long."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End after the frames that are being analysed; returns at once."""
        self._stopping.set()

    def close(self) -> None:
        """Wait for the end, and let go of the detector."""
        if self._thread.is_alive():
            self._thread.join()
        self._readiness.join()
        if self._analysis is not None:
            self._analysis.close()

    def quiet_s(self) -> float:
        """For how long a lane has been with the same frames; 0 before the first. One that stands still hangs."""
        now = time.monotonic()
        return max((now - began for began in self._came_round.copy().values()), default=0.0)

    def finish(self, camera: Camera) -> None:
        """Emit the events of vehicles in sight of a camera that no lane has, nor will have."""
        try:
            self._emit(camera.watch.finish())
        except Exception:
            _log.exception("camera %s: the events of vehicles in sight cannot be emitted", camera.spec.id)

    def _run(self) -> None:
        self._readiness.begin()
        self._lane(0, until_ready=True)
        others = [
            threading.Thread(target=self._lane, args=(number,), name=f"analysis {number}", daemon=True)
            for number in range(1, self._lanes())
        ]
        for other in others:
            other.start()
        self._lane(0)
        for other in others:
            other.join()
        for camera in list(self._cameras.values()):
            self._finish_if_free(camera)

    def _lanes(self) -> int:
        if self._analysis is None:
            return 1
        return self._count or max(LANES_LEAST, self._analysis.capacity.executions)

    def _get_ready(self) -> None:
        """Load what frames need; later, see whether it works again. Raises what keeps it from working."""
        if self._analysis is not None:
            self._analysis.check()
            return
        analysis = self._open_analysis()
        try:
            analysis.warm_up()
        except BaseException:
            analysis.close()
            raise
        self._analysis = analysis
        self._on_ready()

    def _lane(self, number: int, *, until_ready: bool = False) -> None:
        try:
            while not self._stopping.is_set() and self.failure is None:
                self._came_round[number] = time.monotonic()
                ready = self._readiness.wait(IDLE_S if self._recorded else 0.0)
                if ready and until_ready:
                    break
                if self._recorded and not ready:
                    continue  # a recording waits; cameras go on, whether or not anybody can look at what they see
                if not self._take_turn() and self._recorded and self._mux.finished():
                    break
        except Exception as error:
            self._failure = PlatoonError(f"analysis stopped by {type(error).__name__}: {error}")
            _log.exception("analysis stopped")
        finally:
            self._came_round.pop(number, None)

    def _take_turn(self) -> bool:
        """Take what is ready and do with it what can be done now; whether there was anything."""
        analysis = self._analysis if self.trouble is None else None
        frames = self._mux.collect(self._limit(analysis), timeout_s=IDLE_S)
        try:
            seen = [(frame, self._cameras[frame.camera]) for frame in frames]
            now = time.monotonic()
            for _, camera in seen:
                camera.came_at = now
            if analysis is not None:
                self._analyse(analysis, seen)
            else:
                self._let_pass(seen)
        finally:
            self._mux.release(frame.camera for frame in frames)
        if not self._recorded:
            self._let_go(time.monotonic())
        return bool(frames)

    def _limit(self, analysis: Analysis | None) -> int:
        """How many frames a lane best takes at once."""
        if analysis is None:
            return max(1, len(self._cameras))
        return analysis.capacity.batch * max(1, analysis.capacity.executions // self._lanes())

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
                if camera.watch.wants_more() and camera.source is not None:
                    camera.source.attention.wake(Reason.PLATE)
                self._metrics.frames_analysed.labels(frame.camera).inc()
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
        """Frames that nobody can look at: they say at least how late it is."""
        trouble = self.trouble
        cause = trouble if trouble is not None and says_retry(trouble) else Unavailable("not ready until just now")
        for frame, camera in seen:
            try:
                self._emit(camera.watch.gone(frame))
            except Exception:
                _log.exception("camera %s: the events of vehicles that have gone cannot be emitted", frame.camera)
            self._lose(frame, camera, cause)

    def _let_go(self, now: float) -> None:
        """Emit the events of cameras that went silent, which would otherwise wait for as long as these do."""
        for camera in list(self._cameras.values()):
            if now - QUIET_S > camera.came_at:
                self._finish_if_free(camera, came_before=now - QUIET_S)

    def _finish_if_free(self, camera: Camera, *, came_before: float = math.inf) -> None:
        """Emit the events of vehicles in sight of a camera, unless another lane has it, or just had a frame of it."""
        if not self._mux.claim(camera.spec.id):
            return
        try:
            if camera.came_at < came_before:
                camera.came_at = math.inf
                self.finish(camera)
        finally:
            self._mux.release([camera.spec.id])

    def _lose(self, frame: Frame, camera: Camera, error: Exception) -> None:
        """Count a frame as dropped, and log an error that comes from it once until a frame is analysed again."""
        self._metrics.frames_dropped.labels(frame.camera, _cause(error)).inc()
        if says_retry(error):
            camera.see(frame, time.monotonic())
        elif not camera.failing:
            camera.failing = True
            _log.error("camera %s: a frame cannot be analysed and is left out", frame.camera, exc_info=error)


def _cause(error: Exception) -> str:
    """Why a frame was dropped, as the metrics say it."""
    if isinstance(error, NotRead):
        return "unread"
    if isinstance(error, Overloaded):
        return "overloaded"
    if isinstance(error, DeadlineExceeded):
        return "timeout"
    return "unavailable" if says_retry(error) else "failed"
