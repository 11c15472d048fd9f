import numpy as np
import pytest

from platoon.media.frame import Quad
from platoon.plates.tracking import Tracker


def at(x: float, y: float, width: float = 100, height: float = 25) -> Quad:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def test_a_plate_that_moves_smoothly_is_one_track() -> None:
    tracker = Tracker()
    ids = {tracker.update([at(40.0 * i, 300 + 3 * i, 100 + 2 * i)], i / 15)[0][0].id for i in range(20)}
    assert len(ids) == 1
    assert tracker.tracks[0].seen == 20
    assert tracker.tracks[0].travelled > 10


def test_two_plates_side_by_side_keep_their_tracks() -> None:
    tracker = Tracker()
    first = [track.id for track in tracker.update([at(100, 300), at(400, 310)], 0.0)[0]]
    second = [track.id for track in tracker.update([at(430, 312), at(120, 302)], 0.1)[0]]
    assert second == first[::-1]


def test_a_plate_that_was_covered_for_a_moment_comes_back_to_its_track() -> None:
    tracker = Tracker()
    before = tracker.update([at(100, 300)], 0.0)[0][0]
    tracker.update([], 0.3)
    assert tracker.update([at(110, 300)], 0.6)[0][0] is before


def test_a_track_that_is_not_seen_any_more_ends_once() -> None:
    tracker = Tracker(lost_after_s=1.0)
    track = tracker.update([at(100, 300)], 0.0)[0][0]
    ended = [gone for i in range(1, 40) for gone in tracker.update([], i / 10)[1]]
    assert ended == [track]
    assert tracker.tracks == []


def test_at_one_frame_a_second_a_track_is_kept_for_some_frames() -> None:
    tracker = Tracker(lost_after_s=1.0)
    track = tracker.update([at(100, 300)], 0.0)[0][0]
    for second in (1.0, 2.0, 3.0):
        tracker.update([at(100, 300)], second)
    tracker.update([], 4.0)
    assert tracker.update([at(104, 300)], 5.0)[0][0] is track


def test_a_plate_of_another_size_at_the_same_place_is_another_one() -> None:
    tracker = Tracker()
    small = tracker.update([at(100, 300, 60, 15)], 0.0)[0][0]
    assert tracker.update([at(60, 295, 140, 35)], 0.1)[0][0] is not small


@pytest.mark.parametrize(("moved", "uncertain"), [(20, False), (200, True)])
def test_a_match_across_a_jump_is_marked_uncertain(moved: float, uncertain: bool) -> None:
    tracker = Tracker()
    tracker.update([at(100, 300)], 0.0)
    assert tracker.update([at(100 + moved, 300)], 0.5)[0][0].uncertain is uncertain


def test_a_separated_plate_leaves_the_old_track_where_it_was() -> None:
    tracker = Tracker()
    old = tracker.update([at(100, 300)], 0.0)[0][0]
    before = old.centre
    tracker.update([at(250, 300)], 0.5)
    new = tracker.separate(old)
    assert new is not old
    assert np.allclose(old.centre, before)
    assert not old.uncertain
    assert np.allclose(new.centre, at(250, 300).mean(axis=0))


def test_a_joined_track_goes_on_as_the_older_one() -> None:
    tracker = Tracker()
    older = tracker.update([at(100, 300)], 0.0)[0][0]
    far = tracker.update([at(900, 500)], 0.5)[0][0]
    assert far is not older
    tracker.join(far, older)
    assert tracker.tracks == [older]
    assert np.allclose(older.centre, at(900, 500).mean(axis=0))


def test_all_tracks_end_when_the_stream_starts_anew() -> None:
    tracker = Tracker()
    old = tracker.update([at(100, 300)], 50.0)[0][0]
    _, ended = tracker.update([at(100, 300)], 0.0)
    assert ended == [old]
