"""Reading query text: positions, symbols, string literals."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import QuerySyntaxError, QueryTooLarge
from federation_core.labels import quote
from federation_core.scanner import MAX_QUERY_CHARS, Scanner


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_quote_prints_is_read_back(text: str) -> None:
    scanner = Scanner(f" {quote(text)} ")
    assert scanner.string("a text") == text
    assert scanner.at_end


def test_half_of_a_surrogate_pair_is_refused_with_its_place() -> None:
    with pytest.raises(QuerySyntaxError, match="line 2, column 4: half of a surrogate pair"):
        Scanner("{}\n|=`\ud800`")


def test_the_first_symbol_that_fits_is_taken_and_none_moves_nothing() -> None:
    scanner = Scanner("  >=5")
    assert scanner.take("=", "<") == ""
    assert scanner.take(">=", ">") == ">="
    assert scanner.match(re.compile("[a-z]+")) == ""
    assert scanner.match(re.compile("[0-9]+")) == "5"
    assert scanner.at_end


def test_peek_does_not_move() -> None:
    scanner = Scanner(" abc")
    assert (scanner.peek(), scanner.peek(2), scanner.take("abc")) == ("a", "ab", "abc")


@pytest.mark.parametrize(
    ("text", "position", "line", "column"),
    [("", 0, 1, 1), ("abc", 2, 1, 3), ("a\nbc", 2, 2, 1), ("a\nbc\n", 4, 2, 3), ("a\n\n\nb", 4, 4, 1)],
)
def test_an_error_says_line_and_column(text: str, position: int, line: int, column: int) -> None:
    error = Scanner(text).error("no", position)
    assert (error.line, error.column) == (line, column)
    assert error.message == f"line {line}, column {column}: no"


@pytest.mark.parametrize(
    "text", ['"', '"a', "`a", '"a\n"', r'"\x4"', r'"\400"', r'"\U00110000"', r'"\udc00"', "a", "'a'"]
)
def test_what_is_no_string_is_refused(text: str) -> None:
    with pytest.raises(QuerySyntaxError):
        Scanner(text).string("a text")


def test_a_text_beyond_all_measure_is_not_read() -> None:
    assert Scanner("x" * MAX_QUERY_CHARS).peek() == "x"
    with pytest.raises(QueryTooLarge) as caught:
        Scanner("x" * (MAX_QUERY_CHARS + 1))
    assert (caught.value.asked, caught.value.allowed) == (MAX_QUERY_CHARS + 1, MAX_QUERY_CHARS)
