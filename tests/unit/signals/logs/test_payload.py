"""Log entries as bytes, their order and their cut."""

from __future__ import annotations

from itertools import pairwise

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import WireVersionMismatch
from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.logs.payload import Entries, Entry, first_entries, window_ns
from federation_core.signals.logs.wire import decode, encode

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LABELS = st.dictionaries(st.sampled_from("abc"), TEXTS, max_size=3).map(Labels.of)
TIMES_NS = st.integers(0, 3) | st.integers(0, 2**63 - 1)
ENTRIES = st.builds(Entry, TIMES_NS, TEXTS, LABELS, LABELS, st.integers(0, 3), st.sampled_from(["", "prod"]))


@given(st.lists(ENTRIES, max_size=20), st.booleans(), st.none() | st.just("next"))
def test_bytes_bring_back_the_same_entries(entries: list[Entry], more: bool, cursor: str | None) -> None:
    payload = Entries.of(entries, more, cursor)
    assert decode(encode(payload)) == payload


@pytest.mark.parametrize("line", ["", "\x00", "a\nb\r\n", "日本 😀 e\u0301", "x" * 300_000, "\ufffe\uffff"])
def test_odd_lines_travel_unchanged(line: str) -> None:
    payload = Entries.of([Entry(1, line, Labels())])
    assert decode(encode(payload)).entries[0].line == line


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert decode(encode(Entries.of([Entry(1, "a\ud800b", Labels())]))).entries[0].line == "a?b"


def test_labels_that_repeat_are_written_once() -> None:
    labels = Labels.of({"service": "x" * 1000})
    one = len(encode(Entries.of([Entry(1, "", labels)])))
    many = len(encode(Entries.of(Entry(t, "", labels) for t in range(100))))
    assert many - one < 100 * 20


#: What the release before wrote: an index a line, label sets as pairs.
FORMER = {
    "kind": "entries/1", "more": False, "cursor": None, "clusters": [""], "sets": [[]],
    "t_ns": [1], "cluster": [0], "labels": [0], "metadata": [0], "ordinal": [0], "line": ["a"],
}  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x93\x01\x02\x03", msgpack.packb({"kind": "entries/0"}), msgpack.packb({"kind": "entries/2"}),
     msgpack.packb(FORMER)],
)  # fmt: skip
def test_bytes_of_another_release_are_refused(data: bytes) -> None:
    with pytest.raises(WireVersionMismatch):
        decode(data)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("t_ns", ("<i8", b"\0" * 8)),
        ("t_ns", ("<i8", b"\0" * 9)),
        ("labels", ("u1", b"\0\2")),
        ("metadata", ("<i8", b"\xff" * 16)),
        ("cluster", ("u1", b"\0\1")),
        ("ordinal", ("<f8", b"\0" * 16)),
        ("line", ["a"]),
        ("values", []),
        ("values", ["1", "2", "3"]),
        ("sets", ("u1", b"\0\2")),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(column: str, said: object) -> None:
    whole = msgpack.unpackb(encode(Entries.of([Entry(1, "a", Labels.of({"b": "1"})), Entry(2, "c", Labels())])))
    assert decode(msgpack.packb(whole)).entries[1].line == "c"
    with pytest.raises(WireVersionMismatch):
        decode(msgpack.packb({**whole, column: said}))


@given(st.lists(ENTRIES, max_size=20), st.integers(1, 25))
def test_backward_is_the_exact_reverse_of_forward(entries: list[Entry], limit: int) -> None:
    forward = first_entries(Entries.of(entries), 0, "forward").entries
    assert first_entries(Entries.of(entries), 0, "backward").entries == forward[::-1]
    assert first_entries(Entries.of(entries), limit, "forward").entries == forward[:limit]
    assert all(a.order <= b.order for a, b in pairwise(forward))


@given(st.lists(ENTRIES, max_size=20), st.integers(1, 25), st.booleans())
def test_a_cut_says_that_there_is_more(entries: list[Entry], limit: int, more: bool) -> None:
    assert first_entries(Entries.of(entries), limit, "backward", more).more is (more or len(entries) > limit)


def test_the_end_of_a_window_is_outside() -> None:
    assert window_ns(TimeRange(1, 2)) == (1_000_000, 2_000_000)
