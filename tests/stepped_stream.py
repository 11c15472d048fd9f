"""A camera whose packets come as fast as they are worked on, by a clock that runs with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import av

from platoon.media.attention import Taker
from platoon.media.backlog import Backlog, Taken
from platoon.media.input import Input
from platoon.media.slot import NewestSlot
from platoon.settings import SourceSettings
from tests.clock import Clock

PATIENCE_S = 20


class SteppedBacklog(Backlog):
    """Knows when its decoder has nothing to do."""

    newest: ClassVar[SteppedBacklog]

    def __init__(self, *args: Any, **options: Any) -> None:
        self._asked = False
        SteppedBacklog.newest = self  # its packets begin before it is known to its input
        super().__init__(*args, **options)

    def take(self, *, hold: bool = False) -> Taken | None:
        with self._changed:  # waiting gives it up; so nobody sees a packet taken and its decoder idle
            self._asked = True
            self._changed.notify_all()
            taken = super().take(hold=hold)
            self._asked = False
            return taken

    def notice(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def look_again(self) -> None:
        super().look_again()
        self.notice()

    def await_decoder(self, slot: NewestSlot) -> None:
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._asked and not self._goes_on() and slot.has_room, timeout=PATIENCE_S
            )
            assert done, "the decoder stands still"


class SteppedInput(Input):
    """Opens `path`, and gives those of its groups of pictures that `groups` names by number, as a camera does.

    A packet comes when all before it have been worked on, and the picture of each was taken.
    `platoon.media.input.Backlog` must be a `SteppedBacklog`.
    """

    def __init__(
        self, path: str, settings: SourceSettings, *, taker: Taker, groups: Sequence[int], clock: Clock
    ) -> None:
        super().__init__(path, settings, taker=taker)
        assert taker.slot is not None
        self._groups, self._clock, self._slot = groups, clock, taker.slot
        self._slot.on_room = lambda: SteppedBacklog.newest.notice()

    @property
    def live(self) -> bool:
        return True

    def packets(self) -> Iterator[av.Packet]:
        coded = [packet for packet in self._container.demux(self._stream) if packet.size]
        data = [bytes(packet) for packet in coded]
        step = round(1 / self.fps / coded[0].time_base)
        begins = [*(index for index, packet in enumerate(coded) if packet.is_keyframe), len(coded)]
        order = [index for group in self._groups for index in range(begins[group], begins[group + 1])]
        for number, index in enumerate(order):
            one = coded[index]
            shift = (number - index) * step
            packet = av.Packet(data[index])
            packet.stream, packet.time_base, packet.is_keyframe = self._stream, one.time_base, one.is_keyframe
            packet.dts, packet.pts = (one.dts or 0) + shift, (one.pts or 0) + shift
            SteppedBacklog.newest.await_decoder(self._slot)
            self._clock.now += 1 / self.fps
            yield packet
        SteppedBacklog.newest.await_decoder(self._slot)
