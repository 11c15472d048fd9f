import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.api.paddlex.html_table import joined, parse
from platoon.documents.exports.tables import to_html
from tests.pages import table

TEXTS = st.text("ab<>&\"' é", max_size=6)


def grids(columns: int) -> st.SearchStrategy[list[list[str]]]:
    return st.lists(st.lists(TEXTS, min_size=columns, max_size=columns), min_size=1, max_size=5)


def texts(source: str) -> list[tuple[str, ...]]:
    found = parse(source)
    assert found is not None
    return [row.texts for row in found.rows]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5).flatmap(grids))
def test_what_platoon_writes_is_read_back(rows: list[list[str]]) -> None:
    source = to_html(table(rows, (0, 0, 500, 500)))
    found = parse(source)
    assert found is not None
    assert (found.html, found.columns) == (source, len(rows[0]))
    assert [list(row.texts) for row in found.rows] == [[" ".join(text.split()) for text in row] for row in rows]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4).flatmap(lambda columns: st.tuples(grids(columns), grids(columns))))
def test_one_below_the_other_has_all_rows_of_both(both: tuple[list[list[str]], list[list[str]]]) -> None:
    upper, lower = (parse(to_html(table(rows, (0, 0, 500, 500)))) for rows in both)
    assert upper is not None
    assert lower is not None
    whole = parse(joined([upper, lower]))
    assert whole is not None
    left = len(upper.rows) + len(lower.rows) - len(whole.rows)
    assert left in (0, 1)
    assert not left or upper.rows[0].texts == lower.rows[0].texts
    assert whole.rows[: len(upper.rows)] == upper.rows


def test_rows_are_put_inside_the_body_of_the_table_above() -> None:
    upper = parse("<html><table border=1><thead><tr><th>n</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>")
    lower = parse("<table><thead><tr><th>N</th></tr></thead><tbody><tr><td>2</td></tr></tbody></table>")
    assert upper is not None
    assert lower is not None
    assert joined([upper, lower]) == (
        "<html><table border=1><thead><tr><th>n</th></tr></thead>"
        "<tbody><tr><td>1</td></tr><tr><td>2</td></tr></tbody></table>"
    )


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ("<tr><td colspan=2>a<td>b</tr>", 3),
        ("<tr><td rowspan='2'>a</td><td>b</td></tr><tr><td>c</td></tr>", 2),
        ("<tr><td>a</td></tr><tr><td>b</td><td>c</td></tr>", 2),
        ('<tr><td colspan="0">a</td></tr>', 1),
        ('<tr><td rowspan="3">a</td><td rowspan="3">b</td></tr><tr><td>c</td></tr>', 3),
        ('<tr><td colspan="999999999">a</td><td>b</td></tr>', 0),
    ],
)
def test_columns_are_those_of_the_grid(rows: str, columns: int) -> None:
    found = parse(f"<table>{rows}</table>")
    assert found is not None
    assert found.columns == columns


def test_end_tags_may_be_missing() -> None:
    assert texts("<TABLE><TR><TD>a<TD>b<TR><TH>c &amp; <b>d</b></TABLE>") == [("a", "b"), ("c & d",)]
    assert texts("<table><tr><td>a") == [("a",)]


@pytest.mark.parametrize(
    "source", ["", "a | b", "<table></table>", "<table><tr><td><table><tr><td>x</table></table>", "<tr><td>a</tr>"]
)
def test_what_is_not_one_table_is_none(source: str) -> None:
    assert parse(source) is None


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from(["<table", "<tr", "<td ", "colspan=9", "</tr>", ">", "x", "</table>", "<"]), max_size=40)
)
def test_whatever_is_written_is_parsed_or_none(pieces: list[str]) -> None:
    found = parse("".join(pieces))
    assert found is None or found.columns >= 0


def test_hostile_tables_are_given_up_soon() -> None:
    for source in ("<table>" + "<tr" * 300_000, "<table><tr>" + "<td colspan=1000 rowspan=65534>" * 20_000):
        found = parse(source)
        assert found is None or found.columns == 0
