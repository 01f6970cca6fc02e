"""OTLP names as Prometheus names, by the cases of the specification and of its reference translator."""

from __future__ import annotations

import pytest

from federation_core.connectors.otlp.naming import bound_text, label_name, metric_name, point_labels


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("system.filesystem.usage", "By", "", "system_filesystem_usage_bytes"),
        ("system.network.dropped", "{packets}", "", "system_network_dropped"),
        ("system.network.dropped", "packets", "", "system_network_dropped_packets"),
        ("(lambda).function.executions(#)", "", "", "lambda_function_executions"),
        ("system.memory.utilization", "1", "gauge", "system_memory_utilization_ratio"),
        ("request.count", "1", "counter", "request_count_total"),
        ("jobs_total", "", "counter", "jobs_total"),
        ("total.jobs", "", "counter", "jobs_total"),
        ("http.server.duration", "ms", "", "http_server_duration_milliseconds"),
        ("disk.io", "MiBy/s", "gauge", "disk_io_mebibytes_per_second"),
        ("requests", "{requests}/m", "gauge", "requests_per_minute"),
        ("pod_memory_usage_mebibytes", "MiBy", "gauge", "pod_memory_usage_mebibytes"),
        ("net_bytes_per_second", "By/s", "gauge", "net_bytes_per_second"),
        ("cpu.load", "%", "gauge", "cpu_load_percent"),
        ("5xx", "", "counter", "_5xx_total"),
        ("rule:sum", "", "gauge", "rule:sum"),
        ("a__b", "", "gauge", "a_b"),
    ],
)
def test_a_metric_is_named(name: str, unit: str, kind: str, expected: str) -> None:
    assert metric_name(name, unit, monotonic=kind == "counter", gauge=kind == "gauge") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("http.method", "http_method"), ("0a", "key_0a"), ("_x", "key_x"), ("__x", "__x"), ("é", "key_"), ("ok", "ok")],
)
def test_an_attribute_is_named(name: str, expected: str) -> None:
    assert label_name(name) == expected


def test_colliding_attributes_are_joined_in_order_of_their_keys() -> None:
    assert point_labels([("a_b", "2"), ("a.b", "1")]) == {"a_b": "1;2"}


@pytest.mark.parametrize(("bound", "text"), [(10.0, "10"), (0.25, "0.25"), (1e21, "1" + "0" * 21), (100.0, "100")])
def test_a_bound_is_printed_without_an_exponent(bound: float, text: str) -> None:
    assert bound_text(bound) == text
