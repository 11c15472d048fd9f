"""One running pipeline with a branch for each camera; branches come and go while it runs.

What fails in a branch ends that branch. What fails in the part that all share ends all of them, and the next camera
that connects finds a new pipeline.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

from platoon.errors import MissingExtra, PlatoonError
from platoon.media.addresses import is_remote
from platoon.media.attention import Arrival
from platoon.media.failures import SourceFailure
from platoon.media.gstreamer import buffers, deepstream
from platoon.media.gstreamer.arrivals import Arrivals
from platoon.media.gstreamer.binding import gstreamer
from platoon.media.gstreamer.branch import Branch, Broken, Decoded, Phase
from platoon.media.gstreamer.configurations import Configurations
from platoon.media.gstreamer.elements import Elements
from platoon.media.gstreamer.failures import failure_of
from platoon.redaction import redact
from platoon.settings import SourceSettings

_log = logging.getLogger(__name__)

_LISTEN_NS: Final = 100_000_000
"""How soon the listener notices that it should end."""
_LEAVE_S: Final = 5.0
"""How long branches may take to end that somebody else ends already."""
_CODECS: Final = {"image/jpeg": "mjpeg", "video/x-h265": "hevc"}
"""FFmpeg's names of what GStreamer calls otherwise."""
_NOBODY: Final[tuple[Branch | None, Any]] = (None, None)
_TCP: Final = 4  # GST_RTSP_LOWER_TRANS_TCP


def require(elements: Elements) -> None:
    """Raise MissingExtra, with what to install, unless all that a pipeline of these elements needs is here."""
    gst = gstreamer(elements.environment)
    lacking = [name for name in elements.factories if gst.ElementFactory.find(name) is None]
    if lacking:
        raise MissingExtra(f"elements of GStreamer are missing: {', '.join(lacking)}; {elements.packages} bring them")
    if elements.shared:
        deepstream.bindings()
    if elements.gpu is not None and find_spec("torch") is None:
        raise MissingExtra.of("working on pictures in the memory of a GPU", "gpu")


