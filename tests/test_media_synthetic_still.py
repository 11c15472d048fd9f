"""Still scenes: seeded, restless as their kind has it, with vehicles at known times, encoded as cameras do."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from platoon.media.frame import Pixels
from platoon.media.synthetic.encoding import Encoding
from platoon.media.synthetic.road import Road
from platoon.media.synthetic.scene import Scene
from platoon.media.synthetic.still import still_clip, still_frames, still_scene
from platoon.media.synthetic.unrest import Disturbance, Unrest

SIZE = (320, 180)


def lumas(scene: Scene, kind: Unrest) -> list[NDArray[Any]]:
    return [frame.to_ndarray(format="gray") for frame, _ in still_frames(scene, kind)]


def disturbed(kind: Unrest, scene: Scene) -> list[Pixels]:
    """Black but for the light that the kind adds to a grey picture, without noise."""
    disturbance = Disturbance(kind, scene)
    pictures = []
    for index in range(scene.frames):
        picture = np.full((SIZE[1], SIZE[0], 3), (90, 100, 110), np.uint8)
        picture[:, ::8] = 140
        disturbance.lay(picture, index)
        pictures.append(picture)
    return pictures


@pytest.mark.parametrize("kind", Unrest)
def test_the_same_seed_gives_the_same_pictures(kind: Unrest) -> None:
    scene = still_scene(seed=3, seconds=0.6, size=SIZE, fps=5)
    first, again = lumas(scene, kind), lumas(scene, kind)
    assert len(first) == 3
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_another_seed_gives_another_place() -> None:
    one, other = (Road(still_scene(seed=seed, seconds=1, size=SIZE)).frame(0)[0] for seed in (1, 2))
    assert np.abs(one.astype(int) - other.astype(int)).mean() > 5


@pytest.mark.parametrize("kind", sorted(set(Unrest) - {Unrest.NOISE, Unrest.CLOCK}))
def test_what_is_restless_changes_the_picture_without_a_vehicle(kind: Unrest) -> None:
    pictures = disturbed(kind, still_scene(seed=4, seconds=12, size=SIZE, fps=3))
    assert max(np.abs(one.astype(int) - other).max() for one, other in pairwise(pictures)) > 2


@pytest.mark.parametrize("kind", [Unrest.NOISE, Unrest.CLOCK])
def test_noise_is_the_sensors_and_lays_nothing_over_the_picture(kind: Unrest) -> None:
    pictures = disturbed(kind, still_scene(seed=4, seconds=1, size=SIZE, fps=3))
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_noise_grows_with_the_night_and_with_infrared() -> None:
    scene = still_scene(seed=6, seconds=10, size=SIZE)
    for kind, calm, noisy in ((Unrest.NIGHTFALL, 0, 149), (Unrest.INFRARED, 0, 75)):
        disturbance = Disturbance(kind, scene)
        assert disturbance.noise(noisy) > disturbance.noise(calm) + 1


@pytest.mark.parametrize("seed", range(4))
def test_a_vehicle_is_in_view_for_longer_than_a_second_after_it_enters(seed: int) -> None:
    """At the gate, in the street and far away; its plate is never in view before."""
    road = Road(still_scene(seed=seed, seconds=22, enters_s=[2.0], size=(1280, 720), fps=5))
    seen = [(index / 5, quads[0]) for index in range(110) if (quads := road.frame(index)[1])]
    assert seen[0][0] > 2.0
    assert seen[-1][0] - seen[0][0] >= 1.0, "1.2 s, less what five pictures a second do not show"
    assert max(np.hypot(*(quad[1] - quad[0])) for _, quad in seen) >= 60, "wide enough to be read"


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding(group_s=1.0),
        Encoding(group_s=1.0, b_frames=2),
        Encoding(group_s=1.0, kbps=300),
        Encoding(group_s=1.0, most_kbps=200),
        Encoding(codec="libx265", group_s=1.0, b_frames=2, preset="ultrafast"),
    ],
    ids=["x264", "b-frames", "cbr", "vbv", "hevc"],
)
def test_a_clip_is_encoded_as_was_asked(tmp_path: Path, encoding: Encoding) -> None:
    scene = still_scene(seed=1, seconds=4, enters_s=[0.0], size=SIZE, fps=10)
    truth = still_clip(tmp_path / "still.mp4", scene, Unrest.RAIN, encoding)
    with av.open(str(tmp_path / "still.mp4")) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    keyframes = sorted(packet.pts * packet.time_base for packet in packets if packet.is_keyframe)
    assert len(packets) == truth.frames == 40
    assert keyframes == [0, 1, 2, 3]
    assert bool(stream.codec_context.has_b_frames) == (encoding.b_frames > 0)
    assert [vehicle.text for vehicle in truth.vehicles] == [vehicle.text for vehicle in scene.vehicles]
    if encoding.kbps:
        rate = sum(packet.size for packet in packets) * 8 / 4 / 1000
        assert 0.5 * encoding.kbps < rate < 1.5 * encoding.kbps
