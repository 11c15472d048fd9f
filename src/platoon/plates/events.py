"""From tracks of plates to events: one vehicle, one final event, and nothing for what is no plate.

A `PlatePipeline` belongs to one camera. For every analysed frame it says which plates are worth reading (`observe`),
takes the readings (`settle`) and emits events. Reading stops once a plate is decided. It knows neither models nor
stores; time is the frames' own.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from platoon.arrays import Array
from platoon.media.frame import Frame, Pixels, Quad
from platoon.ocr.recognition import TextLine
from platoon.plates.calm import Calm
from platoon.plates.detector import PlateBox
from platoon.plates.grammar import Grammar
from platoon.plates.track_state import STILL_HEIGHTS, Evidence, TrackState, Vehicle, is_same
from platoon.plates.track_state import EventState as EventState
from platoon.plates.tracking import Track, Tracker
from platoon.plates.vote import PlateText, Vote, edit_distance, fold, is_certain

_log = logging.getLogger(__name__)


class Gate(StrEnum):
    """Why a track became no event."""

    UNREAD = "unread"
    IMPLAUSIBLE = "implausible"
    """Neither a country's pattern nor letters and digits in a plate's number; nor a sure plate with a sure text."""
    FEW_READS = "few_reads"
    UNSURE = "unsure"
    STILL = "still"
    """Text that never moves and says nothing a plate would: signs and burnt-in overlays."""
    BADGE = "badge"
    """Small text that travels with a larger plate."""
    CROWDED = "crowded"
    """More was found in one frame than is followed."""
    FAILED = "failed"
    """An error in Platoon, which its log names."""


class Rejected(NamedTuple):
    """A track that became no event."""

    gate: Gate
    plate: PlateText | None = None
    """What was read; none: nothing."""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Where that was read best: x1, y1, x2, y2 in frame pixels."""
    media_time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateEvent:
    """What is emitted about one vehicle."""

    id: str
    state: EventState
    camera: str
    plate: PlateText
    time: float
    """When the frame that was read was received, seconds since 1970."""
    emitted_at: float
    """When the frame was received that decided it was to be emitted; the crop may be from an earlier one."""
    media_time: float
    box: tuple[int, int, int, int]
    """Of the plate in that frame: x1, y1, x2, y2 in frame pixels."""
    width: int
    """Of the frame, as is `height`."""
    height: int
    crop: Pixels
    """The very pixels that were read."""

    def to_json(self, *, crop_key: str | None) -> dict[str, Any]:
        """As the API and the event file give it; `crop_key` says where the crop was stored."""
        return {
            "id": self.id,
            "state": str(self.state),
            "camera": self.camera,
            "text": self.plate.text,
            "raw": self.plate.raw,
            "confidence": round(self.plate.confidence, 4),
            "time": datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds"),
            "media_time": round(self.media_time, 3),
            "box": list(self.box),
            "reads": self.plate.reads,
            "agreement": round(self.plate.agreement, 4),
            "candidates": [{"text": text, "confidence": round(share, 4)} for text, share in self.plate.candidates],
            "countries": list(self.plate.countries),
            "country_probabilities": {code: round(share, 4) for code, share in self.plate.countries.items()},
            "width": self.width,
            "height": self.height,
            "crop": crop_key,
        }


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A plate in a frame that should be read now."""

    frame: Frame
    quad: Quad
    """In frame pixels."""
    track_state: TrackState


DECIDED_READS = 3
"""So many agreeing readings decide at once if they are sure; fewer decide when the vehicle has gone."""
SURE = 0.8
"""And then their least sure character is at least this."""
CREDIBLE = 0.6
"""A preview's confidence is at least this."""
BIGGER = 1.5
"""A decided plate is read again when it has grown so much."""
LOOKS = 6
"""So many readings of an undecided plate at one size are enough."""
NEARER = 1.15
"""A plate this much higher than before may be read anew."""
BOXES_MOST = 64
"""Of one frame, the best: each is compared with each."""
VEHICLES_MOST = 512
"""Remembered, of a camera, those seen last: a quarter of an hour of a lane with a vehicle every two seconds, and half a
megabyte."""
EDGE_SHARE = 0.08
LOOSE = 0.97
"""A text that fits looser patterns than this says little: there are more than 30 such texts for each vehicle."""


