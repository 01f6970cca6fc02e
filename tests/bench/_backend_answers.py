"""The answers of backends that `connectors` measures: about a megabyte each, as the real ones spell them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from federation_core.plan import Leaf
from federation_core.query import TimeRange

START_S = 1_795_470_000
STEP_S, STEPS = 15, 240
HOUR = TimeRange(START_S * 1000, (START_S + STEP_S * STEPS) * 1000)
#: Bodies by the path's end; those that the connector asks for are read plainly, in this order.
Answers = Mapping[str, bytes]
TRACES = 20


def prometheus() -> tuple[Answers, Leaf]:
    """A range query: 125 series of an hour."""
    rows = [
        {
            "metric": {"namespace": "shop", "pod": f"orders-{row}", "service": "orders"},
            "values": [[START_S + STEP_S * step, f"{(row * 7919 + step * 104_729) % 99_991 / 977:.15g}"]
                       for step in range(STEPS)],
        }
        for row in range(125)
    ]  # fmt: skip
    data = {"resultType": "matrix", "result": rows}
    when = TimeRange(HOUR.start_ms, HOUR.end_ms - STEP_S * 1000, STEP_S * 1000)
    return {"/query_range": success(data)}, Leaf(
        "l", "sum by (namespace, pod, service) (rate(requests_total[5m]))", when
    )


def loki_apart() -> tuple[Answers, Leaf]:
    """4,000 lines of 40 streams whose metadata stand apart, as Loki 3 answers; four lines share a trace."""
    rows: list[dict[str, Any]] = [{"stream": stream_labels(pod), "values": []} for pod in range(40)]
    for number in range(4_000):
        apart = {"detected_level": "info", "trace_id": f"{number // 4:032x}"}
        rows[number % 40]["values"].append([instant(number), line(number), {"structuredMetadata": apart}])
    data = {"resultType": "streams", "encodingFlags": ["categorize-labels"], "result": rows}
    return {"/query_range": success(data)}, logs_leaf()


def loki_flat() -> tuple[Answers, Leaf]:
    """4,800 lines of 120 streams as Loki 2 answers, whose labels' names are asked for as well."""
    rows: list[dict[str, Any]] = [
        {"stream": {**stream_labels(pod), "detected_level": level}, "values": []}
        for pod in range(40)
        for level in ("error", "info", "warn")
    ]
    for number in range(4_800):
        rows[number % 120]["values"].append([instant(number), line(number)])
    names = success(sorted(stream_labels(0)))
    return {"/query_range": success({"resultType": "streams", "result": rows}), "/labels": names}, logs_leaf()


def tempo_trace() -> tuple[Answers, Leaf]:
    """One trace of 1,500 spans."""
    body = orjson.dumps({"trace": {"resourceSpans": resource_spans([trace_id(0)], 1_500)}, "metrics": {}})
    return {trace_id(0): body}, Leaf("l", trace_id(0), HOUR)


def tempo_search() -> tuple[Answers, Leaf]:
    """A search that finds twenty traces, which are then asked for one by one."""
    rows = [{"traceID": trace_id(number), "startTimeUnixNano": instant(number)} for number in range(TRACES)]
    traces = {
        one: orjson.dumps({"trace": {"resourceSpans": resource_spans([one], 75)}, "metrics": {}})
        for one in map(trace_id, range(TRACES))
    }
    return {"/search": orjson.dumps({"traces": rows, "metrics": {}}), **traces}, spans_leaf()


def jaeger_search() -> tuple[Answers, Leaf]:
    """A search in the one service there is, which finds twenty traces and brings all their spans."""
    found = {"result": {"resourceSpans": resource_spans(list(map(trace_id, range(TRACES))), 75)}}
    return {"/services": b'{"services":["orders"]}', "/traces": orjson.dumps(found)}, spans_leaf()


def stream_labels(pod: int) -> dict[str, str]:
    """The labels of a pod's stream."""
    return {"namespace": "shop", "pod": f"orders-{pod}", "service": "orders", "service_name": "orders"}


def instant(number: int) -> str:
    """The time of a line, newest first, in nanoseconds."""
    return str(HOUR.end_ms * 1_000_000 - 1 - number * 700_000_003)


def line(number: int) -> str:
    """A line of a web server."""
    return (
        f'{{"level":"info","msg":"request served","method":"GET","path":"/api/orders/{number}","status":200,'
        f'"took_ms":{number % 97},"user":"customer-{number % 511}","region":"eu-central-1"}}'
    )


def logs_leaf() -> Leaf:
    """As many lines as are there fit."""
    return Leaf("l", '{namespace="shop"}', HOUR, 4_999)


def spans_leaf() -> Leaf:
    """More traces than are there."""
    return Leaf("l", '{ service = "orders" }', HOUR, TRACES + 5)


def trace_id(number: int) -> str:
    """The id of a trace."""
    return f"{number + 1:032x}"


def resource_spans(trace_ids: list[str], spans: int) -> list[dict[str, Any]]:
    """The spans of traces as OTLP has them, in six pods; each has five attributes."""
    groups: list[list[dict[str, Any]]] = [[] for _ in range(6)]
    for one in trace_ids:
        for number in range(spans):
            start_ns = HOUR.end_ms * 1_000_000 - 60_000_000_000 + number * 1_000_003
            groups[number % 6].append({
                "traceId": one,
                "spanId": f"{number + 1:016x}",
                "parentSpanId": f"{number:016x}" if number else "",
                "name": f"GET /api/orders/{number % 31}",
                "kind": "SPAN_KIND_SERVER" if number % 2 else "SPAN_KIND_CLIENT",
                "startTimeUnixNano": str(start_ns),
                "endTimeUnixNano": str(start_ns + 900_001),
                "attributes": attributes({"http.request.method": "GET", "http.route": f"/api/orders/{number % 31}",
                                          "server.address": "orders", "thread.name": f"exec-{number % 16}",
                                          "user.id": f"customer-{number}"}),
                "status": {},
            })  # fmt: skip
    owner = {"service.name": "orders", "k8s.namespace.name": "shop", "telemetry.sdk.name": "opentelemetry"}
    return [
        {
            "resource": {"attributes": attributes({**owner, "k8s.pod.name": f"orders-{pod}"})},
            "scopeSpans": [{"spans": found}],
        }
        for pod, found in enumerate(groups)
    ]


def attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    """Texts as OTLP's JSON writes attributes."""
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def success(data: Any) -> bytes:
    """An envelope that Prometheus and Loki share."""
    return orjson.dumps({"status": "success", "data": data})
