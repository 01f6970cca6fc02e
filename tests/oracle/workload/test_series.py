"""The series made for a list of expressions give each of them something to answer with, whatever the expressions."""

from __future__ import annotations

import pytest

from federation_core.query import TimeRange
from federation_core.signals.metrics.parse import parse
from tests.oracle.answers import Answer, Engine
from tests.support.workload.patterns import accepted_texts
from tests.support.workload.series import CLUSTERS, NOW_S, Metric, stores_for

INVENTED = [
    'sum by (lane) (rate(ferry_boarded_total{port=~"harbour|pier.+",cluster="cluster-1"}[5m]))',
    "sum(rate(ferry_refused_total[5m])) / sum(rate(ferry_boarded_total[5m])) > 0.25",
    "ferry_free_places / ferry_places * 100 < 10",
    "ferry_engine_on == 1 and on (ferry) ferry_speed_knots < 2",
    "ferry_speed_knots * on (ferry, cluster) group_left (route) ferry_info",
    "histogram_quantile(0.9, sum by (le, lane) (rate(ferry_wait_seconds_bucket[5m])))",
    'sum(rate(ferry_wait_seconds_bucket{le="2.5"}[5m])) by (cluster)',
    'ferry_fuel_litres{tank!~"spare.*"} unless on (ferry) ferry_laid_up',
    "time() - ferry_last_seen_seconds > 600",
    "topk(3, sum by (route) (increase(ferry_boarded_total[15m])))",
    'label_replace(ferry_info, "short", "$1", "route", "(.).*")',
    "predict_linear(ferry_fuel_litres[1h], 3600) < 0",
    "changes(ferry_captain[10m]) > 0",
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    counted = frozenset({"rate"})
    metrics = [Metric("ferry_boarded_total", functions=counted), Metric("ferry_refused_total", functions=counted)]
    return Engine.over(stores_for([parse(text) for text in INVENTED], metrics))


@pytest.mark.parametrize("text", INVENTED)
def test_an_expression_has_an_answer(engine: Engine, text: str) -> None:
    found = engine.answer(text, TimeRange(NOW_S * 1000, NOW_S * 1000))
    assert isinstance(found, Answer)
    assert not found.is_empty


def test_a_metric_that_no_expression_uses_has_series_with_its_labels() -> None:
    stores = stores_for([], [Metric("ferry_bell", frozenset({"deck"}))])
    made = [labels for kept in stores.values() for labels, _, _ in kept]
    assert {tuple(labels.names()) for labels in made} == {("__name__", "deck")}


def test_the_same_list_gives_the_same_series() -> None:
    exprs = [parse(text) for text in INVENTED]
    assert stores_for(exprs) == stores_for(exprs)


def test_every_cluster_has_series_for_something() -> None:
    stores = stores_for([parse(text) for text in INVENTED])
    assert [name for name in CLUSTERS if not stores[name]] == []


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("PULL|PUSH", ["PULL", "PUSH"]),
        ("7..", ["700"]),
        (r"2(\.0)?", ["2", "2.0"]),
        ("(?:a|b)-[^a-c]+", ["a-x", "b-x"]),
        (r"[3-9]\d*", ["3", "37"]),
        ("inner|", ["inner", ""]),
    ],
)
def test_a_pattern_accepts_what_is_read_off_it(pattern: str, texts: list[str]) -> None:
    assert accepted_texts(pattern) == texts


def test_what_the_reading_does_not_know_offers_nothing() -> None:
    assert accepted_texts("a{3}") == []
