"""Merging entries: any split, any arrival order, any limit gives the first entries of the whole."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.labels import Labels
from federation_core.query import Direction
from federation_core.signals.logs.merge import merge_entries, place
from federation_core.signals.logs.payload import Entries, Entry, first_entries
from tests.support.log_stores import entry

CLUSTERS = ("app-prod", "dev", "prod", "shared-services", "stage", "test")
# Few times, streams and lines, so that ties and exact copies are the rule.
STREAMS = st.sampled_from([Labels(), Labels.of({"app": "a"}), Labels.of({"d": "1"}), Labels.of({"b": "2", "d": "0"})])
ENTRIES = st.builds(
    Entry, st.integers(0, 4), st.sampled_from(["", "x", "y\n"]), STREAMS, st.just(Labels()), st.integers(0, 2)
)
SPLITS = st.dictionaries(st.sampled_from(CLUSTERS), st.lists(ENTRIES, max_size=12), max_size=6)
DIRECTIONS = st.sampled_from(["backward", "forward"])


def sent(split: dict[str, list[Entry]], limit: int, direction: Direction) -> dict[str, Entries]:
    return {cluster: first_entries(Entries.of(entries), limit, direction) for cluster, entries in split.items()}


def whole(split: dict[str, list[Entry]], direction: Direction) -> list[Entry]:
    """Sort everything at once, in the order the design states: time, cluster, stream, ordinal."""
    rows = [(e.t_ns, cluster, tuple(e.labels), e.ordinal, e.line, e) for cluster, es in split.items() for e in es]
    rows.sort(key=lambda row: row[:5], reverse=direction == "backward")
    return [replace(row[5], cluster=row[1], labels=place(row[5].labels, row[1])) for row in rows]


@given(SPLITS, st.integers(1, 30), DIRECTIONS)
def test_the_merge_of_any_split_is_the_merge_of_the_whole(
    split: dict[str, list[Entry]], limit: int, direction: Direction
) -> None:
    merged, _ = merge_entries(sent(split, limit, direction), limit, direction)
    assert list(merged.entries) == whole(split, direction)[:limit]


@given(SPLITS, st.integers(1, 10), DIRECTIONS, st.randoms(use_true_random=False))
def test_the_arrival_order_does_not_matter(
    split: dict[str, list[Entry]], limit: int, direction: Direction, random: Random
) -> None:
    parts = sent(split, limit, direction)
    shuffled = list(parts.items())
    random.shuffle(shuffled)
    assert merge_entries(dict(shuffled), limit, direction) == merge_entries(parts, limit, direction)


@given(SPLITS, st.integers(1, 30), DIRECTIONS)
def test_the_answer_says_exactly_when_entries_are_left(
    split: dict[str, list[Entry]], limit: int, direction: Direction
) -> None:
    merged, warnings = merge_entries(sent(split, limit, direction), limit, direction)
    left = sum(map(len, split.values())) > limit
    assert merged.more is left
    rest = "older" if direction == "backward" else "newer"
    assert warnings == ((f"limit {limit} reached, {rest} entries exist",) if left else ())


def test_a_cluster_with_a_lower_limit_of_its_own_is_named_where_it_matters() -> None:
    parts = {
        "prod": Entries.of([entry(9), entry(8)], more=True),
        "stage": Entries.of([entry(7), entry(1)], more=False),
    }
    _, warnings = merge_entries(parts, 10, "backward")
    assert warnings == ("cluster prod stopped at 1970-01-01T00:00:00.008Z; its older entries are missing",)


def test_a_cluster_with_a_lower_limit_of_its_own_is_not_named_where_the_answer_ends_before() -> None:
    parts = {
        "prod": Entries.of([entry(3), entry(2)], more=True),
        "stage": Entries.of([entry(9), entry(8), entry(7)], more=False),
    }
    _, warnings = merge_entries(parts, 3, "backward")
    assert warnings == ("limit 3 reached, older entries exist",)


def test_a_cluster_that_sent_nothing_although_it_has_entries_is_named() -> None:
    _, warnings = merge_entries({"prod": Entries(more=True)}, 3, "backward")
    assert warnings == ("cluster prod sent none of its entries",)


def test_nothing_merges_to_nothing() -> None:
    assert merge_entries({}, 5, "backward") == (Entries(), ())


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ({}, {"cluster": "prod"}),
        ({"cluster": "prod"}, {"cluster": "prod"}),
        ({"cluster": "eks-1"}, {"cluster": "prod", "exported_cluster": "eks-1"}),
        (
            {"cluster": "eks-1", "exported_cluster": "x"},
            {"cluster": "prod", "exported_cluster": "x", "exported_exported_cluster": "eks-1"},
        ),
    ],
)
def test_a_stores_own_cluster_label_is_shown_as_exported(own: dict[str, str], shown: dict[str, str]) -> None:
    merged, _ = merge_entries({"prod": Entries.of([Entry(1, "", Labels.of(own))])}, 1, "forward")
    assert [(entry.cluster, entry.labels.as_dict()) for entry in merged] == [("prod", shown)]
