"""Synthetic clips as files: rendered, encoded as a camera would, with their ground truth, and kept.

`render` makes one clip of any scene, `record` one of frames that were rendered otherwise. `demo_clips` gives the
demo's four, from the cache where they are whole. A clip loops without a seam as far as its scene does: no vehicle in
sight at its start and end.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from platoon.errors import StoreError
from platoon.media.synthetic.demo import demo_scenes
from platoon.media.synthetic.encoding import Encoding
from platoon.media.synthetic.road import Road
from platoon.media.synthetic.scene import Scene
from platoon.media.synthetic.sensor import Sensor
from platoon.media.synthetic.shapes import Points
from platoon.private import make_folder

VERSION = 1
"""Of the drawing code: raise it when the same scene would look different, and caches fill anew."""
READABLE_PX = 60
"""Plates at least this wide count as readable."""

_CAMERA = Encoding()


@dataclass(frozen=True)
class PlateTruth:
    """One vehicle's plate as the clip shows it."""

    text: str
    country: str
    quads: Mapping[int, NDArray[np.float32]]
    """By frame, wherever the plate is wholly in view: its corners in pixels, (4, 2), clockwise from top left."""

    @property
    def readable(self) -> tuple[int, int] | None:
        """First and last frame in which the plate is at least 60 px wide and wholly in view; None: never."""
        frames = [frame for frame, quad in self.quads.items() if _width(quad) >= READABLE_PX]
        return (min(frames), max(frames)) if frames else None


@dataclass(frozen=True)
class Truth:
    """What a clip shows."""

    fps: int
    size: tuple[int, int]
    """Width and height in pixels."""
    frames: int
    vehicles: tuple[PlateTruth, ...]

    def to_json(self) -> dict[str, Any]:
        """As kept beside the clip; `first_frame` and `last_frame` are those of `PlateTruth.readable`."""
        vehicles = []
        for plate in self.vehicles:
            first, last = plate.readable or (None, None)
            quads = {str(frame): np.round(quad.astype(float), 1).tolist() for frame, quad in plate.quads.items()}
            vehicles.append(
                {
                    "text": plate.text,
                    "country": plate.country,
                    "first_frame": first,
                    "last_frame": last,
                    "quads": quads,
                }
            )
        return {"fps": self.fps, "size": list(self.size), "frames": self.frames, "vehicles": vehicles}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Truth:
        """What `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: `tree` is something else.
        """
        width, height = tree["size"]
        plates = (
            PlateTruth(
                text=vehicle["text"],
                country=vehicle["country"],
                quads={
                    int(frame): np.array(quad, np.float32).reshape(4, 2) for frame, quad in vehicle["quads"].items()
                },
            )
            for vehicle in tree["vehicles"]
        )
        return cls(fps=int(tree["fps"]), size=(width, height), frames=int(tree["frames"]), vehicles=tuple(plates))


@dataclass(frozen=True)
class DemoClip:
    """A clip to play as a camera."""

    name: str
    """Of the camera, for people."""
    path: Path
    truth: Truth


def demo_clips(cache: Path, *, on_progress: Callable[[int, int], None] | None = None) -> list[DemoClip]:
    """The demo's four clips, rendered now unless `cache` holds them; each with its truth as JSON beside it.

    Args:
        cache: a folder for what can be made again; created if missing.
        on_progress: called with the frames done and the frames to render in all, from any thread but never from two
            at a time. Not called when nothing is to be rendered.

    Raises:
        StoreError: the cache cannot be written.
    """
    scenes = demo_scenes()
    paths = [cache / f"{scene.name.lower().replace(' ', '-')}-{scene.digest}-v{VERSION}.mp4" for scene in scenes]
    truths = [_kept(path) for path in paths]
    missing = [i for i, truth in enumerate(truths) if truth is None]
    total = sum(scenes[i].frames for i in missing)
    progress = _Progress(total, on_progress)
    try:
        make_folder(cache)
        with ThreadPoolExecutor(max_workers=min(len(scenes), os.cpu_count() or 1)) as pool:
            running = [(i, pool.submit(render, scenes[i], paths[i], on_frame=progress.step)) for i in missing]
            try:
                for i, job in running:
                    truths[i] = job.result()
            except BaseException:
                progress.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except OSError as error:
        raise StoreError(f"cannot keep the demo's clips in {cache}: {error.strerror or error}") from error
    return [
        DemoClip(scene.name, path, truth)
        for scene, path, truth in zip(scenes, paths, truths, strict=True)
        if truth is not None
    ]