class PlatePipeline:
    """The plates of one camera.

    Args:
        min_reads: readings that must agree before a plate is final.
        hold_finals: emit only final texts, and only once the vehicle has gone, as for recorded files.
        same_vehicle_s: a text that comes back within this time is the same vehicle.
        parked_s: the same at the same place.
        rejected: called with each track that became no event.
    """

    def __init__(
        self,
        camera: str,
        grammar: Grammar,
        *,
        min_reads: int = 2,
        hold_finals: bool = False,
        same_vehicle_s: float = 8.0,
        parked_s: float = 3600.0,
        rejected: Callable[[Rejected], None] = lambda _: None,
    ) -> None:
        self._camera, self._grammar, self._rejected = camera, grammar, rejected
        self._min_reads, self._hold_finals = min_reads, hold_finals
        self._same_vehicle_s, self._parked_s = same_vehicle_s, parked_s
        self._tracker = Tracker()
        self._track_states: dict[int, TrackState] = {}
        self._vehicles: list[Vehicle] = []
        self._visible: list[TrackState] = []
        self._now = self._media_time = 0.0
        self._calm = Calm()

    def observe(self, frame: Frame, boxes: Sequence[PlateBox]) -> tuple[list[ReadTask], list[PlateEvent]]:
        """The plates found in a frame (quads in frame pixels).

        Returns:
            What should be read now, and the events of vehicles that have gone.
        """
        events = self.gone(frame)
        if len(boxes) > BOXES_MOST:
            boxes = sorted(boxes, key=lambda box: -box.score)
            for _ in boxes[BOXES_MOST:]:
                self._rejected(Rejected(Gate.CROWDED))
        boxes = boxes[:BOXES_MOST]
        tracks, _ = self._tracker.update([box.quad for box in boxes], frame.media_time)
        tasks = []
        self._visible = []
        for track, box in zip(tracks, boxes, strict=True):
            track_state = self._track_states.setdefault(track.id, TrackState(track, Vote(self._grammar)))
            self._visible.append(track_state)
            if box.is_plate:
                track_state.score = max(track_state.score, box.score)
            if track_state.vehicle is not None:
                track_state.vehicle.last_time, track_state.vehicle.quad = frame.media_time, track.quad
            middle = float(track.centre[1]) / frame.height
            track_state.edge = not EDGE_SHARE < middle < 1 - EDGE_SHARE
            if self._worth_reading(track_state, frame):
                tasks.append(ReadTask(frame, track.quad, track_state))
        for track_state in self._visible:
            for other in self._visible:
                track_state.beside(other.track)
        return tasks, events

    def gone(self, frame: Frame) -> list[PlateEvent]:
        """The events of vehicles that have gone by the time of a frame, whether or not anybody can look at it; what
        `observe` gives, ahead of it.
        """
        self._now, self._media_time = frame.captured_at, frame.media_time
        ended = self._tracker.advance(frame.media_time)
        if not ended:
            return []
        events = self._leave(ended)
        alive = {track.id for track in self._tracker.tracks}
        for track_state in self._track_states.values():
            track_state.part_from_all_but(alive)
        return events

    def settle(self, readings: Sequence[tuple[ReadTask, Array, TextLine]]) -> list[PlateEvent]:
        """The readings of what `observe` asked for: (task, the pixels that were read, what they say)."""
        events = []
        for task, crop, line in readings:
            track_state = self._whose(task, line)
            track = track_state.track
            track_state.attempts += 1
            track_state.note(line.text)
            if line.text:
                weight = min(max((track.height / 24) ** 2, 0.1), 2.0)
                track_state.vote.add(line, weight)
                frame = task.frame
                seen = (frame.pixels, task.quad, frame.captured_at, frame.media_time, (frame.width, frame.height))
                track_state.witness(Evidence(weight * line.weakest, line.text, crop, *seen))
            events += self._emit(track_state)
        return events

    def finish(self) -> list[PlateEvent]:
        """The stream is over: the events of the vehicles still in sight."""
        events = self._leave(self._tracker.finish())
        self._visible = []
        return events

    def wants_more(self) -> bool:
        """Whether a plate in sight moves or is not read yet; asked once after each frame."""
        return self._calm.wants_more(self._visible, self._media_time)

    def overlay(self) -> list[dict[str, Any]]:
        """The plates of the last frame as the page draws them, see `streams.site.Message`; what was read and is no
        plate is left out.
        """
        shown = []
        for track_state in self._visible:
            result = track_state.vote.result()
            said = track_state.vehicle
            if result is not None and self._gate(track_state, result) is not None:
                if said is None:
                    continue
                result = None
            shown.append(
                {
                    "track": track_state.track.id,
                    "box": list(box_of(track_state.track.quad)),
                    "text": result.text if result else "",
                    "confidence": round(result.confidence, 3) if result else 0.0,
                    "state": "seen" if said is None or result is None else str(said.state),
                }
            )
        return shown

    def _worth_reading(self, track_state: TrackState, frame: Frame) -> bool:
        track = track_state.track
        if _is_clipped(track.quad, frame):
            return False
        if track.uncertain:
            return True
        if track_state.settled_height:
            return track.height > BIGGER * track_state.settled_height
        # What many looks did not decide is looked at ever less often, until it comes nearer.
        if track.height > NEARER * track_state.looked_height:
            track_state.looked_height, track_state.attempts, track_state.skipped = track.height, 0, 0
        if track_state.attempts < LOOKS:
            return True
        track_state.skipped += 1
        return track_state.skipped & (track_state.skipped - 1) == 0

    def _whose(self, task: ReadTask, line: TextLine) -> TrackState:
        """The state that a reading belongs to: its text corrects what tracking by position got wrong."""
        track_state = task.track_state
        track = track_state.track
        known = track_state.vote.result()
        text = fold(line.text)
        sure = line.weakest >= SURE and track_state.settled_height > 0
        other_one = known is not None and (_differ(text, known.text) or (sure and _is_exchanged(text, known.text)))
        if not other_one:
            track.before_jump = None
        elif track.uncertain and len(text) >= 4 and line.weakest >= 0.5:
            other = self._tracker.separate(track)
            self._visible = [s for s in self._visible if s is not track_state]
            track_state = self._track_states[other.id] = TrackState(other, Vote(self._grammar))
            self._visible.append(track_state)
            known, track = None, other
        if known is None and len(text) >= 5:
            for older in self._track_states.values():
                if older.track is track or older in self._visible:
                    continue
                said = older.vote.result()
                sure = line.weakest >= SURE and older.settled_height > 0
                if said is not None and is_same(text, said.text, both_sure=sure):
                    self._tracker.join(track, older.track)
                    del self._track_states[track.id]
                    self._visible = [older if s is track_state else s for s in self._visible]
                    return older
        return track_state

    def _gate(self, track_state: TrackState, result: PlateText) -> Gate | None:
        """What keeps a text from being a plate at all."""
        digits = sum(char.isdigit() for char in result.text)
        letters = len(result.text) - digits
        mixed = digits > 0 and letters > 0
        fits = mixed and bool(result.countries) and len(result.text) >= 4
        other = mixed and 5 <= len(result.text) <= 8 and result.weakest >= SURE
        if not (fits or other or is_certain(result, track_state.score)):
            return Gate.IMPLAUSIBLE
        # EXIT12 and SHOP24H fit some pattern too, but one that says little.
        distinctive = fits and (result.looseness < LOOSE or digits >= 3)
        if track_state.travelled(result) < STILL_HEIGHTS and (track_state.edge or not distinctive):
            return Gate.STILL
        if track_state.is_badge:
            return Gate.BADGE
        return None

    def _emit(self, track_state: TrackState, *, gone: bool = False) -> list[PlateEvent]:
        """The event that the readings so far allow, if it says something new."""
        result = track_state.vote.result()
        if result is None or self._gate(track_state, result) is not None:
            return []
        sure = result.weakest >= SURE and result.agreement >= 0.6
        decided = result.agreeing >= max(self._min_reads, DECIDED_READS) and sure
        track_state.settled_height = track_state.track.height if decided else 0.0
        final = decided or (gone and _enough(result, self._min_reads))
        if self._hold_finals and not gone:
            return []
        vehicle = track_state.vehicle
        if vehicle is not None and not track_state.emitted and decided and not vehicle.says(result.text, decided=True):
            vehicle = None  # what was thought a misreading is the next one of a fleet
        vehicle = vehicle or self._remembered(track_state, result, decided=decided)
        if vehicle is None:
            credible = result.confidence >= CREDIBLE and result.countries and not track_state.accompanied
            if not final and (self._hold_finals or not credible):
                return []
            vehicle = Vehicle(str(uuid.uuid4()), "", EventState.PREVIEW, 0.0, track_state.track.quad)
            self._vehicles.append(vehicle)
            if len(self._vehicles) > VEHICLES_MOST:
                self._vehicles.remove(min(self._vehicles[:-1], key=lambda known: known.last_time))
        track_state.vehicle = vehicle
        evidence = track_state.best_evidence(result)
        vehicle.last_time = max(vehicle.last_time, track_state.track.last_time)
        vehicle.quad = track_state.track.quad
        state = EventState.FINAL if final else EventState.PREVIEW
        if vehicle.state is not EventState.PREVIEW:
            if not (final and track_state.emitted) or fold(vehicle.text) == fold(result.text):
                return []
            state = EventState.REVISED
        elif not final and (vehicle.text == result.text or result.confidence < CREDIBLE):
            return []
        vehicle.text, vehicle.state, vehicle.decided, track_state.emitted = result.text, state, decided, True
        width, height = evidence.size
        return [
            PlateEvent(
                id=vehicle.id,
                state=state,
                camera=self._camera,
                plate=result,
                time=evidence.time,
                emitted_at=self._now,
                media_time=evidence.media_time,
                box=box_of(evidence.quad),
                width=width,
                height=height,
                crop=evidence.pixels.host(evidence.crop),
            )
        ]

    def _remembered(self, track_state: TrackState, result: PlateText, *, decided: bool) -> Vehicle | None:
        """The vehicle of this text of which an event was emitted a moment ago, or that stands where it stood."""
        now = track_state.track.last_time
        self._vehicles = [v for v in self._vehicles if now - v.last_time <= self._parked_s]
        in_sight = [s.vehicle for s in self._visible if s is not track_state]
        still, here, reach = (
            track_state.track.travelled < STILL_HEIGHTS,
            track_state.track.centre,
            track_state.track.width,
        )
        for vehicle in reversed(self._vehicles):
            if vehicle in in_sight:
                continue
            just_now = now - vehicle.last_time <= self._same_vehicle_s
            parked = not just_now and still and float(abs(vehicle.quad.mean(axis=0) - here).max()) <= reach
            if (just_now or parked) and vehicle.says(result.text, decided=decided):
                return vehicle
        return None

    def _leave(self, tracks: Sequence[Track]) -> list[PlateEvent]:
        """The events of tracks that have ended; one that cannot be emitted takes none of the others with it."""
        events: list[PlateEvent] = []
        for track in tracks:
            track_state = self._track_states.pop(track.id, None)  # a frame that failed may have left it without one
            if track_state is None:
                continue
            try:
                events += self._end(track_state)
            except Exception:
                _log.exception("camera %s: the event of a vehicle that has gone cannot be emitted", self._camera)
                self._rejected(Rejected(Gate.FAILED))
        return events

    def _end(self, track_state: TrackState) -> list[PlateEvent]:
        events = self._emit(track_state, gone=True)
        if not events and track_state.vehicle is None:
            result = track_state.vote.result()
            if result is None:
                self._rejected(Rejected(Gate.UNREAD))
            else:
                too_few = result.agreeing < self._min_reads
                gate = self._gate(track_state, result) or (Gate.FEW_READS if too_few else Gate.UNSURE)
                seen = track_state.best_evidence(result)
                self._rejected(Rejected(gate, result, box_of(seen.quad), seen.media_time))
        return events


def box_of(quad: Quad) -> tuple[int, int, int, int]:
    """The upright box around a quad: x1, y1, x2, y2 in whole pixels."""
    (x1, y1), (x2, y2) = quad.min(axis=0), quad.max(axis=0)
    return round(float(x1)), round(float(y1)), round(float(x2)), round(float(y2))


def _is_clipped(quad: Quad, frame: Frame) -> bool:
    x1, y1, x2, y2 = box_of(quad)
    margin = max(2, (y2 - y1) // 4)
    return x1 < margin or y1 < margin or x2 > frame.width - margin or y2 > frame.height - margin


def _differ(a: str, b: str) -> bool:
    return edit_distance(fold(a), fold(b)) > max(len(a), len(b)) // 2


def _is_exchanged(one: str, other: str) -> bool:
    """Whether two texts of one length differ in some characters, as plates of a fleet do."""
    return len(one) == len(other) and fold(one) != fold(other)


def _enough(result: PlateText, min_reads: int) -> bool:
    return result.agreeing >= min_reads and result.agreement >= 0.3 and result.weakest >= 0.5
