"""What the benchmark of sleeping cameras counts as caught, as missed and as a false wake."""

import numpy as np
import pytest
from benchmarks.activity import LOOP_S, LOOPS, Luma, Trace, known_for_minutes, replay

FPS = 10
CAR_S = (45.0, 49.0)


def trace(
    *, sizes_show: bool, pictures_show: bool, keyframe_every_s: float = 4.0, shown_s: tuple[float, float]
) -> Trace:
    """A minute; something is to be seen at `shown_s`, in packets, in pictures or in neither. The truth says `CAR_S`."""
    rng = np.random.default_rng(1)
    packets, lumas = [], []
    place = rng.integers(60, 180, (54, 96))
    for number in range(60 * FPS):
        at = number / FPS
        shown = shown_s[0] <= at < shown_s[1]
        key = number % round(keyframe_every_s * FPS) == 0
        size = 40_000 if key else int(900 * rng.lognormal(0, 0.1)) + 1500 * (shown and sizes_show)
        packets.append((size, key, at, at))
        luma: Luma = np.clip(place + rng.normal(0, 0.5, place.shape), 0, 255).astype(np.uint8)
        if shown and pictures_show:
            luma[20:32, 40:56] = np.tile([[20, 230]], (12, 8))
        if key or number % 5 == 0:
            lumas.append((at, luma))
    readable = [at for _, _, at, _ in packets if CAR_S[0] <= at < CAR_S[1]]
    return Trace("clock", "made up", 60.0, packets, lumas, [(CAR_S[0], CAR_S[1] + 1, readable)])


@pytest.mark.parametrize(("sizes_show", "pictures_show"), [(True, False), (False, True)])
def test_a_vehicle_is_caught_by_sizes_or_by_pictures(sizes_show: bool, pictures_show: bool) -> None:
    outcome = replay(trace(sizes_show=sizes_show, pictures_show=pictures_show, shown_s=CAR_S), looks=False)
    assert (outcome.vehicles, outcome.caught, outcome.false_wakes) == (1, 1, 0)
    assert outcome.share > 0.2, "from the keyframe at 48 s on, at least"


def test_what_neither_shows_is_missed() -> None:
    outcome = replay(trace(sizes_show=False, pictures_show=False, shown_s=CAR_S), looks=True)
    assert (outcome.vehicles, outcome.caught, outcome.share) == (1, 0, 0)


def test_what_moves_without_a_vehicle_is_a_false_wake() -> None:
    outcome = replay(trace(sizes_show=True, pictures_show=False, shown_s=(35.0, 36.5)), looks=False)
    assert outcome.false_wakes == 1


def test_a_look_in_doubt_finds_between_keyframes_what_sizes_do_not_show() -> None:
    """Held at a high rate, sizes show nothing; the car is gone before the next keyframe."""
    hidden = trace(sizes_show=False, pictures_show=True, keyframe_every_s=10.0, shown_s=CAR_S)
    noisy = Trace(
        hidden.kind,
        hidden.encoding,
        hidden.seconds,
        [(size if key else 30 * size, key, shown, decoded) for size, key, shown, decoded in hidden.packets],
        hidden.lumas,
        hidden.vehicles,
    )
    assert replay(noisy, looks=False).caught == 0
    with_looks = replay(noisy, looks=True)
    assert with_looks.caught == 1
    assert with_looks.looked > 0.5, "decoded for it, and that is counted"


def test_a_camera_that_is_known_for_minutes_sees_the_same_vehicles_later() -> None:
    short = trace(sizes_show=True, pictures_show=True, shown_s=CAR_S)
    long = known_for_minutes(short)
    later = LOOPS * (LOOP_S[1] - LOOP_S[0])
    assert long.seconds == short.seconds + later
    assert long.vehicles[0][0] == short.vehicles[0][0] + later
    times = [decoded for _, _, _, decoded in long.packets]
    assert np.diff(times) == pytest.approx(1 / FPS)
    assert long.packets[-1][0] == short.packets[-1][0]