class CameraPipeline:
    """A pipeline for cameras that come and go; safe from any thread.

    Args:
        cameras: how many there are, asked when the pipeline begins: the size of its batches, where frames are batched.
            Cameras that come later share them.
        configured: writes the files for batches of a size, see `Elements.described`.

    Raises:
        MissingExtra: GStreamer or some of the elements are not installed.
    """

    def __init__(
        self,
        elements: Elements,
        *,
        cameras: Callable[[], int],
        configured: Callable[[int], Configurations],
    ) -> None:
        require(elements)
        self._gst = gstreamer()
        self._elements, self._cameras, self._configured = elements, cameras, configured
        self._pyds = deepstream.bindings() if elements.shared else None
        self._changed = threading.Condition()
        """Guards changes of what follows, but for `_broken`; notified of every branch that has gone."""
        self._branches: dict[int, tuple[Branch, Any]] = {}
        """By number, with their bins."""
        self._leaving: set[int] = set()
        self._broken = self._closed = False
        self._pipeline: Any = None
        self._listener: threading.Thread | None = None

    def attach(self, url: str, settings: SourceSettings, *, skipped: Callable[[int], None]) -> Branch:
        """Connect to a camera. Its pictures and failures come through the branch.

        Raises:
            Broken: the pipeline is being ended.
        """
        with self._changed:
            if self._broken and not self._branches:
                self._end()
            if self._closed or self._broken:
                raise Broken(SourceFailure.FAILED, "the pipeline of all cameras has failed, and is built anew")
            try:
                return self._attached(url, settings, skipped)
            except Exception as error:  # of whatever library
                _log.error("a camera cannot be added to the pipeline: %s", redact(traceback.format_exc()))
                raise Broken(SourceFailure.FAILED, f"the pipeline cannot be built: {redact(str(error))}") from None

    def _attached(self, url: str, settings: SourceSettings, skipped: Callable[[int], None]) -> Branch:
        if self._pipeline is None:
            self._begin()
        number = next(number for number in range(len(self._branches) + 1) if number not in self._branches)
        branch = Branch(number, Arrivals(max_lag_s=settings.max_lag_s, skipped=skipped))
        branch.patient = not is_remote(url)
        made = self._made(branch, url, settings)
        self._pipeline.add(made)
        if self._elements.shared:
            pad = self._pipeline.get_by_name("mux").request_pad_simple(f"sink_{number}")
            made.get_static_pad("src").link(pad)
        self._branches[number] = branch, made
        made.set_state(self._gst.State.PLAYING)
        return branch

    def detach(self, branch: Branch) -> None:
        """End a branch and free all that it has; other branches run on."""
        branch.drop()
        with self._changed:
            kept, made = self._branches.get(branch.number, _NOBODY)
            if kept is not branch or branch.number in self._leaving:
                return
            self._leaving.add(branch.number)
        made.set_locked_state(True)
        made.set_state(self._gst.State.NULL)
        with self._changed:
            if self._elements.shared and (pad := made.get_static_pad("src").get_peer()) is not None:
                made.get_static_pad("src").unlink(pad)
                pad.send_event(self._gst.Event.new_flush_stop(False))
                self._pipeline.get_by_name("mux").release_request_pad(pad)
            self._pipeline.remove(made)
            del self._branches[branch.number]
            self._leaving.remove(branch.number)
            self._changed.notify_all()

    def duration_s(self, branch: Branch) -> float | None:
        """How long a recording is, in seconds; None: it does not say, or goes on for ever."""
        with self._changed:
            _, made = self._branches.get(branch.number, _NOBODY)
        if made is None:
            return None
        known, duration = made.query_duration(self._gst.Format.TIME)
        return duration / self._gst.SECOND if known and duration > 0 else None

    def close(self) -> None:
        """End all branches."""
        with self._changed:
            self._closed = True
            branches = [branch for branch, _ in self._branches.values()]
        for branch in branches:
            self.detach(branch)
        with self._changed:
            self._changed.wait_for(lambda: not self._branches, _LEAVE_S)
            self._end()

    def _begin(self) -> None:
        gst = self._gst
        if not self._elements.shared:
            self._pipeline = gst.Pipeline.new("cameras")
        else:
            batch = max(1, self._cameras())
            files = self._configured(batch)
            self._pipeline = gst.parse_launch(self._elements.described_shared(batch, files))
            frames = self._pipeline.get_by_name("frames")
            frames.connect("new-sample", self._batch, files.detector is not None)
        self._pipeline.set_state(gst.State.PLAYING)
        self._listener = threading.Thread(target=self._listen, args=(self._pipeline,), name="gstreamer", daemon=True)
        self._listener.start()

    def _end(self) -> None:
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
        self._pipeline, self._broken = None, False

    def _made(self, branch: Branch, url: str, settings: SourceSettings) -> Any:
        """The bin of a branch, before it connects."""
        gst = self._gst
        made = gst.parse_bin_from_description(self._elements.described_branch(branch.number), False)
        made.set_name(f"camera{branch.number}")
        made.set_property("async-handling", True)  # one that waits for its camera holds up no other
        made.connect("deep-element-added", self._added, branch, settings)
        source = made.get_by_name("source")
        source.set_property("uri", url)
        if self._elements.shared:
            # Not left to the parser, which would also take the pad that waits for what the source will bring.
            made.add_pad(gst.GhostPad.new("src", made.get_by_name("queue").get_static_pad("src")))
            made.get_static_pad("src").add_probe(gst.PadProbeType.EVENT_DOWNSTREAM, self._passing, branch)
        else:
            frames = made.get_by_name("frames")
            frames.connect("new-sample", self._single, branch)
            frames.connect("eos", lambda _: branch.end())
        return made

    def _added(self, _bin: Any, _parent: Any, element: Any, branch: Branch, settings: SourceSettings) -> None:
        """Set up what decodebin and its like have chosen."""
        gst, factory = self._gst, element.get_factory()
        name, kind = factory.get_name(), factory.get_metadata("klass")
        if name == "rtspsrc":
            element.set_property("protocols", _TCP)
            element.set_property("latency", 0)
            element.set_property("tcp-timeout", int((settings.open_timeout_s + settings.read_timeout_s) * 1e6))
            element.connect("on-sdp", lambda *_: branch.reach(Phase.ANSWERED))
        elif "Depayloader" in kind:
            branch.reach(Phase.TYPED)
            element.get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, self._came, branch)
        elif "Demuxer" in kind or "Parser" in kind:
            branch.reach(Phase.TYPED)
        elif "Decoder" in kind and "Video" in kind:
            branch.reach(Phase.TYPED)
            if element.find_property("max-threads") is not None:
                element.set_property("max-threads", 1)  # see platoon.media.input
            if element.find_property("output-corrupt") is not None:
                element.set_property("output-corrupt", False)
            element.get_static_pad("sink").add_probe(gst.PadProbeType.BUFFER, self._due, branch)

    def _came(self, _pad: Any, info: Any, branch: Branch) -> Any:
        buffer = info.get_buffer()
        branch.arrivals.came(buffer.pts, keyframe=self._is_keyframe(buffer))
        return self._gst.PadProbeReturn.OK

    def _due(self, pad: Any, info: Any, branch: Branch) -> Any:
        if not branch.codec and (caps := pad.get_current_caps()) is not None:
            said = caps.get_structure(0)
            branch.codec = _CODECS.get(said.get_name(), said.get_name().rpartition("/")[2].removeprefix("x-"))
            known, frames, seconds = said.get_fraction("framerate")
            if known and seconds and 0 < frames / seconds <= 240:
                branch.fps = frames / seconds
        buffer, answer = info.get_buffer(), self._gst.PadProbeReturn
        wanted = branch.patient or branch.arrivals.wanted(buffer.pts, keyframe=self._is_keyframe(buffer))
        return answer.OK if wanted else answer.DROP

    def _is_keyframe(self, buffer: Any) -> bool:
        return not buffer.has_flags(self._gst.BufferFlags.DELTA_UNIT)

    def _passing(self, _pad: Any, info: Any, branch: Branch) -> Any:
        """An event on the way to the muxer: the end of one camera is not the end of all."""
        if info.get_event().type is self._gst.EventType.EOS:
            branch.end()
            return self._gst.PadProbeReturn.DROP
        return self._gst.PadProbeReturn.OK

    def _single(self, frames: Any, branch: Branch) -> Any:
        """A picture of one camera has come."""
        sample = frames.emit("pull-sample")
        if sample is None:
            return self._gst.FlowReturn.EOS
        try:
            buffer = sample.get_buffer()
            if buffer.has_flags(self._gst.BufferFlags.CORRUPTED):
                return self._gst.FlowReturn.OK
            picture = buffers.picture(sample)
            none = buffer.pts == self._gst.CLOCK_TIME_NONE
            self._give(branch, Decoded(picture, None if none else buffer.pts / self._gst.SECOND), buffer.pts)
        except Exception as error:
            _log.error("a picture cannot be taken from the pipeline: %s", redact(traceback.format_exc()))
            branch.end(Broken(SourceFailure.FAILED, f"a picture cannot be taken: {redact(str(error))}"))
        return self._gst.FlowReturn.EOS if branch.over else self._gst.FlowReturn.OK

    def _batch(self, frames: Any, detected: bool) -> Any:
        """A picture of some cameras each has come."""
        sample = frames.emit("pull-sample")
        if sample is None:
            return self._gst.FlowReturn.EOS
        try:
            for number, decoded in deepstream.decoded(sample.get_buffer(), self._pyds, detected=detected):
                branch, _ = self._branches.get(number, _NOBODY)
                if branch is not None:
                    self._give(branch, decoded, None if decoded.stamp is None else round(decoded.stamp * 1e9))
        except PlatoonError as error:
            self._fail_all(Broken(SourceFailure.FAILED, str(error)))
            return self._gst.FlowReturn.ERROR
        except Exception as error:
            _log.error("a batch of frames cannot be taken: %s", redact(traceback.format_exc()))
            self._fail_all(Broken(SourceFailure.FAILED, f"frames cannot be taken: {type(error).__name__}"))
            return self._gst.FlowReturn.ERROR
        return self._gst.FlowReturn.OK

    def _give(self, branch: Branch, decoded: Decoded, stamp: int | None) -> None:
        if not branch.patient and stamp is not None:
            arrived = branch.arrivals.of(stamp)
            decoded.picture.opaque = None if arrived is None else Arrival(arrived)
        branch.put(decoded)

    def _listen(self, pipeline: Any) -> None:
        """Tell each branch what failed in it, until the pipeline ends."""
        gst, bus = self._gst, pipeline.get_bus()
        while self._pipeline is pipeline:
            message = bus.timed_pop_filtered(_LISTEN_NS, gst.MessageType.ERROR)
            if message is None:
                continue
            error, detail = message.parse_error()
            broken = Broken(*failure_of(error.domain, error.code, f"{error.message} {detail}"))
            branch = self._branch_of(message.src)
            if branch is not None:
                branch.end(broken)
            elif message.src.has_as_ancestor(pipeline):
                _log.error("the pipeline of all cameras failed: %s", redact(error.message))
                self._fail_all(broken)

    def _branch_of(self, element: Any) -> Branch | None:
        """Whose element this is; None: that of all, or of one that has gone."""
        with self._changed:
            known = {made: branch for branch, made in self._branches.values()}
        while element is not None and element not in known:
            element = element.get_parent()
        return None if element is None else known[element]

    def _fail_all(self, broken: Broken) -> None:
        # Without the lock: who ends the pipeline holds it, and waits for the thread that may be here.
        self._broken = True
        for branch, _ in list(self._branches.values()):
            branch.end(broken)
