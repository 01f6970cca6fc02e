"""The ground rule as a property: combining the clusters' partials equals evaluating over all their samples at once.

Seeded random series (resets, gaps, stale markers, NaN, ties, pods of one name in several clusters) are cut any way
over two to six clusters; the parts travel over the wire and arrive in any order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from federation_core.errors import FederationError, QueryExecutionError
from federation_core.labels import CLUSTER, Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import SampleColumns
from tests.support.promql_verdicts import close
from tests.support.sample_store import STALE, Series, as_dict, evaluate_one, federate

CLUSTERS = ("app-prod", "dev", "prod", "shared-services", "stage", "test")
SCRAPE_MS = 15_000
RANGE = TimeRange(600_000, 1_200_000, 60_000)
INSTANT = TimeRange(0, 900_123)

#: Every construct of the subset, in the places where splitting could go wrong.
QUERIES = (
    "requests_total",
    'requests_total{cluster="prod"}',
    'depth{cluster=~"prod|dev",service!="a"}',
    'depth{cluster!~"p.*"} offset 2m',
    '{__name__=~"depth|ratio",cluster!="dev"}',
    "-depth",
    "depth * 2 + 1",
    "2 ^ depth % 7",
    "depth > 5",
    "depth == bool 3",
    "1 - -ratio / 3",
    "rate(requests_total[5m])",
    "increase(requests_total[2m])",
    "irate(requests_total[3m])",
    "delta(depth[5m])",
    "avg_over_time(ratio[3m])",
    "min_over_time(depth[3m]) + max_over_time(depth[3m])",
    "sum_over_time(depth[2m]) / count_over_time(depth[2m])",
    "last_over_time(depth[4m])",
    "present_over_time(ratio[1m])",
    "stddev_over_time(depth[5m]) + stdvar_over_time(depth[5m])",
    "quantile_over_time(0.9, depth[5m])",
    "sum(rate(requests_total[5m]))",
    "sum by (service) (rate(requests_total[5m]))",
    "sum by (cluster, service) (rate(requests_total[5m]))",
    "sum by (cluster) (depth)",
    "sum without (pod) (depth)",
    "sum without (pod, cluster) (depth)",
    "sum without (cluster) (depth)",
    "sum by (__name__) ({__name__=~'depth|ratio'})",
    "avg(depth)",
    "avg by (service) (ratio)",
    "avg by (__name__, service) ({__name__=~'depth|ratio'})",
    "avg without (pod, cluster) (depth)",
    "avg by (cluster) (depth)",
    "min(depth)",
    "max by (service) (ratio)",
    "min without (cluster, service) (depth)",
    "count(depth)",
    "count by (service) (depth > 3)",
    "count without (pod, cluster) (ratio)",
    "count by (__name__) ({service='a'})",
    "topk(3, depth)",
    "bottomk(2, depth)",
    "topk by (service) (1, depth)",
    "bottomk without (pod, cluster) (2, depth)",
    "topk by (cluster) (1, depth)",
    "topk(1 + 1, ratio)",
    "topk(0, depth)",
    "topk(2, sum by (service) (depth))",
    "sum(topk by (cluster) (1, depth))",
    "max(avg by (cluster) (depth))",
    "count(count by (service) (depth))",
    "sum(depth) / sum(ratio)",
    "avg(depth) - avg(depth offset 1m)",
    "100 - max(depth)",
    "max(depth) < 6",
    "max by (service) (depth) >= bool 9",
    "sum by (cluster, service) (depth) / sum by (cluster, service) (ratio)",
    "sum by (cluster) (depth) / sum(depth)",
    "depth / ratio",
    "depth / on (cluster, service, pod) ratio",
    "depth / ignoring (cluster) ratio",
    "depth + on (service, pod) ratio",
    "sum by (service) (depth) * on (service) max by (service) (ratio)",
    'sum(depth{cluster="dev"}) - sum(depth{cluster="prod"})',
    'sum by (service) (depth{cluster=~"dev|test"}) > ignoring (x) sum by (service) (depth{cluster="prod"})',
    "histogram_quantile(0.9, rate(latency_bucket[5m]))",
    "histogram_quantile(0.5, sum by (le) (rate(latency_bucket[5m])))",
    "histogram_quantile(0.9, sum by (cluster, le) (rate(latency_bucket[5m])))",
    "histogram_quantile(0.99, sum without (pod, cluster) (rate(latency_bucket[5m])))",
    "sum(latency_bucket) by (le)",
    "rate({__name__=~'depth|requests_total'}[5m])",
    "sum(nosuch) + 1",
    "1 + 2 * 3",
    "2 > bool 1",
)


def random_series(rng: random.Random, cluster: str) -> list[Series]:
    rows: list[Series] = []
    for pod in range(rng.randrange(1, 4)):
        # Pods of one name in several clusters: only the label `cluster` tells them apart.
        base = {"service": rng.choice("abc"), "pod": f"pod-{pod}"}
        phase = rng.randrange(1, SCRAPE_MS)
        times = [i * SCRAPE_MS + phase for i in range(80)]
        kept = [t for t in times if rng.random() > 0.1]
        if rng.random() < 0.3:
            cut = rng.randrange(len(kept))
            kept = kept[:cut] if rng.random() < 0.5 else kept[cut:]
        rows.append((Labels.of({"__name__": "requests_total", **base}), kept, counter(rng, len(kept))))
        rows.append((Labels.of({"__name__": "depth", **base}), kept, [float(rng.randrange(12)) for _ in kept]))
        ratios = [rng.choice([rng.random(), rng.random(), float("nan")]) for _ in kept]
        if kept and rng.random() < 0.5:
            ratios[rng.randrange(len(kept))] = float(STALE)
        rows.append((Labels.of({"__name__": "ratio", **base}), kept, ratios))
        total = np.zeros(len(kept))
        for bound in ("0.1", "1", "10", "+Inf"):
            total = total + np.array(counter(rng, len(kept), resets=False))
            rows.append((Labels.of({"__name__": "latency_bucket", "le": bound, **base}), kept, total.tolist()))
    return rows


def counter(rng: random.Random, length: int, resets: bool = True) -> list[float]:
    value, values = 0.0, []
    for _ in range(length):
        value = 0.0 if resets and rng.random() < 0.02 else value + rng.randrange(50)
        values.append(value)
    return values


def union(stores: dict[str, list[Series]]) -> list[Series]:
    return [(ls.with_label(CLUSTER, name), t, v) for name, rows in stores.items() for ls, t, v in rows]


def answer(ask: str, stores: dict[str, list[Series]], time_range: TimeRange, order: Sequence[str]) -> object:
    try:
        return as_dict(federate(ask, stores, time_range, order)[0])
    except FederationError as exc:
        return type(exc)


def expected(ask: str, stores: dict[str, list[Series]], time_range: TimeRange) -> object:
    try:
        return as_dict(evaluate_one(ask, union(stores), time_range))
    except FederationError as exc:
        return type(exc)


def assert_same(got: object, want: object, what: str) -> None:
    if not isinstance(want, dict) or not isinstance(got, dict):
        assert got == want, what
        return
    assert got.keys() == want.keys(), what
    for labels, row in want.items():
        assert got[labels].keys() == row.keys(), f"{what}: {labels}"
        for t, value in row.items():
            assert close(got[labels][t], value, 1e-11), f"{what}: {labels} at {t}: {got[labels][t]} is not {value}"


@pytest.mark.parametrize("time_range", [RANGE, INSTANT], ids=["range", "instant"])
@pytest.mark.parametrize("seed", range(8))
def test_combined_partials_equal_the_union_of_samples(seed: int, time_range: TimeRange) -> None:
    rng = random.Random(seed)
    names = sorted(rng.sample(CLUSTERS, rng.randrange(2, 7)))
    stores = {name: random_series(rng, name) for name in names}
    for query in QUERIES:
        order = rng.sample(names, len(names))
        got, want = answer(query, stores, time_range, order), expected(query, stores, time_range)
        assert_same(got, want, f"{query} over {names}")


def test_the_queries_give_answers_and_the_errors_they_should() -> None:
    """The property above would hold if everything were empty: it is not."""
    rng = random.Random(3)
    stores = {name: random_series(rng, name) for name in CLUSTERS}
    answers = {query: expected(query, stores, RANGE) for query in QUERIES}
    empty = {query for query, found in answers.items() if found == {}}
    failing = {query for query, found in answers.items() if not isinstance(found, dict)}
    # A filter is tested with a bound that nothing of this data passes: applied per cluster it would let some through.
    assert empty == {"max(depth) < 6", "topk(0, depth)", "sum by (cluster) (depth) / sum(depth)", "sum(nosuch) + 1"}
    assert failing == {
        "depth / ignoring (cluster) ratio",
        "depth + on (service, pod) ratio",
        "rate({__name__=~'depth|requests_total'}[5m])",
    }
    assert {answers[query] for query in failing} == {QueryExecutionError}


@pytest.mark.parametrize("seed", range(4))
def test_raw_samples_of_all_clusters_are_united(seed: int) -> None:
    rng = random.Random(seed)
    stores = {name: random_series(rng, name) for name in CLUSTERS[:3]}
    got, _ = federate("depth[2m]", stores, INSTANT, rng.sample(CLUSTERS[:3], 3))
    want = evaluate_one("depth[2m]", union(stores), INSTANT)
    assert isinstance(got, SampleColumns)
    assert isinstance(want, SampleColumns)
    assert got.labels == want.labels
    assert got.offsets.tolist() == want.offsets.tolist()
    assert got.t_ms.tolist() == want.t_ms.tolist()
    assert got.values.tolist() == want.values.tolist()


def test_the_order_of_arrival_decides_nothing_even_where_order_matters() -> None:
    """Two large terms overflow if they meet first: which ones meet is decided by the clusters' names."""
    huge = {"dev": 1.7e308, "prod": 1.7e308, "stage": -1.7e308}
    stores = {name: [(Labels.of({"__name__": "x"}), [0], [value])] for name, value in huge.items()}
    answers = {repr(as_dict(federate("sum(x)", stores, TimeRange(0, 0), order)[0])) for order in permutations(huge)}
    assert len(answers) == 1


def test_the_order_of_arrival_changes_no_bit() -> None:
    rng = random.Random(11)
    stores = {name: random_series(rng, name) for name in CLUSTERS}
    first, _ = federate("sum by (service) (rate(requests_total[5m]))", stores, RANGE)
    for _ in range(5):
        again, _ = federate(
            "sum by (service) (rate(requests_total[5m]))", stores, RANGE, rng.sample(CLUSTERS, len(CLUSTERS))
        )
        assert repr(as_dict(again)) == repr(as_dict(first))
