"""OTLP spans become rows; bad ones are rejected alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from federation_core.connectors.otlp import Ingest
from tests.support.otlp_requests import T0_MS, attributes, resource, rows, span, traces


def stored(ingest: Ingest, path: Path, *spans: dict[str, Any]) -> list[tuple[Any, ...]]:
    ingest.add(traces((resource("web"), list(spans))), line=7)
    ingest.flush()
    return rows(
        path, "spans", "trace_id, span_id, parent_id, name, kind, status, status_message, start_ns, duration_ns"
    )


def test_a_span_keeps_its_identity_time_and_status(ingest: Ingest, path: Path) -> None:
    sent = span(0xA, 0xB, 0xC, name="GET /x", kind=3, status={"code": 2, "message": "late"})
    assert stored(ingest, path, sent) == [
        (f"{0xA:032x}", f"{0xB:016x}", f"{0xC:016x}", "GET /x", "client", "error", "late",
         T0_MS * 1_000_000 + 900_000_000, 100_000_000)
    ]  # fmt: skip


def test_times_may_be_numbers_and_enums_may_be_names(ingest: Ingest, path: Path) -> None:
    sent = span(1, 1, kind="SPAN_KIND_SERVER", status={"code": "STATUS_CODE_OK"})
    sent |= {key: int(sent[key]) for key in ("startTimeUnixNano", "endTimeUnixNano")}
    assert [row[4:6] for row in stored(ingest, path, sent)] == [("server", "ok")]


def test_field_names_may_be_snake_case(ingest: Ingest, path: Path) -> None:
    sent = {
        "trace_id": f"{1:032x}", "span_id": f"{2:016x}", "parent_span_id": f"{3:016x}", "name": "x",
        "start_time_unix_nano": str(T0_MS * 1_000_000), "end_time_unix_nano": str(T0_MS * 1_000_000 + 5),
        "attributes": [{"key": "http.route", "value": {"string_value": "/a_b"}}],
    }  # fmt: skip
    ingest.add({"resource_spans": [{"resource": resource("web"), "scope_spans": [{"spans": [sent]}]}]})
    ingest.flush()
    assert rows(path, "spans", "parent_id, service, attributes") == [(f"{3:016x}", "web", '{"http.route":"/a_b"}')]


def test_short_ids_are_padded_and_capitals_lowered(ingest: Ingest, path: Path) -> None:
    assert [r[:2] for r in stored(ingest, path, span(1, 1) | {"traceId": "ABCDEF0123456789", "spanId": "F"})] == [
        ("0000000000000000abcdef0123456789", "000000000000000f")
    ]


def test_attributes_of_every_kind_survive(ingest: Ingest, path: Path) -> None:
    values = [
        {"key": "text", "value": {"stringValue": "é\u0000x"}},
        {"key": "int", "value": {"intValue": "9007199254740993"}},
        {"key": "float", "value": {"doubleValue": 0.5}},
        {"key": "nan", "value": {"doubleValue": "NaN"}},
        {"key": "bool", "value": {"boolValue": False}},
        {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "a"}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "1"}}]}}},
        {"key": "empty", "value": {}},
    ]
    stored(ingest, path, span(1, 1, attributes=values))
    ((text,),) = rows(path, "spans", "attributes")
    assert json.loads(text) == {
        "text": "é\u0000x", "int": 9007199254740993, "float": 0.5, "nan": "NaN", "bool": False,
        "list": [1, "a"], "map": {"k": 1}, "empty": None,
    }  # fmt: skip


def test_events_and_links_survive(ingest: Ingest, path: Path) -> None:
    event = {
        "timeUnixNano": str(T0_MS * 1_000_000),
        "name": "exception",
        "attributes": attributes({"exception.type": "E"}),
    }
    stored(ingest, path, span(1, 1, events=[event], links=[{"traceId": f"{9:032x}", "spanId": f"{8:016x}"}]))
    ((events, links),) = rows(path, "spans", "events, links")
    assert json.loads(events) == [
        {"time_ns": T0_MS * 1_000_000, "name": "exception", "attributes": {"exception.type": "E"}}
    ]
    assert json.loads(links) == [{"trace_id": f"{9:032x}", "span_id": f"{8:016x}", "attributes": {}}]


def test_the_resource_names_service_namespace_pod_and_instance(ingest: Ingest, path: Path) -> None:
    ingest.add(traces((resource("web", pod="web-7", instance="i-1", namespace="shop", zone="a"), [span(1, 1)])))
    ingest.flush()
    ((*owner, text),) = rows(path, "spans", "service, namespace, pod, instance, resource")
    assert owner == ["web", "shop", "web-7", "i-1"]
    assert json.loads(text)["zone"] == "a"


def test_without_kubernetes_the_services_namespace_is_the_namespace(ingest: Ingest, path: Path) -> None:
    owner = {"attributes": attributes({"service.name": "web", "service.namespace": "shop"})}
    ingest.add(traces((owner, [span(1, 1)])))
    ingest.flush()
    assert rows(path, "spans", "namespace") == [("shop",)]


BAD = {
    "no trace id": ({"traceId": ""}, "without traceId"),
    "zero span id": ({"spanId": "0" * 16}, "without spanId"),
    "base64 id": ({"traceId": "W47/95gDgQPSabYzgT/GDA=="}, "not hexadecimal"),
    "number as id": ({"spanId": 5}, "not hexadecimal"),
    "never set clock": ({"startTimeUnixNano": "0"}, "before the year 2000"),
    "a clock far ahead": ({"endTimeUnixNano": str(2**63 - 1)}, "in the future"),
    "no end": ({"endTimeUnixNano": None}, "not a 64-bit integer"),
    "backwards": ({"endTimeUnixNano": str(T0_MS * 1_000_000)}, "before it starts"),
    "unknown kind": ({"kind": 17}, "kind 17 is none of"),
    "attributes that are none": ({"attributes": {"a": "b"}}, "malformed span"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_span_is_rejected_by_line_and_its_neighbours_are_kept(ingest: Ingest, path: Path, case: str) -> None:
    change, reason = BAD[case]
    assert len(stored(ingest, path, span(1, 1), span(1, 2, 1) | change, span(1, 3, 1))) == 2
    (rejection,) = ingest.report.rejections
    assert (rejection.line, rejection.signal) == (7, "spans")
    assert reason in rejection.reason
