"""What `platoon read` does: files go through one loaded engine, and what failed is told at the end."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer

from platoon.documents.convert import Converter, documents, open_reader
from platoon.documents.exports.form import Form
from platoon.documents.read import Options
from platoon.errors import InvalidSettings
from platoon.recorded import FileReader
from platoon.settings import Settings
from platoon.terminal import bars, plain, stderr


def read_files(paths: Sequence[Path], settings: Settings, *, plates: bool, as_json: bool) -> None:
    """Print the text, or the plates, of pictures and clips.

    Raises:
        typer.Exit: some could not be read.
    """
    failed = 0
    with FileReader(settings, plates=plates) as reader, bars() as progress:
        task = progress.add_task("reading", total=len(paths), visible=len(paths) > 1)
        for path in paths:
            clip = progress.add_task(path.name, total=None, visible=False)

            def on_frame(done: int, total: int | None, clip: Any = clip) -> None:
                progress.update(clip, completed=done, total=total, visible=True)

            result = reader.read(path, on_frame=on_frame)
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


def _print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    if result["error"] is not None:
        stderr().print(f"{result['path']}: {plain(result['error'])}", highlight=False)
        return
    for found in result.get("plates", result.get("lines", ())):
        typer.echo(f"{result['path']}\t{found['text']}\t{found['confidence']:.2f}")
