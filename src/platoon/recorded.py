"""Pictures and clips from files, one after the other, through one loaded engine: what `platoon read` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from platoon.engine.batcher import Priority
from platoon.engine.call import Call
from platoon.errors import InvalidInput, PlatoonError
from platoon.media.frame import Pixels
from platoon.media.input import Input, SourceError
from platoon.metrics import Metrics
from platoon.ocr.picture import load_picture
from platoon.ocr.reader import Reader
from platoon.plates import open_engine
from platoon.plates.grammar import Grammar
from platoon.plates.recorded import FoundPlate, read_clip, read_picture
from platoon.settings import Settings

CLIPS = frozenset({".mp4", ".mkv", ".mov", ".avi", ".ts", ".m4v", ".webm", ".mpg", ".mpeg", ".h264", ".264", ".flv"})
SECONDS_BETWEEN = 1.0
"""Of a clip's text, frames so far apart are read."""


class FileReader:
    """Reads files into the objects that `platoon read --json` prints; a file that fails says so in its own."""

    def __init__(self, settings: Settings, *, plates: bool) -> None:
        self._settings, self._plates = settings, plates
        self._metrics = Metrics()
        self._grammar = Grammar(settings.plates.countries)
        self._engine = open_engine(settings, self._metrics)
        self._reader = Reader(self._engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()

    def read(
        self, path: Path, *, on_frame: Callable[[int, int | None], None] = lambda _done, _total: None
    ) -> dict[str, Any]:
        """`{path, plates or lines, error}`; `on_frame` hears of a clip's progress: frames done, and how many."""
        name = "plates" if self._plates else "lines"
        found: list[dict[str, Any]] = []
        error: PlatoonError | None = None
        try:
            if path.is_dir():
                raise InvalidInput(f"{path} is a folder; name the files in it, as in {path / '*.jpg'}")
            if path.suffix.lower() in CLIPS:
                found, error = self._read_clip(path, on_frame)
            else:
                found = self._read_picture(path)
        except PlatoonError as failure:
            error = failure
        return {"path": str(path), name: found, "error": None if error is None else str(error)}

    def plates(self, picture: Pixels) -> list[FoundPlate]:
        """The plates in a picture, RGB (height, width, 3), best first."""
        with Call(Priority.BULK) as call:
            return read_picture(self._engine, picture, self._settings.plates, self._grammar, call)

    def _read_picture(self, path: Path) -> list[dict[str, Any]]:
        if not self._plates:
            return [line.to_json() for line in self._reader.read([path])[0].lines]
        return [plate.to_json() for plate in self.plates(load_picture(path))]

    def _read_clip(
        self, path: Path, on_frame: Callable[[int, int | None], None]
    ) -> tuple[list[dict[str, Any]], SourceError | None]:
        if not self._plates:
            return self._lines_of_clip(path, on_frame)
        plates, broken = read_clip(path, self._engine, self._settings, self._grammar, self._metrics, on_frame=on_frame)
        return [plate.to_json() for plate in plates], broken

    def _lines_of_clip(
        self, path: Path, on_frame: Callable[[int, int | None], None]
    ) -> tuple[list[dict[str, Any]], SourceError | None]:
        """Every text once, where it was surest, with its time in the clip."""
        best: dict[str, dict[str, Any]] = {}
        broken = None
        source = Input(str(path), self._settings.source)
        due = 0.0
        try:
            for number, (picture, stamp) in enumerate(source.pictures(), 1):
                on_frame(number, source.frames)
                time_s = stamp if stamp is not None else number / (source.fps or 25.0)
                if time_s < due:
                    continue
                due = time_s + SECONDS_BETWEEN
                for line in self._reader.read([picture.to_ndarray(format="rgb24")])[0].lines:
                    found = {**line.to_json(), "time_s": round(time_s, 3)}
                    if line.text and found["confidence"] > best.get(line.text, {"confidence": 0.0})["confidence"]:
                        best[line.text] = found
        except SourceError as error:
            broken = error
        finally:
            source.close()
        return sorted(best.values(), key=lambda found: (found["time_s"], found["box"][1])), broken
