import io
import json

from platoon.documents.exports.json_object import JsonExport
from platoon.documents.exports.plain import TextExport
from platoon.documents.page import Label, Page
from tests.documents import NUMBERS, blank, block, page

PAGES = [
    page(block(Label.HEADER, "Chapter"), block(Label.TITLE, "Grüße"), block(Label.TEXT, "one", "two"), index=0),
    page(index=1, error='the page is "damaged"'),
    page(block(Label.TABLE, "a 1", table=NUMBERS), index=2),
]


def text_of(*pages: Page) -> str:
    out = io.BytesIO()
    export = TextExport(out)
    for one in pages:
        export.add(one, blank())
    export.finish()
    return out.getvalue().decode()


def test_a_text_has_a_form_feed_between_pages_and_no_headers() -> None:
    assert text_of(*PAGES) == "Grüße\n\none two\n\f\fa 1\n"


def test_a_text_holds_no_characters_that_no_text_may_hold() -> None:
    assert text_of(page(block(Label.TEXT, "a\x00\x0c\ud800"))) == "a\ufffd\ufffd\ufffd\n"


def test_a_json_object_holds_the_pages_whole() -> None:
    out = io.BytesIO()
    export = JsonExport(out, name='the "report" \udc80.pdf')
    for one in PAGES:
        export.add(one, blank())
    export.finish()
    document = json.loads(out.getvalue())
    assert document["name"] == 'the "report" ?.pdf'
    assert [Page.from_json(tree) for tree in document["pages"]] == PAGES


def test_a_json_object_without_pages_is_one() -> None:
    out = io.BytesIO()
    JsonExport(out, name="x").finish()
    assert json.loads(out.getvalue()) == {"name": "x", "pages": []}
