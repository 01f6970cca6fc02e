"""A search in a store that stops at its limit: exact where that can be known, and said where it cannot."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.trace_search import MOST_SEARCHES, NS_PER_S, SearchAnswer, StretchedSearch, TraceAnswer
from federation_core.query import Direction
from federation_core.signals.traces.expr import SpanSearch
from federation_core.signals.traces.payload import Span, TracePart

Order = Callable[[list[str], dict[str, list[int]]], list[str]]


def newest_first(ids: list[str], starts: dict[str, list[int]]) -> list[str]:
    return sorted(ids, key=lambda i: min(starts[i]), reverse=True)


def oldest_first(ids: list[str], starts: dict[str, list[int]]) -> list[str]:
    return sorted(ids, key=lambda i: min(starts[i]))


def by_chance(ids: list[str], starts: dict[str, list[int]]) -> list[str]:
    return random.Random(len(ids)).sample(ids, len(ids))


class Store:
    """Traces as lists of start times in ns; a search finds those that touch its seconds."""

    def __init__(self, starts: Sequence[Sequence[int]], order: Order) -> None:
        self.starts = {f"{number:032x}": list(of) for number, of in enumerate(starts, 1)}
        self.order, self.asked, self.fetched = order, list[tuple[int, int, int]](), list[str]()

    def find(self, start_s: int, end_s: int, limit: int) -> SearchAnswer:
        self.asked.append((start_s, end_s, limit))
        there = [
            i for i, of in self.starts.items() if min(of) < (end_s + 1) * NS_PER_S and max(of) >= start_s * NS_PER_S
        ]
        found = self.order(there, self.starts)[:limit]
        return SearchAnswer(tuple(found), len(found) >= limit)

    def fetch(self, ids: Sequence[str]) -> list[TraceAnswer]:
        self.fetched += ids
        return [TraceAnswer(TracePart(i, tuple(self.spans(i)))) for i in ids]

    def spans(self, trace_id: str) -> list[Span]:
        return [Span(trace_id, f"{n:016x}", "", "op", "web", at, 1) for n, at in enumerate(self.starts[trace_id], 1)]

    def run(
        self,
        window_s: tuple[int, int],
        limit: int,
        direction: Direction = "backward",
        longest_s: int = 2**40,
        most: int = 10_000,
    ) -> tuple[list[str], bool, str]:
        window_ns = (window_s[0] * NS_PER_S, window_s[1] * NS_PER_S)
        search = StretchedSearch("Tempo", SpanSearch(), window_ns, direction, limit, longest_s, most)
        found, cut = search.run(self.find, self.fetch)
        return [part.trace_id for part in found.parts], found.more, cut

    def truth(self, window_s: tuple[int, int], direction: Direction) -> list[str]:
        low, high = (second * NS_PER_S for second in window_s)
        first = max if direction == "backward" else min
        keys = [
            (first(inside), i) for i, of in self.starts.items() if (inside := [at for at in of if low <= at < high])
        ]
        return [i for _, i in sorted(keys, reverse=direction == "backward")]


def test_a_store_that_holds_less_than_the_limit_is_asked_once() -> None:
    store = Store([[5 * NS_PER_S], [6 * NS_PER_S]], newest_first)
    assert store.run((0, 100), 2)[1:] == (False, "")
    assert store.asked == [(0, 100, 3)]


@pytest.mark.parametrize("order", [newest_first, oldest_first, by_chance])
def test_a_full_answer_is_made_exact_in_a_few_searches(order: Order) -> None:
    store = Store([[second * NS_PER_S] for second in range(3600)], order)
    found, more, cut = store.run((0, 3600), 20)
    assert (found, more, cut) == (store.truth((0, 3600), "backward")[:20], True, "")
    assert (len(store.asked), len(store.fetched)) == (6, 35)


def test_a_second_that_holds_more_than_the_answer_needs_is_still_exact() -> None:
    store = Store([[10 * NS_PER_S + n] for n in range(200)], by_chance)
    found, more, cut = store.run((0, 100), 20)
    assert (found, more, cut) == (store.truth((0, 100), "backward")[:20], True, "")
    assert [limit for low, high, limit in store.asked if high - low == 1][-3:] == [42, 168, 400]


def test_more_traces_in_one_second_than_are_sent_is_said_in_words() -> None:
    store = Store([[10 * NS_PER_S + n] for n in range(2000)], newest_first)
    found, more, cut = store.run((0, 100), 20)
    assert (len(found), more) == (20, True)
    assert cut == "Tempo stopped at 400 traces within 1 s and does not say which it left out"
    # Of what is a part in any case only enough is fetched.
    assert len(store.fetched) == 42


def test_no_more_is_asked_for_than_the_store_tells_of() -> None:
    store = Store([[second * NS_PER_S] for second in range(3600)], by_chance)
    found, more, cut = store.run((0, 3600), 20, most=8)
    assert (found, more) == (store.truth((0, 3600), "backward")[:20], True)
    assert max(limit for _, _, limit in store.asked) == 8
    assert cut == ""


def test_traces_beyond_the_answer_are_not_kept() -> None:
    store = Store([[second * NS_PER_S] for second in range(3600)], by_chance)
    window_ns = (0, 3600 * NS_PER_S)
    search = StretchedSearch("Tempo", SpanSearch(), window_ns, "backward", 20)
    search.run(store.find, store.fetch)
    assert (len(store.fetched), len(search.parts)) == (35, 21)


def test_searches_have_an_end() -> None:
    store = Store([[n * NS_PER_S * 7] for n in range(5000)], oldest_first)
    store.run((0, 35_000), 1, "forward")
    assert len(store.asked) <= MOST_SEARCHES


@pytest.mark.parametrize("direction", ["backward", "forward"])
def test_no_stretch_is_longer_than_the_store_searches_at_once(direction: Direction) -> None:
    store = Store([[day * 86_400 * NS_PER_S] for day in range(0, 60, 3)], by_chance)
    found, more, cut = store.run((0, 60 * 86_400), 30, direction, 7 * 86_400)
    assert (found, more, cut) == (store.truth((0, 60 * 86_400), direction), False, "")
    assert max(high - low for low, high, _ in store.asked) == 7 * 86_400


def test_more_time_than_all_searches_cover_is_said_in_words() -> None:
    assert Store([], by_chance).run((0, 30 * 86_400), 20, "backward", 86_400) == (
        [],
        True,
        f"{14 * 86_400} s were not looked at: that needs more than 16 searches",
    )


def test_a_trace_is_fetched_once_even_if_it_lies_in_every_stretch() -> None:
    store = Store([[0, 99 * NS_PER_S], *([n * NS_PER_S] for n in range(99))], newest_first)
    store.run((0, 100), 3)
    assert len(store.fetched) == len(set(store.fetched))


@pytest.mark.parametrize("order", [newest_first, oldest_first, by_chance])
@pytest.mark.parametrize("direction", ["backward", "forward"])
@settings(max_examples=120, deadline=None)
@given(
    starts=st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=3), max_size=60),
    window=st.tuples(st.integers(0, 60), st.integers(1, 60)),
    limit=st.integers(1, 8),
    longest_s=st.sampled_from([5, 2**40]),
    most=st.sampled_from([2, 7, 10_000]),
)
def test_an_answer_without_words_is_exact(
    order: Order,
    direction: Direction,
    starts: list[list[int]],
    window: tuple[int, int],
    limit: int,
    longest_s: int,
    most: int,
) -> None:
    store = Store([[at * NS_PER_S // 3 for at in of] for of in starts], order)
    window_s = (window[0], window[0] + window[1])
    found, more, cut = store.run(window_s, limit, direction, longest_s, most)
    truth = store.truth(window_s, direction)
    if not cut:
        assert (found, more) == (truth[:limit], len(truth) > limit)
    else:
        assert more
        assert set(found) <= set(truth)