def render(scene: Scene, path: Path, *, on_frame: Callable[[], None] | None = None) -> Truth:
    """Render `scene` into an MP4 of H.264 at `path`, and its truth into the JSON of the same name.

    The clip appears whole or not at all. `on_frame` is called after every frame; what it raises ends the work.

    Raises:
        OSError: the files cannot be written.
    """
    road, sensor = Road(scene), Sensor(scene.size, seed=scene.seed + 1)

    def shown() -> Iterator[tuple[VideoFrame, Mapping[int, Points]]]:
        for index in range(scene.frames):
            picture, quads = road.frame(index)
            yield sensor.expose(picture, index, noise=scene.light.noise), quads
            if on_frame:
                on_frame()

    return record(shown(), scene, path)


def record(
    shown: Iterable[tuple[VideoFrame, Mapping[int, Points]]], scene: Scene, path: Path, encoding: Encoding = _CAMERA
) -> Truth:
    """Encode what a scene shows into an MP4 at `path`, and its truth into the JSON of the same name.

    The clip appears whole or not at all: it is written beside `path` and renamed, the truth last.

    Args:
        shown: frames with their numbers as time stamps, and the plates in view by the index of the vehicle, (4, 2).

    Raises:
        OSError: the files cannot be written.
    """
    quads: list[Mapping[int, Points]] = []
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.mp4")
    try:
        with av.open(str(unfinished), "w", format="mp4") as container:
            stream = container.add_stream(encoding.codec, rate=scene.fps)
            encoding.apply(stream.codec_context, scene.size, scene.fps)
            for frame, plates in shown:
                quads.append(plates)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        truth = Truth(
            fps=scene.fps,
            size=scene.size,
            frames=len(quads),
            vehicles=tuple(
                PlateTruth(
                    text=vehicle.text,
                    country=vehicle.country,
                    quads={frame: plates[i].astype(np.float32) for frame, plates in enumerate(quads) if i in plates},
                )
                for i, vehicle in enumerate(scene.vehicles)
            ),
        )
        unfinished_truth = unfinished.with_suffix(".json")
        unfinished_truth.write_text(
            json.dumps(truth.to_json() | {"bytes": unfinished.stat().st_size}), encoding="utf-8"
        )
        unfinished.replace(path)
        unfinished_truth.replace(path.with_suffix(".json"))
    finally:
        unfinished.unlink(missing_ok=True)
        unfinished.with_suffix(".json").unlink(missing_ok=True)
    return truth


def _kept(path: Path) -> Truth | None:
    """The truth of a clip that is there and whole, else None."""
    try:
        tree = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return Truth.from_json(tree) if path.stat().st_size == tree["bytes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Progress:
    """Counts frames over all threads."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._on_progress = 0, total, on_progress
        self._lock = threading.Lock()
        self._stopped = False

    def step(self) -> None:
        """One more is done."""
        with self._lock:
            if self._stopped:
                raise RuntimeError("rendering was stopped")
            self._done += 1
            if self._on_progress:
                self._on_progress(self._done, self._total)

    def stop(self) -> None:
        """Let the other threads end at their next frame."""
        self._stopped = True


def _width(quad: NDArray[np.float32]) -> float:
    return float((np.hypot(*(quad[1] - quad[0])) + np.hypot(*(quad[2] - quad[3]))) / 2)
