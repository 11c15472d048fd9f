"""What `platoon read` does with documents: they go through one loaded engine, and what failed is listed at the end."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import typer

from platoon.documents.convert import Converter, documents, open_reader
from platoon.documents.exports.form import Form
from platoon.documents.read import Options
from platoon.errors import InvalidSettings
from platoon.settings import Settings
from platoon.terminal import bars, plain, stderr


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
