"""No pattern that sees what others send takes longer than in proportion to its length, whatever that is."""

import ast
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import platoon
from platoon.api.paddlex import html_table
from platoon.api.paddlex.pipelines.vlm_block_reader import content_of, spotted
from platoon.documents import otsl
from platoon.documents.exports.markdown import escaped
from platoon.documents.read import page_indices
from platoon.errors import PlatoonError

SOURCE = Path(platoon.__file__).parent
CALLS = {"compile", "search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
ELSEWHERE = {
    "redaction.py",  # see test_redaction.py
    "plates/countries.py",  # sees nothing but a file of ours
}
SHORT, LONG = 4_000, 16_000
NEGLIGIBLE_S = 0.004


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """All that stand in the source, also inside functions."""
    for path in sorted(SOURCE.rglob("*.py")):
        if str(path.relative_to(SOURCE)) in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.func.attr in CALLS
            ):
                where = f"{path.relative_to(SOURCE)}:{node.lineno}"
                flags = [
                    part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute) and part.attr.isupper()
                ]
                source = ast.literal_eval(node.args[0])
                if isinstance(source, bytes):  # of which each is a letter here
                    source = source.decode("latin-1")
                yield where, re.compile(source, sum(getattr(re, flag) for flag in flags))


def families(source: str) -> Iterator[Callable[[int], str]]:
    """Texts that may make this pattern try again and again: what it names, followed by much of one kind."""
    words = sorted(set(re.findall(r"[A-Za-z]{2,}=?", source)), key=len)[-6:]
    units = sorted(
        {*re.sub(r"[A-Za-z0-9]", "", source), " ", "\n", "\t", "a", "1", "=", "-", "x\n", "- ", "=\n", "--\n"}
    )
    for unit in units:
        for begin in ("", *words, *(f"{word}=" for word in words), "<td colspan=", "x."):
            yield partial(lambda n, begin, unit: begin + unit * (n // len(unit)) + "\0", begin=begin, unit=unit)
    for word in words:
        yield partial(lambda n, word: word * (n // len(word)), word=word)


def seconds(work: Callable[[str], object], text: str) -> float:
    least = 1e9
    for _ in range(3):
        started = time.thread_time()
        work(text)
        least = min(least, time.thread_time() - started)
        if least < NEGLIGIBLE_S:
            break
    return least


def in_proportion(work: Callable[[str], object], family: Callable[[int], str]) -> bool:
    long_s = seconds(work, family(LONG))
    return long_s < NEGLIGIBLE_S or long_s < 9 * seconds(work, family(SHORT)) + NEGLIGIBLE_S


@pytest.mark.parametrize(("where", "pattern"), [pytest.param(*pair, id=pair[0]) for pair in patterns()])
def test_a_pattern_takes_time_in_proportion(where: str, pattern: re.Pattern[str]) -> None:
    def search(text: str) -> None:
        pattern.fullmatch(text)
        for _ in pattern.finditer(text):
            pass

    for family in families(pattern.pattern):
        assert in_proportion(search, family), f"{where}: {family(60)!r}"


def pages(text: str) -> None:
    with contextlib.suppress(PlatoonError):
        page_indices(text, 1000)


WORK: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "markdown": (escaped, (" ", "--\n", "=\n", "-\n", "- \n", "&a", "_", "<a", "#", "• ", "\n ", "\\")),
    "html tables": (
        html_table.parse,
        ("<td>", "<td", "<table><tr><td colspan=", "<td colspan=1>", "<tr>", "&amp;", "<"),
    ),
    "otsl": (otsl.table_of, ("<fcel>", "<lcel>", "<nl>", "<fcel><nl>", "<ucel><nl>", " ")),
    "what a model says": (lambda text: content_of(f"$${text}x", "formula"), ("$", "$ ", " $", " ")),
    "places": (lambda text: spotted(text, 9, 9), ("<|LOC_1|>", "<|LOC_", "a<|LOC_1|>")),
    "numbers of pages": (pages, ("1-,", "1-9,", "1 ,", "1 -", "1", " ")),
}


@pytest.mark.parametrize("what", WORK)
def test_what_is_made_of_a_text_takes_time_in_proportion(what: str) -> None:
    work, units = WORK[what]
    for unit in units:
        assert in_proportion(work, lambda n, unit=unit: unit * (4 * n // len(unit)) + "x"), repr(unit)  # type: ignore[misc]
