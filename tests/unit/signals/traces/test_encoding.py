"""Payloads of traces as bytes."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import WireVersionMismatch
from federation_core.signals.traces.encoding import decode, encode
from federation_core.signals.traces.payload import (
    Event,
    Link,
    PathSegment,
    RootSpan,
    Span,
    SpanKind,
    SpanStatus,
    Summaries,
    Summary,
    Trace,
    TracePart,
)
from tests.support.spans import span

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
IDS = st.text("0123456789abcdef", min_size=16, max_size=16)
ODD_IDS = IDS | st.sampled_from(["", "ABCDEF", "abc", "not hex"])
SCALARS = TEXTS | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | st.binary(max_size=4)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(TEXTS, SCALARS, max_size=2)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=3)
TIMES_NS = st.integers(0, 2**63 - 1)
EVENTS = st.builds(Event, TIMES_NS, TEXTS, ATTRIBUTES)
LINKS = st.builds(Link, IDS, IDS, ATTRIBUTES)
SPANS = st.builds(
    Span,
    trace_id=st.just("a" * 32),
    span_id=ODD_IDS,
    parent_id=ODD_IDS,
    operation=TEXTS,
    service=TEXTS,
    start_ns=TIMES_NS,
    duration_ns=TIMES_NS,
    kind=st.sampled_from(SpanKind),
    namespace=TEXTS,
    pod=TEXTS,
    status=st.sampled_from(SpanStatus),
    status_message=TEXTS,
    attributes=ATTRIBUTES,
    resource=ATTRIBUTES,
    events=st.lists(EVENTS, max_size=2).map(tuple),
    links=st.lists(LINKS, max_size=2).map(tuple),
    cluster=st.sampled_from(["", "prod", "stage"]),
    skew_ns=st.integers(-(2**62), 2**62),
)
KEYS = st.lists(st.tuples(ODD_IDS, st.sampled_from([k.value for k in SpanKind])), max_size=3).map(tuple)
SUMMARIES = st.builds(
    Summary,
    trace_id=st.just("b" * 32),
    matched_ns=TIMES_NS,
    start_ns=TIMES_NS,
    end_ns=TIMES_NS,
    spans=KEYS,
    matched=KEYS,
    errors=KEYS,
    services=st.lists(TEXTS, max_size=2).map(tuple),
    clusters=st.lists(TEXTS, max_size=2).map(tuple),
    root=st.none() | st.builds(RootSpan, TEXTS, TEXTS, TIMES_NS, TIMES_NS),
)


@given(st.lists(SPANS, max_size=4))
def test_bytes_bring_back_the_same_part(spans: list[Span]) -> None:
    payload = TracePart("a" * 32, tuple(spans))
    assert decode(encode(payload)) == payload


@given(st.lists(SPANS, min_size=1, max_size=3), KEYS, st.booleans())
def test_bytes_bring_back_the_same_trace(spans: list[Span], orphans: tuple[tuple[str, str], ...], rooted: bool) -> None:
    path = tuple(PathSegment(s.span_id, s.start_ns, s.start_ns + 1) for s in spans)
    root = spans[0].key if rooted else None
    payload = Trace("a" * 32, tuple(spans), ("prod",), root, orphans, path)
    assert decode(encode(payload)) == payload


@given(st.lists(SUMMARIES, max_size=3), st.booleans())
def test_bytes_bring_back_the_same_search_results(traces: list[Summary], more: bool) -> None:
    payload = Summaries(tuple(traces), more)
    assert decode(encode(payload)) == payload


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    sent = TracePart("a" * 32, (span(1, operation="a\ud800b", attributes={"x": "\udfff"}),))
    got = decode(encode(sent))
    assert isinstance(got, TracePart)
    assert (got.spans[0].operation, got.spans[0].attributes) == ("a?b", {"x": "?"})


def test_what_a_process_says_of_itself_is_written_once() -> None:
    resource = {"host.name": "x" * 1000}
    many = TracePart("a" * 32, tuple(span(n, resource=resource) for n in range(1, 101)))
    assert len(encode(many)) < 1000 + 100 * 80


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", msgpack.packb(["part/0", 1]), msgpack.packb(["part/1"]), msgpack.packb(5)]
)
def test_bytes_of_another_release_are_refused(data: bytes) -> None:
    with pytest.raises(WireVersionMismatch):
        decode(data)
