"""Cursors: what they open, and that nothing else opens."""

from __future__ import annotations

import pytest

from federation_core.errors import InvalidRequest
from webapp.cursors import Page, cut, read_cursor, write_cursor

KEY = b"k" * 32
OTHER = b"o" * 32


def key(*, afresh: bool = False) -> bytes:
    return KEY


def test_a_cursor_opens_the_page_it_was_written_for() -> None:
    page = Page(4_000_000_000, 5_000)
    assert read_cursor(write_cursor(page, "acme", "q1", key), "acme", "q1", key) == page


@pytest.mark.parametrize(("tenant_id", "query_id"), [("bank", "q1"), ("acme", "q2"), ("acmeq", "1"), ("", "acmeq1")])
def test_a_cursor_is_one_tenants_and_one_querys(tenant_id: str, query_id: str) -> None:
    text = write_cursor(Page(10, 10), "acme", "q1", key)
    with pytest.raises(InvalidRequest):
        read_cursor(text, tenant_id, query_id, key)


def test_no_character_of_a_cursor_can_be_changed() -> None:
    text = write_cursor(Page(10, 10), "acme", "q1", key)
    for at, was in enumerate(text):
        altered = text[:at] + ("A" if was != "A" else "B") + text[at + 1 :]
        with pytest.raises(InvalidRequest):
            read_cursor(altered, "acme", "q1", key)


@pytest.mark.parametrize("text", ["", "0", "AAAA", "é", "=" * 32, "A" * 32, "A" * 100_000, "a b", "../../x", "\x00"])
def test_what_is_no_cursor_is_the_callers_mistake(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_cursor(text, "acme", "q1", key)
    assert caught.value.field == "cursor"
    assert "unchanged" in caught.value.expected


def test_a_cursor_of_a_key_we_have_not_heard_of_is_opened_with_the_key_read_afresh() -> None:
    text = write_cursor(Page(10, 10), "acme", "q1", lambda **_: OTHER)
    assert read_cursor(text, "acme", "q1", lambda afresh=False: OTHER if afresh else KEY) == Page(10, 10)


def test_pages_are_the_rows_in_their_own_order_and_end() -> None:
    seen, page = [], Page(0, 3)
    while page is not None:
        body = {"entries": list(range(8))}
        page = cut(body, page)
        seen.append(body["entries"])
    assert seen == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_a_page_that_ends_with_the_rows_is_the_last() -> None:
    assert cut({"traces": [1, 2]}, Page(0, 2)) is None


def test_a_scalar_is_one_page() -> None:
    body = {"resultType": "scalar", "result": [1, "2"]}
    assert cut(body, Page(0, 1)) is None
    assert body["result"] == [1, "2"]
