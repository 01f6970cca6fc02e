"""OTLP metrics become Prometheus samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from federation_core.connectors.otlp import Ingest
from tests.support.otlp_requests import (
    counter,
    gauge,
    metrics,
    point,
    resource,
    rows,
    samples_of,
)

WEB = resource("web", pod="web-7", instance="i-1", **{"service.namespace": "eu"})
STALE = 0x7FF0000000000002


def added(ingest: Ingest, *items: dict[str, Any]) -> Ingest:
    ingest.add(metrics(WEB, *items), line=4)
    ingest.flush()
    return ingest


def types(path: Path) -> dict[str, str]:
    return dict(rows(path, "series", "DISTINCT name, type"))


def test_a_gauge_keeps_its_name_and_says_who_sent_it(ingest: Ingest, path: Path) -> None:
    added(ingest, gauge("queue_depth", point(3.5, labels={"queue": "mail"})))
    ((text, values),) = samples_of(path, "queue_depth").items()
    assert json.loads(text) == {
        "instance": "i-1", "job": "eu/web", "namespace": "shop", "pod": "web-7", "queue": "mail", "service": "web",
    }  # fmt: skip
    assert values == [(1, 3.5)]
    assert types(path) == {"queue_depth": "gauge"}


def test_a_monotonic_sum_is_a_counter_and_any_other_a_gauge(ingest: Ingest, path: Path) -> None:
    up_down = {"name": "in.flight", "sum": {"dataPoints": [point(asInt="4")], "aggregationTemporality": 2}}
    added(ingest, counter("jobs", point(asInt="7")), up_down)
    assert types(path) == {"jobs_total": "counter", "in_flight": "gauge"}


def test_integers_may_be_text(ingest: Ingest, path: Path) -> None:
    added(ingest, counter("jobs", point(asInt="9007199254740992")))
    assert [v for values in samples_of(path, "jobs_total").values() for v in values] == [(1, 9007199254740992.0)]


def test_a_histogram_becomes_cumulative_buckets_sum_and_count(ingest: Ingest, path: Path) -> None:
    body = {"count": "6", "sum": 4.5, "bucketCounts": ["1", "2", "3"], "explicitBounds": [0.5, 1], "min": 0.1}
    added(
        ingest, {"name": "wait", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point(**body)]}}
    )
    buckets = {json.loads(text)["le"]: v[0][1] for text, v in samples_of(path, "wait_seconds_bucket").items()}
    assert buckets == {"0.5": 1, "1": 3, "+Inf": 6}
    assert [v[0][1] for v in samples_of(path, "wait_seconds_sum").values()] == [4.5]
    assert [v[0][1] for v in samples_of(path, "wait_seconds_count").values()] == [6]
    assert set(types(path).values()) == {"histogram"}


def test_a_summary_becomes_quantiles_sum_and_count(ingest: Ingest, path: Path) -> None:
    body = {"count": 2, "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1}, {"quantile": 1, "value": 2}]}
    added(ingest, {"name": "wait", "summary": {"dataPoints": [point(**body)]}})
    quantiles = {json.loads(text)["quantile"]: v[0][1] for text, v in samples_of(path, "wait").items()}
    assert quantiles == {"0.5": 1, "1": 2}
    assert [v[0][1] for v in samples_of(path, "wait_count").values()] == [2]


def test_a_point_without_a_value_is_a_stale_marker_bit_for_bit(ingest: Ingest, path: Path) -> None:
    added(ingest, gauge("up", point(1.0), point(at_s=2, flags=1), point("NaN", at_s=3)))
    assert rows(path, "samples", "t_ms % 10000, value, nan_bits") == [
        (1000, 1.0, None), (2000, None, STALE), (3000, None, 0x7FF8000000000000),
    ]  # fmt: skip


def test_infinities_are_values(ingest: Ingest, path: Path) -> None:
    added(ingest, gauge("x", point("Infinity"), point("-Infinity", at_s=2)))
    assert [v for _, v in next(iter(samples_of(path, "x").values()))] == [float("inf"), float("-inf")]


def test_a_points_attribute_can_not_pose_as_another_sender(ingest: Ingest, path: Path) -> None:
    """Tenants are told apart by namespace: what the sender is must win over what a point says."""
    added(ingest, gauge("x", point(1.0, labels={"namespace": "other", "pod": "web-7"})))
    labels = json.loads(next(iter(samples_of(path, "x"))))
    assert (labels["namespace"], labels["exported_namespace"], labels["pod"]) == ("shop", "other", "web-7")
    assert "exported_pod" not in labels


def test_attribute_names_that_collide_are_joined(ingest: Ingest, path: Path) -> None:
    added(ingest, gauge("x", point(1.0, labels={"a.b": "1", "a_b": "2"})))
    assert json.loads(next(iter(samples_of(path, "x"))))["a_b"] == "1;2"


def test_equal_points_of_two_flushes_share_a_series(ingest: Ingest, path: Path) -> None:
    added(ingest, gauge("x", point(1.0)))
    added(ingest, gauge("x", point(2.0, at_s=2)))
    assert list(samples_of(path, "x").values()) == [[(1, 1.0), (2, 2.0)]]


POINTS = [point(1.0), point(2.0, at_s=2)]
REFUSED: dict[str, tuple[dict[str, Any], str, int]] = {
    "delta sum": (
        {"name": "d", "sum": {"dataPoints": POINTS, "isMonotonic": True, "aggregationTemporality": 1}},
        "delta temporality is not supported", 2,
    ),
    "exponential histogram": (
        {"name": "e", "exponentialHistogram": {"dataPoints": POINTS, "aggregationTemporality": 2}},
        "exponential histograms are not supported", 2,
    ),
    "no data": ({"name": "n"}, "neither of gauge", 1),
    "nameless": ({"name": "§", "gauge": {"dataPoints": [point(1.0)]}}, "no character", 1),
    "no value": (gauge("v", point()), "neither asDouble nor asInt", 1),
    "not a number": (gauge("v", point("many")), "asDouble 'many' is not a number", 1),
    "buckets": (
        {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            point(count=1, bucketCounts=[1], explicitBounds=[1, 2])]}},
        "1 bucketCounts for 2 explicitBounds", 1,
    ),
    "bounds": (
        {"name": "h", "histogram": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": [
            point(count=1, bucketCounts=[1, 0, 0], explicitBounds=[2, 1])]}},
        "explicitBounds do not increase", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_kept_exactly_is_refused_by_name_and_counted(ingest: Ingest, path: Path, case: str) -> None:
    item, reason, count = REFUSED[case]
    added(ingest, item, gauge("kept", point(1.0)))
    (rejection,) = ingest.report.rejections
    assert (rejection.line, rejection.signal) == (4, "metrics")
    assert repr(item["name"]) in rejection.reason
    assert reason in rejection.reason
    assert ingest.report.rejected == count
    assert types(path) == {"kept": "gauge"}
