"""What is done to columns is what was done to entries one by one: the order, the merge, the filters, the counts.

The references here are the simplest that say what is meant: an object a line, Python's own sort, one filter at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from heapq import merge as merge_sorted
from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from federation_core.labels import Labels
from federation_core.query import Direction, Query, TimeRange
from federation_core.signals.logs import KIND
from federation_core.signals.logs.expr import matches, passing
from federation_core.signals.logs.language import parse
from federation_core.signals.logs.merge import merge_entries, place
from federation_core.signals.logs.payload import Entries, Entry, concat, first_entries

# Few of everything, so that entries tie in every part of their order, and are the same in all.
SETS = st.sampled_from([Labels(), Labels.of({"a": "1"}), Labels.of({"a": "1", "b": "2"}), Labels.of({"b": "2"})])
TIMES_NS = st.integers(-1, 2) | st.just(2**63 - 1)
ROWS = st.builds(Entry, TIMES_NS, st.sampled_from(["", "x", "xy\n", "é"]), SETS, SETS, st.integers(0, 1))
NAMED = st.builds(replace, ROWS, cluster=st.sampled_from(["", "prod", "dev"]))
SPLITS = st.dictionaries(st.sampled_from(["dev", "prod", "stage"]), st.lists(ROWS, max_size=10))
DIRECTIONS = st.sampled_from(["backward", "forward"])


@given(st.lists(st.lists(NAMED, max_size=12), max_size=4), st.integers(0, 30), DIRECTIONS)
def test_the_order_is_that_of_the_entries_one_by_one(
    parts: list[list[Entry]], limit: int, direction: Direction
) -> None:
    rows = sorted((row for part in parts for row in part), key=lambda row: row.order, reverse=direction == "backward")
    found = first_entries(concat([Entries.of(part) for part in parts]), limit, direction)
    assert list(found) == (rows[:limit] if limit else rows)
    assert found.more is (0 < limit < len(rows))


def merged_one_by_one(
    parts: Mapping[str, list[Entry]], limit: int, direction: Direction
) -> tuple[list[Entry], set[str]]:
    """Merge parts that are in order; tell which clusters' last entries are among those that are kept."""
    named = {cluster: [replace(row, cluster=cluster) for row in rows] for cluster, rows in parts.items()}
    merged = merge_sorted(*named.values(), key=lambda row: row.order, reverse=direction == "backward")
    kept = list(islice(merged, limit))
    ended = {cluster for cluster, rows in named.items() if rows and rows[-1] in kept}
    return [replace(row, labels=place(row.labels, row.cluster)) for row in kept], ended


@given(SPLITS, st.integers(1, 20), st.integers(1, 20), DIRECTIONS, st.booleans())
def test_the_merge_is_that_of_the_entries_one_by_one(
    split: dict[str, list[Entry]], limit: int, cut: int, direction: Direction, more: bool
) -> None:
    parts = {name: first_entries(Entries.of(rows), cut, direction, more) for name, rows in split.items()}
    found, warnings = merge_entries(parts, limit, direction)
    kept, ended = merged_one_by_one({name: list(part) for name, part in parts.items()}, limit, direction)
    assert list(found) == kept
    assert found.more is (any(part.more for part in parts.values()) or len(kept) < sum(map(len, parts.values())))
    stopped = {name for name, part in parts.items() if part.more and 0 < len(part) < limit}
    said = {warning.split()[1] for warning in warnings if "stopped at" in warning}
    assert said == {name for name in stopped if len(kept) < limit or name in ended}


@given(
    st.lists(ROWS, max_size=12),
    st.sampled_from(
        ["{}", '{} |= "x"', '{} != "x"', '{} |~ "x.?$"', '{} !~ "^$"', '{} | a="1"', '{} | b!="2" | a=""',
         '{} |= "x" | b=~"2|3" !~ "y"', '{} |= "never" | a="1"']
    ),
)  # fmt: skip
def test_filters_keep_what_they_keep_one_by_one(rows: list[Entry], text: str) -> None:
    query = parse(text)
    assert list(passing(query, Entries.of(rows))) == [row for row in rows if matches(query, row)]


@given(st.lists(NAMED, max_size=12), st.lists(NAMED, max_size=12))
def test_counts_and_json_do_not_depend_on_how_the_tables_are_laid_out(one: list[Entry], other: list[Entry]) -> None:
    together, whole = concat([Entries.of(one), Entries.of(other)]), Entries.of([*one, *other])
    assert together == whole
    assert KIND.size(together) == (len({(row.cluster, row.labels) for row in whole}), len(one) + len(other))
    query = Query("logs", "{}", TimeRange(0, 1), "t")
    assert KIND.to_json(together, query)["entries"] == [
        {
            "timeUnixNano": str(row.t_ns),
            "cluster": row.cluster,
            "labels": row.labels.as_dict(),
            "line": row.line,
            "metadata": row.metadata.as_dict(),
        }
        for row in whole
    ]
    assert KIND.decode(KIND.encode(together)) == whole


def test_payloads_differ_by_any_part_of_any_entry() -> None:
    row = Entry(1, "a", Labels.of({"b": "c"}), Labels.of({"d": "e"}), 2, "prod")
    whole = Entries.of([row])
    for other in (
        {"t_ns": 2},
        {"line": "b"},
        {"labels": Labels()},
        {"metadata": Labels()},
        {"ordinal": 3},
        {"cluster": ""},
    ):
        assert Entries.of([replace(row, **other)]) != whole  # type: ignore[arg-type]
    assert Entries.of([row], more=True) != whole
    assert Entries.of([row], cursor="x") != whole
    assert Entries.of([row, row]) != whole


def test_entries_are_taken_by_place_and_by_mask() -> None:
    rows = [Entry(t, str(t), Labels()) for t in range(4)]
    assert list(Entries.of(rows).take(np.array([3, 1]))) == [rows[3], rows[1]]
    assert list(Entries.of(rows).take(np.array([True, False, False, True]))) == [rows[0], rows[3]]
    assert (Entries.of(rows)[-1], Entries.of(rows)[0]) == (rows[3], rows[0])
