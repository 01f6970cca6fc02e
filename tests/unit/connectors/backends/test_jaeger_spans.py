"""Traces of Jaeger's first JSON API: any JSON is read or refused with ValueError, and nothing else ever comes out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends.jaeger_spans import read_trace
from federation_core.signals.traces.encoding import encode
from federation_core.signals.traces.payload import Link, SpanKind, SpanStatus, TracePart

TRACE, OTHER, SPAN, PARENT = "ab" * 16, "ef" * 16, "cd" * 8, "12" * 8
GOOD = {"traceID": TRACE, "spanID": SPAN, "operationName": "op", "startTime": 10, "duration": 30, "processID": "p1"}


def tag(key: str, value: Any, kind: str = "string") -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def one(**given_: Any) -> Any:
    processes = {
        "p1": {"serviceName": "web", "tags": [tag("k8s.namespace.name", "shop"), tag("k8s.pod.name", "web-1")]}
    }
    (span,) = read_trace({"traceID": TRACE, "spans": [{**GOOD, **given_}], "processes": processes})
    return span


def test_microseconds_are_nanoseconds_here() -> None:
    assert (one().start_ns, one().duration_ns) == (10_000, 30_000)


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ([], SpanStatus.UNSET),
        ([tag("error", True, "bool")], SpanStatus.ERROR),
        ([tag("error", False, "bool")], SpanStatus.UNSET),
        ([tag("error", "true")], SpanStatus.ERROR),
        ([tag("error", "false")], SpanStatus.OK),
        ([tag("error", "unset")], SpanStatus.UNSET),
        ([tag("otel.status_code", "OK")], SpanStatus.OK),
        ([tag("error", False, "bool"), tag("otel.status_code", "ERROR")], SpanStatus.ERROR),
    ],
)
def test_a_status_is_what_the_tags_say_and_is_no_attribute(tags: list[Any], status: SpanStatus) -> None:
    span = one(tags=tags)
    assert (span.status, span.attributes) == (status, {})


def test_an_error_tag_of_other_words_is_an_attribute() -> None:
    span = one(tags=[tag("error", "timeout")])
    assert (span.status, span.attributes) == (SpanStatus.UNSET, {"error": "timeout"})


def reference(kind: str, trace: str, span: str) -> dict[str, str]:
    return {"refType": kind, "traceID": trace, "spanID": span}


@pytest.mark.parametrize(
    ("references", "parent", "links"),
    [
        ([], "", ()),
        ([reference("CHILD_OF", TRACE, PARENT)], PARENT, ()),
        (
            [reference("FOLLOWS_FROM", TRACE, "1"), reference("CHILD_OF", TRACE, PARENT)],
            PARENT,
            (Link(TRACE, f"{1:016x}"),),
        ),
        ([reference("FOLLOWS_FROM", TRACE, PARENT)], PARENT, ()),
        ([reference("FOLLOWS_FROM", OTHER, PARENT)], "", (Link(OTHER, PARENT),)),
        ([reference("CHILD_OF", OTHER, PARENT)], "", (Link(OTHER, PARENT),)),
    ],
)
def test_references_are_one_parent_and_links(references: list[Any], parent: str, links: tuple[Link, ...]) -> None:
    span = one(references=references)
    assert (span.parent_id, span.links) == (parent, links)


def test_the_parent_of_who_knew_no_references() -> None:
    assert one(parentSpanID="12").parent_id == f"{0x12:016x}"


@pytest.mark.parametrize("never_set", [11651379494838206, 2**63, 2**64 - 1])
def test_a_time_that_was_never_set_costs_no_other_span(never_set: int) -> None:
    assert one(startTime=never_set).start_ns == 0


def test_a_process_may_stand_in_the_span() -> None:
    span = one(processID="", process={"serviceName": "inline"})
    assert (span.service, span.namespace) == ("inline", "")


def test_a_kind_is_a_tag() -> None:
    assert one(tags=[tag("span.kind", "CLIENT")]).kind is SpanKind.CLIENT


@pytest.mark.parametrize(
    "broken",
    [
        {"startTime": -1},
        {"startTime": 2**64},
        {"startTime": "x"},
        {"duration": 1.5},
        {"tags": [tag("a", "x", "int64")]},
        {"tags": [tag("a", "x", "bool")]},
        {"tags": [tag("a", 1, "uuid")]},
        {"tags": [{"type": "string"}]},
        {"traceID": ""},
        {"spanID": 5},
        {"operationName": 5},
        {"references": [5]},
        {"logs": 5},
    ],
)
def test_what_is_no_span_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        one(**broken)


NAMES = ["traceID", "spanID", "tags", "key", "type", "value", "logs", "fields", "references", "refType", "processes"]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([TRACE, SPAN, "string", "int64", "float64", "bool", "binary", "CHILD_OF", "error"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(anything, st.dictionaries(st.sampled_from([*GOOD, "tags", "logs", "references", "process"]), anything))
def test_any_json_is_read_or_refused(whole: Any, broken: dict[str, Any]) -> None:
    for raw in (whole, {"spans": [{**GOOD, **broken}], "processes": {"p1": {"serviceName": "web"}}}):
        try:
            spans = read_trace(raw)
        except ValueError:
            continue
        for span in spans:
            encode(TracePart(span.trace_id, (span,)))
