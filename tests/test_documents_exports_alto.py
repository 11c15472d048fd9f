import io
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

from platoon.documents.exports.alto import NAMESPACE, SCHEMA, AltoExport
from platoon.documents.page import Block, Label, Page
from tests.documents import blank, block, line, page

# What an element may hold, and in which order (alto-4-4.xsd).
CHILDREN = {
    "alto": ["Description", "Tags", "Layout"],
    "Description": ["MeasurementUnit", "sourceImageInformation", "Processing"],
    "sourceImageInformation": ["fileName"],
    "Processing": ["processingCategory", "processingSoftware"],
    "processingSoftware": ["softwareName", "softwareVersion"],
    "Tags": ["StructureTag"],
    "Layout": ["Page"],
    "Page": ["TopMargin", "BottomMargin", "PrintSpace"],
    "TextBlock": ["TextLine"],
}
BLOCKS = {"TextBlock", "Illustration"}
NEEDED = {
    "Page": {"ID", "PHYSICAL_IMG_NR"},
    "TextBlock": {"ID"},
    "Illustration": {"ID"},
    "StructureTag": {"ID", "LABEL"},
    "Processing": {"ID"},
    "String": {"CONTENT"},
    "HYP": {"CONTENT"},
}
PLACED = {"PrintSpace", "TopMargin", "BottomMargin", "TextBlock", "Illustration", "TextLine", "String", "SP"}


def exported(*pages: Page, name: str = "scan.pdf") -> Element:
    """The root of a document, after a look at what its schema asks for."""
    out = io.BytesIO()
    export = AltoExport(out, name=name)
    for one in pages:
        export.add(one, blank())
    export.finish()
    root = fromstring(out.getvalue())
    for element in root.iter():
        check(element)
    ids = [element.get("ID") for element in root.iter() if element.get("ID")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        assert set(element.get("TAGREFS", "title").split()) <= set(ids)
    return root


def check(element: Element) -> None:
    kind, children = tag(element), [tag(child) for child in element]
    assert NEEDED.get(kind, set()) <= set(element.attrib), kind
    if kind in PLACED:
        assert all(float(element.get(side, "")) >= 0 for side in ("WIDTH", "HEIGHT")), element.attrib
        assert {"HPOS", "VPOS"} <= set(element.attrib)
    if kind in CHILDREN:
        order = CHILDREN[kind]
        assert [order.index(child) for child in children] == sorted(order.index(child) for child in children)
    elif kind in ("PrintSpace", "TopMargin", "BottomMargin"):
        assert children
        assert set(children) <= BLOCKS
    elif kind == "TextLine":
        words = children[:-1] if children[-1] == "HYP" else children
        assert words[0::2] == ["String"] * len(words[0::2])
        assert words[1::2] == ["SP"] * len(words[1::2])
        assert words[-1] == "String"
    else:
        assert not children, kind


def tag(element: Element) -> str:
    assert element.tag.startswith(f"{{{NAMESPACE}}}")
    return element.tag.partition("}")[2]


def of_kind(root: Element, kind: str) -> Iterator[Element]:
    return root.iter(f"{{{NAMESPACE}}}{kind}")


def test_a_document_says_what_it_is() -> None:
    root = exported(page(), name="<scan>.pdf")
    assert root.get("{http://www.w3.org/2001/XMLSchema-instance}schemaLocation") == f"{NAMESPACE} {SCHEMA}"
    assert [element.text for element in of_kind(root, "MeasurementUnit")] == ["pixel"]
    assert [element.text for element in of_kind(root, "fileName")] == ["<scan>.pdf"]


def test_headers_and_footers_stand_in_the_margins() -> None:
    blocks = (block(Label.HEADER, "Chapter"), block(Label.TEXT, "said", top=300), block(Label.FOOTER, "7", top=700))
    root = exported(page(*blocks))
    said = {
        space: [string.get("CONTENT") for found in of_kind(root, space) for string in of_kind(found, "String")]
        for space in ("TopMargin", "PrintSpace", "BottomMargin")
    }
    assert said == {"TopMargin": ["Chapter"], "PrintSpace": ["said"], "BottomMargin": ["7"]}


def test_every_label_is_written_as_a_tag() -> None:
    blocks = [block(label, "said") for label in Label]
    tags = [element.get("TAGREFS") for element in of_kind(exported(page(*blocks)), "TextBlock")]
    assert sorted(map(str, tags)) == sorted(label.value for label in Label)


def test_words_have_their_positions_confidences_and_the_blanks_between() -> None:
    made = block(Label.TEXT, "one two")
    root = exported(page(made))
    assert [dict(string.items()) for string in of_kind(root, "String")] == [
        {"CONTENT": "one", "HPOS": "50", "VPOS": "100", "WIDTH": "30", "HEIGHT": "20", "WC": "0.9000"},
        {"CONTENT": "two", "HPOS": "90", "VPOS": "100", "WIDTH": "30", "HEIGHT": "20", "WC": "0.9000"},
    ]
    assert [dict(space.items()) for space in of_kind(root, "SP")] == [
        {"HPOS": "80", "VPOS": "100", "WIDTH": "10", "HEIGHT": "20"}
    ]


def test_a_word_divided_at_the_end_of_a_line_is_written_whole() -> None:
    lines = (line("the divi-", 50, 100), line("ded well-", 50, 130), line("known word", 50, 160))
    made = Block(Label.TEXT, (50, 100, 300, 180), 1.0, lines, "the divided well-known word")
    root = exported(page(made))
    words = [(word.get("CONTENT"), word.get("SUBS_TYPE"), word.get("SUBS_CONTENT")) for word in of_kind(root, "String")]
    assert words == [
        ("the", None, None), ("divi", "HypPart1", "divided"), ("ded", "HypPart2", "divided"), ("well-", None, None),
        ("known", None, None), ("word", None, None),
    ]  # fmt: skip
    assert [element.get("CONTENT") for element in of_kind(root, "HYP")] == ["-"]


def test_a_figure_is_an_illustration_beside_its_words() -> None:
    root = exported(page(block(Label.FIGURE, "axis"), block(Label.FIGURE)))
    (space,) = of_kind(root, "PrintSpace")
    assert [tag(child) for child in space] == ["Illustration", "TextBlock", "Illustration"]


def test_a_page_that_could_not_be_read_says_why() -> None:
    root = exported(Page(0, (0, 0), 1.0, (), error='"damaged" & <torn>'), page(index=1))
    first, second = of_kind(root, "Page")
    assert (first.get("QUALITY"), first.get("QUALITY_DETAIL")) == ("Damaged", '"damaged" & <torn>')
    assert second.get("QUALITY") is None
    assert (second.get("PHYSICAL_IMG_NR"), second.get("WIDTH"), second.get("HEIGHT")) == ("2", "600", "800")


def test_words_are_text_and_never_markup() -> None:
    root = exported(page(block(Label.TEXT, 'a"><b> &amp; \x02')))
    assert [string.get("CONTENT") for string in of_kind(root, "String")] == ['a"><b>', "&amp;", "\ufffd"]
