"""What `platoon read` does with pictures and clips: one after the other through one loaded engine.

What a file is, its content says, whatever its name. All of it is read, or what was left out is said; a file that fails,
in whatever way, takes no other with it.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import numpy as np
import typer

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput, NotFound, PlatoonError
from platoon.media.addresses import is_remote
from platoon.media.failures import SourceError, SourceFailure
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.pages import open_pictures
from platoon.ocr.picture import DECODE_S, MAX_PIXELS, is_motion_jpeg, kind_of_picture
from platoon.ocr.picture_process import FORMATS
from platoon.plates import open_engine
from platoon.plates.engine import PlateEngine
from platoon.plates.grammar import Grammar
from platoon.plates.recorded import HeldBack, read_clip, read_picture
from platoon.reader import Reader
from platoon.redaction import redact
from platoon.settings import Settings
from platoon.terminal import bars, plain, stderr

_log = logging.getLogger(__name__)

PICTURES_MOST: Final = 100
"""Of one file: of more, so many are read, evenly over all."""
_HEAD_BYTES: Final = 1 << 24
"""By which it is seen what a file is: more than the first picture of a video of JPEGs has."""

OnFrame = Callable[[int, int | None], None]
"""Hears of a clip's progress: frames done, and how many there are."""


@dataclass(slots=True)
class Found:
    """What a file says."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    held_back: list[dict[str, Any]] = field(default_factory=list)
    """What was read and is none, or not sure enough, with the reason (`gate`)."""
    notes: list[str] = field(default_factory=list)
    """What was left out, for people."""
    error: PlatoonError | None = None
    """Why not all of it was read."""


def read_files(
    names: Sequence[str],
    settings: Settings,
    *,
    plates: bool,
    as_json: bool,
    fps: float | None = None,
    held_back: bool = False,
) -> None:
    """Print the text, or the plates, of pictures and clips.

    Args:
        names: paths, patterns, folders for what lies right in them, and addresses of recordings.
        fps: of clips, at most so many frames a second are read; none: all for plates, one a second for text.
        held_back: print also what was held back.

    Raises:
        typer.Exit: some could not be read.
    """
    failed = 0
    files = [file for name in names for file in _files(name)]
    with open_engine(settings, (metrics := Metrics())) as engine, bars() as progress:
        reads = _Plates(engine, settings, metrics, fps) if plates else _Lines(engine, settings, fps)
        task = progress.add_task("reading", total=len(files), visible=len(files) > 1)
        for file in files:
            clip = progress.add_task(plain(Path(file.name).name), total=None, visible=False)

            def on_frame(done: int, total: int | None, clip: Any = clip) -> None:
                progress.update(clip, completed=done, total=total, visible=True)

            found = _outcome(reads, file, on_frame)
            progress.remove_task(clip)
            progress.advance(task)
            if file.in_folder and isinstance(found.error, _UnknownKindError):
                stderr().print(plain(f"{file.name} is left out: it is no picture and no clip"), highlight=False)
                continue
            failed += found.error is not None
            kind = "plates" if plates else "lines"
            _print(file.name, found, kind, as_json=as_json, held_back=held_back)
    if failed:
        stderr().print(f"{failed} of {len(files)} could not be read", highlight=False)
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    in_folder: bool = False
    """Nobody has named it, but a folder that it lies in."""


class _UnknownKindError(InvalidInput):
    """A file is neither a picture nor a clip."""


def _files(name: str) -> Iterator[_File]:
    """What a name stands for; where there is nothing, it fails when it is read."""
    if "://" in name and not name.lower().startswith("file://"):
        yield _File(name)
        return
    name = unquote(urlsplit(name).path) if "://" in name else name
    path = Path(name)
    try:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
            yield from (_File(str(file), in_folder=True) for file in inside)
            if inside:
                return
        if not path.exists() and set("*?[") & set(name):
            pattern = str(path.relative_to(path.anchor))
            files = sorted(file for file in Path(path.anchor).glob(pattern) if file.is_file())
            yield from (_File(str(file)) for file in files or [path])
            return
    except (OSError, ValueError):  # no name that a file can have, or no permission: reading it says so
        pass
    yield _File(name)


class _Plates:
    """Reads the plates in a file."""

    def __init__(self, engine: PlateEngine, settings: Settings, metrics: Metrics, fps: float | None) -> None:
        self._engine, self._settings, self._metrics, self._fps = engine, settings, metrics, fps
        self._grammar = Grammar(settings.plates.countries)

    def clip(self, name: str, on_frame: OnFrame) -> Found:
        """Of a clip."""
        read = read_clip(
            name, self._engine, self._settings, self._grammar, self._metrics, fps=self._fps, on_frame=on_frame
        )
        texts = [plate.to_json() for plate in read.plates]
        return Found(texts, [one.to_json() for one in read.held_back], error=read.broken)

    def picture(self, picture: Pixels) -> Found:
        """Of a picture."""
        held_back: list[HeldBack] = []
        with RequestContext(Priority.BULK) as call:
            plates = read_picture(
                self._engine, picture, self._settings.plates, self._grammar, call, held_back=held_back.append
            )
        return Found([plate.to_json() for plate in plates], [one.to_json() for one in held_back])


class _Lines:
    """Reads the text in a file."""

    def __init__(self, engine: PlateEngine, settings: Settings, fps: float | None) -> None:
        self._reader, self._settings, self._fps = Reader(engine), settings, fps

    def clip(self, name: str, on_frame: OnFrame) -> Found:
        """Of a clip."""
        lines, broken = self._reader.read_clip(name, self._settings.source, fps=self._fps, on_frame=on_frame)
        return Found([line.to_json() for line in lines], error=broken)

    def picture(self, picture: Pixels) -> Found:
        """Of a picture."""
        return Found([line.to_json() for line in self._reader.read([picture])[0].lines])


def _outcome(reads: _Plates | _Lines, file: _File, on_frame: OnFrame) -> Found:
    """What a file says, or why it could not be read."""
    try:
        return _read(reads, file.name, on_frame)
    except PlatoonError as error:
        return Found(error=error)
    except Exception as error:  # of Platoon's own or a library's: it costs this file, and no other
        _log.debug("%s", redact(traceback.format_exc()))
        return Found(error=PlatoonError(f"{file.name} cannot be read: {type(error).__name__}: {error}"))


def _read(reads: _Plates | _Lines, name: str, on_frame: OnFrame) -> Found:
    if "://" not in name:
        path = Path(name)
        head = _head_of(path)
        if kind_of_picture(head) is not None and not is_motion_jpeg(head):
            return _pictures(reads, path)
    elif is_remote(name) and name.lower().startswith("rtsp"):
        raise InvalidInput(f"{name} is the address of a camera, which has no end: platoon run {name} watches it")
    try:
        return reads.clip(name, on_frame)
    except SourceError as error:
        if error.failure is not SourceFailure.UNSUPPORTED or is_remote(name):
            raise
        formats = ", ".join(FORMATS)
        raise _UnknownKindError(
            f"{name}: no picture ({formats}, HEIC) and not a video, or damaged at its beginning"
        ) from error


def _head_of(path: Path) -> bytes:
    """The first bytes of a file. Raises NotFound, InvalidInput: there is none that can be read."""
    try:
        if not path.exists():
            raise NotFound(f"{path}: no such file; it does not exist")
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder with no files in it")
        if not path.is_file():  # a pipe or a device would block here for ever
            raise InvalidInput(f"{path}: not a regular file")
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except PlatoonError:
        raise
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: {getattr(error, 'strerror', None) or 'not a path'}") from error
    if not head:
        raise InvalidInput(f"{path}: the file is empty")
    return head


def _pictures(reads: _Plates | _Lines, path: Path) -> Found:
    """All pictures in a file. Pages say different things; in an animation, as in a clip, each text counts once."""
    found = Found()
    name, data = f"picture {path}", path.read_bytes()
    with open_pictures(data, name, max_pixels=MAX_PIXELS, picture_s=DECODE_S) as file:
        count = len(file.sizes)
        chosen = np.unique(np.linspace(0, count - 1, min(count, PICTURES_MOST)).astype(int)).tolist()
        if len(chosen) < count:
            found.notes.append(f"{len(chosen)} of {count} pictures in it were read, evenly over all")
        animated = kind_of_picture(data) != "TIFF"
        surest: dict[str, dict[str, Any]] = {}
        for number, outcome in zip(chosen, file.draw(chosen), strict=True):
            if isinstance(outcome, PlatoonError):
                found.error = found.error or outcome
                continue
            one = reads.picture(outcome.picture)
            place = {"page": number + 1} if count > 1 else {}
            found.held_back += [{**text, **place} for text in one.held_back]
            for text in one.texts:
                known = surest.get(text["text"])
                if count == 1 or not animated:
                    found.texts.append({**text, **place})
                elif known is None or known["confidence"] < text["confidence"]:
                    surest[text["text"]] = {**text, **place}
    found.texts += surest.values()
    return found


def _print(name: str, found: Found, kind: str, *, as_json: bool, held_back: bool) -> None:
    name = redact(name) if "://" in name else name
    notes = list(found.notes)
    if found.held_back and not held_back:
        counts = Counter(str(one["gate"]) for one in found.held_back)
        listed = ", ".join(f"{count} {gate}" for gate, count in counts.items())
        notes.append(f"held back: {listed}; --all shows them")
    error = None if found.error is None else str(found.error)
    if as_json:
        result: dict[str, Any] = {"path": name, kind: found.texts}
        if held_back:
            result["held_back"] = found.held_back
        typer.echo(_writable(json.dumps({**result, "notes": notes, "error": error}, ensure_ascii=False)))
        return
    for text in found.texts:
        typer.echo(_writable(f"{name}\t{_row(text)}"))
    if held_back:
        for text in found.held_back:
            typer.echo(_writable(f"{name}\t{_row(text)}\theld back: {text['gate']}"))
    for said in (*notes, *([error] if error else [])):
        stderr().print(plain(said if name in said else f"{name}: {said}"), highlight=False)


def _row(text: Mapping[str, Any]) -> str:
    return f"{text['text']}\t{text['confidence']:.2f}"


def _writable(line: str) -> str:
    """Names of files may be no text; their bytes are written as escapes, which JSON has too."""
    return line.encode("utf-8", "backslashreplace").decode()
