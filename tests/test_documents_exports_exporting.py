import io
import json

import pypdfium2
import pytest

from platoon.documents.exports.exporting import exporting
from platoon.documents.exports.form import Form
from platoon.documents.page import Label
from tests.documents import blank, block, page
from tests.drawn import one_page_pdf

SAID = page(block(Label.TEXT, "what it says"))


@pytest.mark.parametrize("form", Form)
def test_each_form_says_what_the_page_does(form: Form) -> None:
    out = io.BytesIO()
    with exporting(form, out, name="scan.png") as export:
        export.add(SAID, blank())
    if form is Form.PDF:
        assert pypdfium2.PdfDocument(out.getvalue())[0].get_textpage().get_text_range().strip() == "what it says"
    else:
        assert all(word in out.getvalue().decode() for word in SAID.text.split())


def test_each_form_has_a_suffix_and_a_media_type_of_its_own() -> None:
    for values in ({form.suffix for form in Form}, {form.media_type for form in Form}):
        assert len(values) == len(Form)


def test_a_document_that_failed_on_the_way_is_not_finished() -> None:
    out = io.BytesIO()
    with pytest.raises(RuntimeError, match="gone"), exporting(Form.JSON, out, name="scan.png") as export:
        export.add(SAID, blank())
        raise RuntimeError("gone")
    with pytest.raises(json.JSONDecodeError):
        json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("source", "size"), [(one_page_pdf(b"[0 0 200 100]"), (200, 100)), (b"%PDF-1.4 damaged", (300, 400))]
)
def test_pages_of_a_pdf_are_kept_unless_it_is_damaged(source: bytes, size: tuple[int, int]) -> None:
    out = io.BytesIO()
    with exporting(Form.PDF, out, name="scan.pdf", source=source) as export:
        export.add(SAID, blank())
    document = pypdfium2.PdfDocument(out.getvalue())
    assert document[0].get_size() == size
    assert document[0].get_textpage().get_text_range().strip() == "what it says"
