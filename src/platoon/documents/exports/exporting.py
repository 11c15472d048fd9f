"""The forms that a document can have, behind one face: pages go in one after the other and are written as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO, Protocol

from platoon.documents.exports.alto import AltoExport
from platoon.documents.exports.form import Form
from platoon.documents.exports.hocr import HocrExport
from platoon.documents.exports.json_object import JsonExport
from platoon.documents.exports.markdown import FIGURES, MarkdownExport
from platoon.documents.exports.pdf import OverlaidPdf, PicturePdf
from platoon.documents.exports.plain import TextExport
from platoon.documents.page import Page
from platoon.errors import DeadlineExceeded, InvalidInput
from platoon.media.frame import Pixels


class Export(Protocol):
    """Writes a document."""

    def add(self, page: Page, picture: Pixels, /) -> None:
        """Take the next page and the picture that its boxes are of, which is empty where it could not be drawn."""

    def finish(self) -> None:
        """Write what follows the last page."""


@contextmanager
def exporting(
    form: Form,
    out: BinaryIO,
    *,
    name: str,
    source: bytes | None = None,
    attach: Callable[[str, bytes], object] | None = None,
    figures: str = FIGURES,
) -> Iterator[Export]:
    """An export into `out`, which is whole once the context ends without an error.

    Args:
        name: of the document, as it is shown to readers.
        source: the PDF whose pages are read, for the form PDF: they are kept where else they would become pictures.
        attach: takes the files that go with a text, (path relative to it, bytes): the figures of Markdown.
        figures: the folder of their paths.

    Raises:
        InvalidInput: a part of `source` that is wanted cannot be written again. DeadlineExceeded: not in time.
    """
    with ExitStack() as files:
        export = _export(form, out, files, name=name, source=source, attach=attach, figures=figures)
        yield export
        export.finish()


def _export(
    form: Form,
    out: BinaryIO,
    files: ExitStack,
    *,
    name: str,
    source: bytes | None,
    attach: Callable[[str, bytes], object] | None,
    figures: str,
) -> Export:
    match form:
        case Form.MARKDOWN:
            return MarkdownExport(out, attach, figures=figures)
        case Form.JSON:
            return JsonExport(out, name=name)
        case Form.TEXT:
            return TextExport(out)
        case Form.HOCR:
            return HocrExport(out, name=name)
        case Form.ALTO:
            return AltoExport(out, name=name)
        case Form.PDF:
            if source is not None:
                # It may be damaged in a way that could be drawn but not taken apart.
                with suppress(InvalidInput, DeadlineExceeded):
                    overlaid = OverlaidPdf(out, source)
                    files.callback(overlaid.close)
                    return overlaid
            return PicturePdf(out, files)
