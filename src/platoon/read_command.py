"""What `platoon read` does: files go through one loaded engine, and what failed is listed at the end."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer

from platoon.documents.convert import Converter, documents, open_reader
from platoon.documents.exports.form import Form
from platoon.documents.read import Options
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput, InvalidSettings, PlatoonError
from platoon.media.failures import SourceError
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.picture import load_picture
from platoon.plates import open_engine
from platoon.plates.engine import PlateEngine
from platoon.plates.grammar import Grammar
from platoon.plates.recorded import read_clip, read_picture
from platoon.reader import Reader
from platoon.settings import Settings
from platoon.terminal import bars, plain, stderr

CLIPS = frozenset({".mp4", ".mkv", ".mov", ".avi", ".ts", ".m4v", ".webm", ".mpg", ".mpeg", ".h264", ".264", ".flv"})
"""How the names of clips end; other files are pictures."""

OnFrame = Callable[[int, int | None], None]
"""Hears of a clip's progress: frames done, and how many there are."""
Found = tuple[list[dict[str, Any]], SourceError | None]
"""What a file says, and why a clip ended before its time if it did."""


def read_files(paths: Sequence[Path], settings: Settings, *, plates: bool, as_json: bool) -> None:
    """Print the text, or the plates, of pictures and clips.

    Raises:
        typer.Exit: some could not be read.
    """
    failed = 0
    metrics = Metrics()
    with open_engine(settings, metrics) as engine, bars() as progress:
        read = _plates(engine, settings, metrics) if plates else _lines(engine, settings)
        task = progress.add_task("reading", total=len(paths), visible=len(paths) > 1)
        for path in paths:
            clip = progress.add_task(path.name, total=None, visible=False)

            def on_frame(done: int, total: int | None, clip: Any = clip) -> None:
                progress.update(clip, completed=done, total=total, visible=True)

            result = {"path": str(path), **_outcome(read, path, on_frame, name="plates" if plates else "lines")}
            progress.remove_task(clip)
            failed += result["error"] is not None
            _print_result(result, as_json=as_json)
            progress.advance(task)
    if failed:
        stderr().print(f"{failed} of {len(paths)} could not be read", highlight=False)
        raise typer.Exit(1)


def read_documents(
    paths: Sequence[Path],
    settings: Settings,
    options: Options,
    *,
    forms: Sequence[Form],
    folder: Path | None,
    overlay: Path | None,
) -> None:
    """Write documents in other forms into a folder, or print one form of one document.

    Args:
        forms: what each becomes; none: Markdown, unless an overlay is all that is wanted.
        overlay: see `Converter`.

    Raises:
        InvalidSettings: the places do not fit what shall be written.
        typer.Exit: some documents, or pages of them, could not be read.
    """
    found = documents(paths)
    if not forms and overlay is None:
        forms = [Form.MARKDOWN]
    if folder is None and (len(forms) > 1 or (forms and len(found) > 1)):
        raise InvalidSettings("several files would be written; say into which folder with --out")
    if overlay is not None and len(found) > 1:
        raise InvalidSettings(f"--overlay takes one document, and these are {len(found)}")
    failures: list[str] = []
    with ExitStack() as stack:
        target = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        reader = stack.enter_context(open_reader(settings))
        converter = Converter(
            reader, options, found, forms=forms, folder=target, figures=folder is not None, overlay=overlay
        )
        progress = stack.enter_context(bars())
        task = progress.add_task("documents", total=len(found), visible=len(found) > 1)
        for path in found:
            pages = progress.add_task(plain(path.name), total=None)

            def on_page(done: int, total: int, pages: Any = pages) -> None:
                progress.update(pages, completed=done, total=total)

            outcome = converter.convert(path, on_page=on_page)
            progress.remove_task(pages)
            progress.advance(task)
            failures += [f"{path}: {error}" for error in outcome.errors]
            for written in outcome.written:
                if written.is_relative_to(target) and folder is None:
                    sys.stdout.buffer.write(written.read_bytes())
                else:
                    typer.echo(written, err=folder is None)
        sys.stdout.flush()
    for failure in failures:
        stderr().print(plain(failure), highlight=False)
    if failures:
        raise typer.Exit(1)


def _lines(engine: TextEngine, settings: Settings) -> Callable[[Path, OnFrame], Found]:
    """Reads the text of a file."""
    reader = Reader(engine)

    def read(path: Path, on_frame: OnFrame) -> Found:
        if path.suffix.lower() in CLIPS:
            lines, broken = reader.read_clip(path, settings.source, on_frame=on_frame)
            return [line.to_json() for line in lines], broken
        return [line.to_json() for line in reader.read([path])[0].lines], None

    return read


def _plates(engine: PlateEngine, settings: Settings, metrics: Metrics) -> Callable[[Path, OnFrame], Found]:
    """Reads the plates in a file."""
    grammar = Grammar(settings.plates.countries)

    def read(path: Path, on_frame: OnFrame) -> Found:
        if path.suffix.lower() in CLIPS:
            plates, broken = read_clip(path, engine, settings, grammar, metrics, on_frame=on_frame)
            return [plate.to_json() for plate in plates], broken
        with RequestContext(Priority.BULK) as call:
            plates = read_picture(engine, load_picture(path), settings.plates, grammar, call)
        return [plate.to_json() for plate in plates], None

    return read


def _outcome(read: Callable[[Path, OnFrame], Found], path: Path, on_frame: OnFrame, *, name: str) -> dict[str, Any]:
    """`{name: what was found, error}`; a file that fails says so in its own."""
    found: list[dict[str, Any]] = []
    error: PlatoonError | None = None
    try:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder; name the files in it, as in {path / '*.jpg'}")
        found, error = read(path, on_frame)
    except PlatoonError as failure:
        error = failure
    return {name: found, "error": None if error is None else str(error)}


def _print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    if result["error"] is not None:
        stderr().print(f"{result['path']}: {plain(result['error'])}", highlight=False)
        return
    for found in result.get("plates", result.get("lines", ())):
        typer.echo(f"{result['path']}\t{found['text']}\t{found['confidence']:.2f}")
