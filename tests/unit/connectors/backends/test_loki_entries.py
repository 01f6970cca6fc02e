"""What Loki answers is read into entries; anything else is refused with words, and never in another way."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends.loki import Loki
from federation_core.connectors.backends.loki_entries import read_page, told_apart
from federation_core.errors import ClusterError
from federation_core.labels import Labels
from federation_core.query import Direction
from federation_core.signals.logs.payload import Entries, Entry
from tests.support.loki_connected import Unwired, entries_of, fetch, loki_over
from tests.support.prometheus_replies import Reply


def streams(*rows: tuple[dict[str, str], list[Any]], **more: Any) -> dict[str, Any]:
    return {"resultType": "streams", "result": [{"stream": labels, "values": v} for labels, v in rows], **more}


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_ordinals_count_in_the_order_of_forward(direction: Direction) -> None:
    values = [["7", "a"], ["7", "b"], ["8", "c"]]
    page = read_page(streams(({"x": "1"}, values if direction == "forward" else values[::-1])), direction)
    assert sorted((e.t_ns, e.ordinal, e.line) for e in page.entries) == [(7, 0, "a"), (7, 1, "b"), (8, 0, "c")]


def test_lines_with_other_metadata_are_counted_by_themselves() -> None:
    values = [["7", line, {"structuredMetadata": {"id": id_}}] for line, id_ in (("a", "1"), ("b", "2"), ("c", "1"))]
    page = read_page(streams(({}, values)), "forward")
    assert [(entry.line, entry.ordinal) for entry in page.entries] == [("a", 0), ("b", 0), ("c", 1)]


def test_metadata_is_apart_only_where_the_answer_says_so() -> None:
    assert not read_page(streams(({}, [["7", "a"]])), "forward").apart
    flagged = read_page(streams(({}, [["7", "a", {}]]), encodingFlags=["categorize-labels"]), "forward")
    assert (flagged.apart, flagged.entries[0].metadata) == (True, Labels())


def test_what_names_no_streams_label_is_metadata() -> None:
    entry = Entry(1, "a", Labels.of({"ns": "x", "trace_id": "ab"}), ordinal=3)
    (apart,) = told_apart(Entries.of([entry]), ["ns", "pod"])
    assert apart == Entry(1, "a", Labels.of({"ns": "x"}), Labels.of({"trace_id": "ab"}), ordinal=3)


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"resultType": "matrix", "result": []}, {"resultType": "streams"}, streams() | {"result": {}},
        streams() | {"result": [[]]}, streams() | {"result": [{}]}, streams(({}, [7])), streams(({}, [["7"]])),
        streams(({}, [[7, "a"]])), streams(({}, [["x", "a"]])), streams(({}, [["-7", "a"]])),
        streams(({}, [["٧", "a"]])), streams(({}, [["7" * 20, "a"]])), streams(({}, [["7", 1]])),
        streams(({}, [["7", "a", "b"]])), streams(({}, [["7", "a", {}, {}]])),
        streams(({}, [["7", "a", {"structuredMetadata": []}]])),
        streams(({"a": 1}, [["7", "a"]])),  # type: ignore[dict-item]
        streams() | {"result": None}, streams(encodingFlags=1),
    ],
)  # fmt: skip
def test_anything_else_is_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_page(data, "forward")


_INSTANT = st.sampled_from(["7", "8", "1795470000000000001", "1795470000000000002", "9223372036854775807"])
_SETS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2"]))
_LINE = st.tuples(_INSTANT, st.sampled_from(["x", "y"]), st.none() | st.just({}) | _SETS)


@given(st.lists(st.tuples(_SETS, st.lists(_LINE, max_size=6)), max_size=4), st.sampled_from(["forward", "backward"]))
def test_columns_are_read_as_lines_are_one_by_one(
    rows: list[tuple[dict[str, str], list[tuple[str, str, Any]]]], direction: Direction
) -> None:
    written: list[tuple[dict[str, str], list[Any]]] = []
    expected = []
    for labels, lines in rows:
        values = [
            [t, text] if own is None else [t, text, own and {"structuredMetadata": own}] for t, text, own in lines
        ]
        written.append((labels, values if direction == "forward" else values[::-1]))
        seen: Counter[Any] = Counter()
        for t, text, own in lines:
            metadata = Labels.of(own or {})
            expected.append(Entry(int(t), text, Labels.of(labels), metadata, seen[t, metadata]))
            seen[t, metadata] += 1
    assert list(read_page(streams(*written), direction).entries) == expected


@pytest.mark.parametrize("time", ["9223372036854775808", "9999999999999999999", "179547000000000000 ", "", "1_0", "+7"])
@pytest.mark.parametrize("more", [[], [["7", "b"]]])
def test_a_time_is_nanoseconds_in_digits_that_64_bits_hold(time: str, more: list[Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_page(streams(({}, [[time, "a"], *more])), "forward")


_NAMES = ("resultType", "result", "stream", "values", "encodingFlags", "structuredMetadata", "a")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8) | st.sampled_from(["7", "8"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner),
    max_leaves=8,
)
_VALUES = st.lists(st.lists(st.sampled_from(["7", "8", "line"]) | _JSON, max_size=4)) | _JSON
_LABELS = st.dictionaries(st.text(max_size=3), st.text(max_size=3)) | _JSON
_STREAM = st.fixed_dictionaries({"stream": _LABELS, "values": _VALUES}) | _JSON
_STREAMS = {"resultType": st.just("streams"), "result": st.lists(_STREAM, max_size=3)}
_DATA = _JSON | st.fixed_dictionaries(_STREAMS, optional={"encodingFlags": _JSON})
_ENVELOPE = st.fixed_dictionaries({"status": st.just("success"), "data": _DATA}, optional={"warnings": _JSON})
_BODY = st.binary(max_size=64) | (_ENVELOPE | _JSON).map(orjson.dumps)


@settings(max_examples=200)
@given(body=_BODY, status=st.sampled_from([200, 200, 200, 400, 401, 429, 500, 302, 418]))
def test_no_answer_makes_anything_but_entries_or_a_clusters_error(body: bytes, status: int) -> None:
    opened = loki_over(Unwired(lambda _: Reply(body, status)))
    for text in ('{a="b"}', "{}"):
        found = attempt(opened, text)
        assert isinstance(found, Entries) or found.cluster == "prod"


def attempt(opened: Loki, text: str) -> Entries | ClusterError:
    try:
        return entries_of(fetch(opened, text, limit=3))
    except ClusterError as error:
        return error


@settings(max_examples=300)
@given(data=_DATA)
def test_the_decoder_reads_or_says_why_not(data: Any) -> None:
    with suppress(ValueError):
        assert all(isinstance(entry, Entry) for entry in read_page(data, "backward").entries)
