"""What a running site looks like to the interfaces above it (HTTP, WebSocket, page, command line).

Two things implement `Site`: the shared pipeline (`pipeline.SharedSite`) and the supervisor of one process per
camera (`isolated.IsolatedSite`). These cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from platoon.errors import Unavailable
from platoon.media.source import SourceStatus
from platoon.metrics import Metrics
from platoon.store.events import EventStore
from platoon.store.objects import ObjectStore

Message = Mapping[str, Any]
"""A JSON object for listeners. `type` is one of

- `overlay`: `camera, time, width, height, boxes: [{track, box: [x1, y1, x2, y2], text, confidence, state}]`,
  boxes in frame pixels, state `seen`, `preview` or `final`;
- `event`: `event`, a plate event as `/api/events` gives it;
- `caption`: `event`, an event of that kind as `/api/captions` gives it;
- `caption_gap`: `camera, time, until, media_start, media_end, cause, state`, a segment that got no caption;
- `camera`: `camera`, a `CameraStatus` as `/api/cameras` gives it; sent on every change of state, and when decoding
  falls behind or keeps up again;
- `removed`: `camera`, the id of a camera taken out of the registry.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStatus:
    """A camera as an operator sees it. No field holds a credential."""

    id: str
    name: str
    url: str
    """Redacted."""
    port: int
    """Of its own interfaces (`/ws`, `/manual-ocr`); 0: none."""
    enabled: bool
    source: SourceStatus
    analysed_fps: float
    """Frames analysed per second, over the last seconds."""
    analysed: int
    dropped: Mapping[str, int]
    """Frames left out, by cause: sampled, replaced, stale, behind, saturated, asleep, unavailable, timeout, overloaded,
    unread, failed."""
    last_event_at: float | None
    """Seconds since 1970."""

    def to_json(self) -> dict[str, Any]:
        """As the API gives it: flat, `state`, `cause` and `message` of the source among the fields."""
        tree = asdict(self)
        source = tree.pop("source")
        return {**tree, **source}


def not_live(camera: str, source: SourceStatus) -> Unavailable:
    """What a camera that is not live answers to whoever wants to see what it sees now."""
    cause = f" ({source.cause})" if source.cause else ""
    return Unavailable(f"camera {camera!r} shows nothing now: {source.state}{cause}: {source.message}")


class Site(Protocol):
    """A running set of cameras."""

    metrics: Metrics
    events: EventStore
    crops: ObjectStore

    def cameras(self) -> Sequence[CameraStatus]:
        """All cameras of the registry, in its order, disabled ones included."""

    def not_ready(self) -> Sequence[str]:
        """Why the site cannot work yet ("engine: warming up"); empty once it can. Down cameras do not count."""

    def warnings(self) -> Sequence[str]:
        """What somebody should look after although the site works."""

    def subscribe(self, listener: Callable[[Message], None], camera: str | None = None) -> Callable[[], None]:
        """Call `listener` with every message (of one camera, or of all) until the returned function is called.

        The listener runs on the pipeline's threads: it must hand the message on and return at once.
        """

    def manual_read(self, camera: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """Read what `camera` sees now, ahead of the queue; blocks.

        Returns:
            `{camera, time, width, height, plates: [{text, raw, confidence, box}], lines: [{text, confidence, box}]}`.

        Raises:
            NotFound: no such camera. Unavailable: it is not live, or no frame of it came lately; with the cause.
            DeadlineExceeded: not done in time.
        """

    def wake(self, camera: str, for_s: float) -> None:
        """Decode all that is wanted of `camera` for so many seconds, whether or not anything moves; see
        `media.attention`.

        Raises:
            NotFound: no such camera. Unavailable: it is not live; with the cause.
        """

    def preview(self, camera: str, *, width: int = 480, wake: bool = True) -> bytes:
        """What `camera` saw last, as a small JPEG; made on demand, from scaled planes. Raises as `manual_read`.

        Args:
            wake: whether it is woken up, if it sleeps, and kept awake for a while, so that the next one is new.
        """
