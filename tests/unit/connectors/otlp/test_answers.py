"""Spans as backends answer them: any JSON is read or refused with ValueError, and nothing else ever comes out."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.otlp.answers import read_id, read_resource_spans
from federation_core.signals.traces.encoding import decode, encode
from federation_core.signals.traces.payload import SpanKind, SpanStatus, TracePart
from federation_core.signals.traces.rendering import trace_to_json
from federation_core.signals.traces.stitch import stitch

TRACE, SPAN = "ab" * 16, "cd" * 8
GOOD = {"traceId": TRACE, "spanId": SPAN, "name": "op", "startTimeUnixNano": "10", "endTimeUnixNano": "30"}


def one(span: Any, resource: Any = None) -> Any:
    (found,) = read_resource_spans([{"resource": resource, "scopeSpans": [{"spans": [span]}]}])
    return found


@pytest.mark.parametrize("digits", [16, 32])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_an_id_reads_the_same_from_base64_and_hexadecimal(digits: int, data: st.DataObject) -> None:
    held = data.draw(st.binary(min_size=digits // 2, max_size=digits // 2))
    want = held.hex() if any(held) else ""
    assert read_id(base64.b64encode(held).decode(), digits) == want
    assert read_id(held.hex().upper(), digits) == want
    assert read_id(held.hex().lstrip("0"), digits) == want


@pytest.mark.parametrize("value", ["not-hex", "é", "=", 5, ["a"], "ab" * 17, base64.b64encode(b"x" * 17).decode()])
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"id|longer"):
        read_id(value, 32)


def test_a_span_without_anything_but_ids() -> None:
    span = one({"traceId": TRACE, "spanId": SPAN})
    assert (span.kind, span.status, span.parent_id, span.service) == (
        SpanKind.UNSPECIFIED,
        SpanStatus.UNSET,
        "",
        "unknown_service",
    )


def test_enumerations_as_names_and_as_numbers() -> None:
    for kind, code in (("SPAN_KIND_CLIENT", "STATUS_CODE_ERROR"), (3, 2)):
        span = one({**GOOD, "kind": kind, "status": {"code": code, "message": "m"}})
        assert (span.kind, span.status, span.status_message) == (SpanKind.CLIENT, SpanStatus.ERROR, "m")


def test_the_namespace_is_kubernetes_before_the_services_own() -> None:
    def attribute(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "value": {"stringValue": value}}

    own = [attribute("service.namespace", "own"), attribute("service.name", "web")]
    assert one(GOOD, {"attributes": own}).namespace == "own"
    assert one(GOOD, {"attributes": [*own, attribute("k8s.namespace.name", "shop")]}).namespace == "shop"


def test_a_zero_parent_is_none_and_an_end_before_the_start_is_no_length() -> None:
    span = one({**GOOD, "parentSpanId": base64.b64encode(bytes(8)).decode(), "endTimeUnixNano": "5"})
    assert (span.parent_id, span.duration_ns) == ("", 0)


@pytest.mark.parametrize("never_set", ["11651379494838206464", 2**63, str(2**64 - 1)])
def test_a_time_that_was_never_set_costs_no_other_span(never_set: Any) -> None:
    """What Go writes for its zero time; Jaeger's own examples have it."""
    span = one({**GOOD, "startTimeUnixNano": never_set, "endTimeUnixNano": never_set})
    assert (span.start_ns, span.duration_ns) == (0, 0)
    assert one({**GOOD, "endTimeUnixNano": never_set}).duration_ns == 0


def test_integers_of_every_length_are_read() -> None:
    held = {
        "a": "0",
        "b": "-5",
        "c": "9223372036854775807",
        "d": "-9223372036854775808",
        "e": 7,
        "f": "999999999999999999",
    }
    attributes = [{"key": key, "value": {"intValue": value}} for key, value in held.items()]
    assert one({**GOOD, "attributes": attributes}).attributes == {key: int(value) for key, value in held.items()}


def test_copies_stay() -> None:
    assert len(list(read_resource_spans([{"scopeSpans": [{"spans": [GOOD, GOOD]}]}]))) == 2


def test_spans_of_an_instrumentation_library_are_spans() -> None:
    assert len(list(read_resource_spans([{"instrumentationLibrarySpans": [{"spans": [GOOD]}]}]))) == 1


@pytest.mark.parametrize(
    "span",
    [
        {**GOOD, "startTimeUnixNano": -1},
        {**GOOD, "startTimeUnixNano": "-1"},
        {**GOOD, "startTimeUnixNano": 2**64},
        {**GOOD, "startTimeUnixNano": "18446744073709551616"},
        {**GOOD, "startTimeUnixNano": 1.5},
        {**GOOD, "startTimeUnixNano": "x"},
        {**GOOD, "startTimeUnixNano": []},
        {**GOOD, "kind": []},
        {**GOOD, "kind": None},
        {**GOOD, "spanId": []},
        {**GOOD, "kind": "SPAN_KIND_X"},
        {**GOOD, "name": 5},
        {**GOOD, "status": [1]},
        {**GOOD, "attributes": [{"key": "a", "value": {"intValue": "x"}}]},
        {**GOOD, "traceId": "0"},
        {**GOOD, "attributes": [{"key": 5, "value": {"stringValue": "x"}}]},
        {**GOOD, "attributes": [{"key": 5, "value": {"intValue": "7"}}]},
        [],
    ],
)
def test_what_is_no_span_is_refused(span: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        one(span)


def nested(depth: int, kind: str) -> Any:
    value: Any = {"intValue": "1"}
    for _ in range(depth):
        inner = [{"key": "k", "value": value}] if kind == "kvlistValue" else [value]
        value = {kind: {"values": inner}}
    return value


@pytest.mark.parametrize("kind", ["kvlistValue", "arrayValue"])
def test_attributes_as_deep_as_json_can_be_are_read_or_refused(kind: str) -> None:
    for depth in (1, 100, 225, 240, 250, 330, 2000):
        span = {**GOOD, "attributes": [{"key": "a", "value": nested(depth, kind)}]}
        try:
            found = one(span)
        except ValueError:
            assert depth > 100
        else:
            part = TracePart(TRACE, (found,))
            assert decode(encode(part)) == part
            # An answer that some writer of JSON cannot write would cost the other clusters' spans too.
            orjson.dumps(trace_to_json(stitch(TRACE, {"prod": part})))


@pytest.mark.parametrize("kind", ["boolValue", "bytesValue", "stringValue"])
def test_values_of_another_type_are_no_deeper(kind: str) -> None:
    for depth in (100, 240, 300, 900):
        value: Any = 1
        for _ in range(depth):
            value = [value]
        try:
            found = one({**GOOD, "attributes": [{"key": "a", "value": {kind: value}}]})
        except ValueError:
            assert depth > 100
        else:
            orjson.dumps(trace_to_json(stitch(TRACE, {"prod": TracePart(TRACE, (found,))})))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([TRACE, SPAN, "5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["traceId", "spanId", "kind", "status", "code", "attributes", "key", "value", "intValue", "events"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(anything, st.dictionaries(st.sampled_from([*GOOD, "kind", "status", "attributes", "events", "links"]), anything))
def test_any_json_is_read_or_refused(whole: Any, broken: dict[str, Any]) -> None:
    for answer in (whole, [{"resource": whole, "scopeSpans": [{"spans": [{**GOOD, **broken}]}]}]):
        try:
            spans = tuple(read_resource_spans(answer))
        except ValueError:
            continue
        for span in spans:
            encode(TracePart(span.trace_id, (span,)))
