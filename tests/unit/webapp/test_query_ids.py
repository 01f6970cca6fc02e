"""Names of queries."""

from __future__ import annotations

from webapp.query_ids import is_query_id, new_query_id


def test_ids_sort_as_they_were_made() -> None:
    ids = [new_query_id("eu-west-1", now_ms) for now_ms in (0, 1, 2**40, 2**48 - 1)]
    assert ids == sorted(ids)
    assert all(is_query_id(query_id) for query_id in ids)


def test_two_ids_of_one_moment_differ() -> None:
    assert len({new_query_id("local", 7) for _ in range(1000)}) == 1000


def test_an_id_says_its_region() -> None:
    assert new_query_id("eu-west-1", 0).startswith("q-eu-west-1-0000000000")


def test_what_cannot_be_an_id_is_told() -> None:
    good = new_query_id("local", 0)
    for text in ("", good[:-1], good + "0", good.upper(), good + "\n", "q--" + good[-26:], good.replace("q-", "x-")):
        assert not is_query_id(text), text
