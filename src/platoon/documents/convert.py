"""Documents in files to files of other forms: what `platoon read --document` does.

Each document is read once for all forms, page by page. A file appears under its name when it is whole; a document that
fails leaves nothing behind but its error, and the rest goes on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from PIL import Image

from platoon.documents.exports.exporting import Export, exporting
from platoon.documents.exports.form import Form
from platoon.documents.exports.overlay import overlay
from platoon.documents.layout import LayoutModel
from platoon.documents.read import DocumentReader, Options, ReadPage
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput, InvalidSettings, NotFound, PlatoonError
from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.ocr.pages import Kind
from platoon.ocr.picture import MAX_PIXELS
from platoon.settings import Settings

SUFFIXES = frozenset({".pdf", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".heic", ".heif"})
"""Of the files that are read where a folder is named."""
MAX_PAGES = 100_000
PAGE_S = 60.0
"""No page of a PDF may take longer to be drawn."""


@dataclass
class Outcome:
    """What became of a document."""

    path: Path
    written: list[Path] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Why it, or which of its pages, could not be read or written."""


@contextmanager
def open_reader(settings: Settings) -> Iterator[DocumentReader]:
    """Reads documents with models of its own, which are loaded when first needed."""
    metrics = Metrics()
    with ExitStack() as stack:
        engine = stack.enter_context(TextEngine(settings.engine, settings.cache, metrics))
        layout = LayoutModel(settings.engine, settings.cache, metrics, engine.gates, path=settings.documents.layout)
        stack.callback(layout.close)
        yield DocumentReader(engine, layout, max_pages=MAX_PAGES, max_pixels=MAX_PIXELS, page_s=PAGE_S)


def documents(paths: Iterable[Path]) -> list[Path]:
    """The files that `paths` name, each once: files, folders, for the documents right in them, and patterns such as
    `**/*.pdf`. What names none stays as it is, and fails when it is read.
    """
    found: dict[Path, None] = {}
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        elif not path.exists() and set("*?[") & set(str(path)):
            pattern = str(path.relative_to(path.anchor))
            files = sorted(file for file in Path(path.anchor).glob(pattern) if file.is_file())
        found.update(dict.fromkeys(files or [path]))
    return list(found)


class Converter:
    """Turns documents into files, one after the other.

    Args:
        inputs: all documents; none of them is ever overwritten.
        forms: what each becomes.
        folder: of these files, made if there is none.
        figures: put the figures of Markdown beside it, rather than their words into it.
        overlay: a picture file for the pages with what was found drawn on them; if more than one page is read, the
            page's number is put before its suffix.

    Raises:
        InvalidSettings: `overlay` is the name of no kind of picture.
    """

    def __init__(
        self,
        reader: DocumentReader,
        options: Options,
        inputs: Iterable[Path],
        *,
        forms: Sequence[Form],
        folder: Path,
        figures: bool = True,
        overlay: Path | None = None,
    ) -> None:
        self._reader, self._options, self._forms, self._folder = reader, options, forms, folder
        self._figures, self._overlay = figures, overlay
        self._inputs = frozenset(path.resolve() for path in inputs)
        self._taken = set[str]()
        if overlay is not None and overlay.suffix.lower() not in Image.registered_extensions():
            raise InvalidSettings(f"{overlay} is the name of no kind of picture; take one such as {overlay.stem}.png")

    def convert(self, path: Path, *, on_page: Callable[[int, int], object] = lambda _done, _total: None) -> Outcome:
        """Read a document and write its forms; `on_page` hears how many pages are done, and of how many."""
        outcome = Outcome(path)
        try:
            with Drafts() as drafts:
                self._convert(path, drafts, outcome.errors, on_page)
            outcome.written += drafts.published
        except PlatoonError as error:
            outcome.errors.append(str(error))
        except OSError as error:
            outcome.errors.append(f"it cannot be written: {error.strerror or error}")
        return outcome

    def _convert(self, path: Path, drafts: Drafts, errors: list[str], on_page: Callable[[int, int], object]) -> None:
        data = _bytes_of(path)
        with (
            RequestContext(Priority.BULK) as call,
            self._reader.open(data, self._options, call) as document,
            ExitStack() as stack,
        ):
            # Whoever wants the text of a PDF ignored does not want to find it again beside what was read.
            kept = document.kind is Kind.PDF and self._options.text_layer != "ignore"
            exports = [stack.enter_context(export) for export in self._exports(path, data if kept else None, drafts)]
            for done, read in enumerate(document, 1):
                if read.page.error is not None:
                    errors.append(f"page {read.page.index + 1}: {read.page.error}")
                for export in exports:
                    export.add(read.page, read.picture)
                if self._overlay is not None and read.picture.size:
                    _draw(self._overlay, read, drafts, alone=len(document.indices) == 1)
                on_page(done, len(document.indices))

    def _exports(self, path: Path, source: bytes | None, drafts: Drafts) -> Iterator[AbstractContextManager[Export]]:
        stem = self._stem(path)

        def attach(name: str, data: bytes) -> None:
            with drafts.open(self._folder / name) as file:
                file.write(data)

        for form in self._forms:
            yield exporting(
                form,
                drafts.open(self._folder / (stem + form.suffix)),
                name=path.name,
                source=source,
                attach=attach if self._figures else None,
                figures=f"{stem}-figures",
            )

    def _stem(self, path: Path) -> str:
        """Of the names of what a document becomes: its own, unless another one has that already."""
        for number in count(1):
            stem = path.stem if number == 1 else f"{path.stem}-{number}"
            files = {(self._folder / (stem + form.suffix)).resolve() for form in self._forms}
            if stem.casefold() not in self._taken and not files & self._inputs:
                break
        self._taken.add(stem.casefold())
        return stem


class Drafts:
    """Files that appear under their names when the context ends without an error; otherwise nothing is left of them.

    Raises:
        OSError: they cannot be written.
    """

    def __init__(self) -> None:
        self._files: list[tuple[BinaryIO, Path, Path]] = []
        self.published: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for file, draft, path in self._files:
                file.close()
                if kind is None:
                    draft.replace(path)
                    self.published.append(path)
        finally:
            for _, draft, _ in self._files:
                draft.unlink(missing_ok=True)

    def open(self, path: Path) -> BinaryIO:
        """A file that will be `path`, in a folder which is made if there is none. It may be closed by anybody."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        file = draft.open("w+b")
        self._files.append((file, draft, path))
        return file


def _bytes_of(path: Path) -> bytes:
    if path.is_dir():
        raise NotFound("it is a folder without documents")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound("it does not exist") from error
    except OSError as error:
        raise InvalidInput(f"it cannot be read: {error.strerror}") from error


def _draw(path: Path, read: ReadPage, drafts: Drafts, *, alone: bool) -> None:
    if not alone:
        path = path.with_stem(f"{path.stem}-{read.page.index + 1}")
    with drafts.open(path) as file:
        kind = Image.registered_extensions()[path.suffix.lower()]
        Image.fromarray(overlay(read.page, read.picture)).save(file, kind)
