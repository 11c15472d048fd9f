"""What keeps a camera awake by what is in sight of it."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from platoon.plates.calm import LOOKS, MOVES_S, Calm


def sight(identity: int, seen: int, at: tuple[float, float] = (100, 50), *, decided: bool = False) -> Any:
    """A plate 60 pixels wide in a frame, and in how many it was up to now."""
    track = SimpleNamespace(id=identity, seen=seen, centre=np.array(at, np.float32), height=15.0, width=60.0)
    return SimpleNamespace(track=track, vehicle=SimpleNamespace(decided=decided))


def test_a_plate_that_is_not_read_yet_wants_more_until_it_is() -> None:
    calm = Calm()
    assert all(calm.wants_more([sight(1, seen)], seen / 5) for seen in range(1, LOOKS))
    assert not calm.wants_more([sight(1, LOOKS, decided=True)], LOOKS / 5)


def test_a_plate_that_drives_away_wants_more_though_it_was_read() -> None:
    calm = Calm()
    for seen in range(1, 30):
        moves = calm.wants_more([sight(1, seen, (100, 50), decided=True)], seen / 5)
    assert not moves
    assert calm.wants_more([sight(1, 30, (120, 50), decided=True)], 6.0)
    assert not calm.wants_more([sight(1, 50, (120, 50), decided=True)], 6.0 + MOVES_S)


def test_what_rests_and_never_becomes_a_plate_is_left_alone() -> None:
    calm = Calm()
    wanted = [calm.wants_more([sight(1, seen)], seen / 5) for seen in range(1, 3 * LOOKS)]
    assert wanted[1]
    assert not any(wanted[LOOKS:])
    assert not calm.wants_more([sight(2, 2)], 20.0), "nor is what comes back at that place"


def test_what_is_in_a_single_frame_of_many_is_no_reason_to_look_on() -> None:
    calm = Calm()
    calm.wants_more([], 0.0)
    assert not any(calm.wants_more([sight(number, 1, (40 * number, 50))], number / 5) for number in range(1, 50))


def test_what_is_in_the_first_frame_after_a_pause_is() -> None:
    calm = Calm()
    assert calm.wants_more([sight(1, 1)], 0.0)
    calm.wants_more([], 0.2)
    assert calm.wants_more([sight(2, 1, (300, 90))], 4.2)
