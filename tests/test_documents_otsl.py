import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.documents.exports.tables import to_html
from platoon.documents.otsl import is_otsl, table_of


@pytest.mark.parametrize(
    ("otsl", "html"),
    [
        ("<fcel>a<fcel>b<nl><fcel>1<ecel><nl>", "<tr><td>a</td><td>b</td></tr><tr><td>1</td><td></td></tr>"),
        ("<fcel>a<lcel><nl><fcel>1<fcel>2", '<tr><td colspan="2">a</td></tr><tr><td>1</td><td>2</td></tr>'),
        ("<fcel>a<fcel>b<nl><ucel><fcel>2<nl>", '<tr><td rowspan="2">a</td><td>b</td></tr><tr><td>2</td></tr>'),
        ("<fcel>a<lcel><nl><ucel><xcel><nl>", '<tr><td rowspan="2" colspan="2">a</td></tr><tr></tr>'),
        ("<fcel>a<fcel>b<nl><fcel>c<nl>", "<tr><td>a</td><td>b</td></tr><tr><td>c</td><td></td></tr>"),
        ("<lcel><ucel><nl>", "<tr><td></td><td></td></tr>"),
        ("<fcel> x &lt; <b>y</b> <nl>", "<tr><td>x &amp;lt; &lt;b&gt;y&lt;/b&gt;</td></tr>"),
    ],
)
def test_tokens_become_cells(otsl: str, html: str) -> None:
    table = table_of(otsl)
    assert table is not None
    assert to_html(table) == f"<table>{html}</table>"


@pytest.mark.parametrize("text", ["", "a | b", "<nl><nl>", "<fcel>" * 400 + "<nl><fcel>" * 400])
def test_what_is_no_table_is_none(text: str) -> None:
    assert table_of(text) is None


def test_words_about_a_table_are_none() -> None:
    assert is_otsl("<fcel>a<nl>")
    assert not is_otsl("The table says a.")


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(["<fcel>a", "<ecel>", "<lcel>", "<ucel>", "<xcel>", "<nl>"]), min_size=1, max_size=30))
def test_every_place_of_the_grid_belongs_to_one_cell(tokens: list[str]) -> None:
    table = table_of("".join(tokens))
    if table is None:
        assert set(tokens) == {"<nl>"}
        return
    places = [
        (cell.row + down, cell.column + right)
        for cell in table.cells
        for down in range(cell.rows)
        for right in range(cell.columns)
    ]
    assert sorted(places) == [(row, column) for row in range(table.rows) for column in range(table.columns)]
