"""The ground rule for queries nobody thought of: random expressions over random series cut over clusters.

Every run draws a new seed and names it in the failure; `APPSENTRY_SEED=…` repeats a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping

from federation_core.config import Backend, Cluster
from federation_core.errors import FederationError, QueryExecutionError
from federation_core.federate import combine, plan, run_shard
from federation_core.labels import CLUSTER, Labels, Matcher, MatchOp, Selector
from federation_core.query import TimeRange
from federation_core.tenancy import Scope
from tests.support.promql_verdicts import close
from tests.support.random_promql import CLUSTERS, Queries
from tests.support.sample_store import STALE, MemoryConnector, Series, as_dict, evaluate_one, federate, query_of

#: An answer, or the class of the error there is instead of one.
Outcome = dict[Labels, dict[int, float]] | type[FederationError]
QUERIES = int(os.environ.get("APPSENTRY_RANDOM_QUERIES", "1500"))
SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
RERUN = f"APPSENTRY_SEED={SEED}"
#: Queries that are asked of one set of series before the next is drawn.
PER_DATA = 20
SCRAPE_MS = 15_000
#: What a tenant may see of a cluster.
CONDITIONS = (
    (Matcher("service", MatchOp.EQ, "b"),),
    (Matcher("service", MatchOp.RE, "a|c"), Matcher("pod", MatchOp.NE, "1")),
    (Matcher("exported_cluster", MatchOp.EQ, ""),),
    (Matcher("__name__", MatchOp.NRE, "req.*"),),
)


def random_stores(rng: random.Random) -> dict[str, list[Series]]:
    """Return series of two to six clusters: some lack some metrics, some have a label `cluster` of their own."""
    names = sorted(rng.sample(CLUSTERS, rng.randrange(2, 7)))
    return {name: [row for metric in METRICS if rng.random() < 0.8 for row in metric(rng, name)] for name in names}


def requests(rng: random.Random, cluster: str) -> list[Series]:
    return [(labels_of(rng, "requests", cluster, pod), *points(rng, counting)) for pod in range(rng.randrange(1, 3))]


def depths(rng: random.Random, cluster: str) -> list[Series]:
    return [(labels_of(rng, "depth", cluster, pod), *points(rng, wavering)) for pod in range(rng.randrange(1, 3))]


def buckets(rng: random.Random, cluster: str) -> list[Series]:
    labels, (times, counts) = labels_of(rng, "latency_bucket", cluster, 0), points(rng, counting)
    bounds = rng.choice((("0.1", "1", "+Inf"), ("0.1", "1.0", "10", "+Inf"), ("1", "2")))
    return [
        (labels.with_label("le", bound), times, [value * (place + 1) for value in counts])
        for place, bound in enumerate(bounds)
    ]


METRICS = (requests, depths, buckets)


def labels_of(rng: random.Random, name: str, cluster: str, pod: int) -> Labels:
    found = {"__name__": name, "service": rng.choice("ab"), "pod": str(pod)}
    own = rng.random()
    if own < 0.1:
        found[CLUSTER] = "old"
    elif own < 0.2:
        found[CLUSTER] = cluster
    return Labels.of(found)


def points(rng: random.Random, values: Callable[[random.Random], list[float]]) -> tuple[list[int], list[float]]:
    phase, drawn = rng.randrange(SCRAPE_MS), values(rng)
    first = rng.choice((0, 0, 0, rng.randrange(30)))
    last = rng.choice((len(drawn), len(drawn), rng.randrange(first, len(drawn))))
    kept = [i for i in range(first, last) if rng.random() > 0.1]
    return [i * SCRAPE_MS + phase for i in kept], [drawn[i] for i in kept]


def counting(rng: random.Random) -> list[float]:
    value, drawn = float(rng.randrange(5)), []
    for _ in range(60):
        value = 0.0 if rng.random() < 0.05 else value + rng.choice((0, 0, 1, 5, 30))
        drawn.append(float(STALE) if rng.random() < 0.03 else value)
    return drawn


def wavering(rng: random.Random) -> list[float]:
    rare = (float("nan"), float("inf"), float("-inf"), float(STALE), -0.0)
    return [rng.choice(rare) if rng.random() < 0.06 else float(rng.randrange(-4, 8)) for _ in range(60)]


def union(stores: dict[str, list[Series]]) -> list[Series]:
    """Return what one Prometheus would hold: every series with its cluster, a different one of its own set aside."""
    rows = []
    for cluster, series in stores.items():
        for labels, times, values in series:
            own = labels.get(CLUSTER)
            shown = labels.with_label(CLUSTER, cluster)
            shown = shown.with_label("exported_cluster", own) if own not in ("", cluster) else shown
            rows.append((shown, times, values))
    return rows


def random_range(rng: random.Random) -> TimeRange:
    if rng.random() < 0.4:
        at_ms = rng.randrange(0, 1_300_000)
        return TimeRange(at_ms, at_ms)
    start_ms = rng.randrange(-60_000, 900_000)
    return TimeRange(start_ms, start_ms + rng.randrange(0, 600_000), rng.choice((1000, 15_000, 45_001, 60_000)))


def federated(text: str, stores: Mapping[str, list[Series]], time_range: TimeRange, order: list[str]) -> Outcome:
    try:
        return as_dict(federate(text, stores, time_range, order)[0])
    except FederationError as exc:
        return type(exc)


def alone(text: str, store: list[Series], time_range: TimeRange) -> Outcome:
    try:
        return as_dict(evaluate_one(text, store, time_range))
    except FederationError as exc:
        return type(exc)


def scoped(text: str, stores: Mapping[str, list[Series]], time_range: TimeRange, scope: Scope) -> Outcome:
    clusters = [
        Cluster(name, "prod", (Backend("metrics", "memory", origin="t:1"),), retention_ms=10**15) for name in stores
    ]
    try:
        made = plan(query_of(text, time_range), scope, clusters, query_id="q", served=stores, now_ms=0)
    except FederationError as exc:
        return type(exc)
    parts = {s.cluster_name: run_shard(s, MemoryConnector(stores[s.cluster_name]), lambda: 0) for s in made.shards}
    result = combine(made, parts, stores)
    return type(result.error) if result.error else as_dict(result.payload)


def difference(got: Outcome, want: Outcome) -> str:
    """Say where two outcomes differ; empty where they do not."""
    if not isinstance(got, dict) or not isinstance(want, dict):
        return "" if got == want else f"{got} is not {want}"
    if got.keys() != want.keys():
        return f"series {got.keys() ^ want.keys()} are in one answer only"
    for labels, row in want.items():
        if got[labels].keys() != row.keys():
            return f"{labels}: steps {sorted(got[labels].keys() ^ row.keys())} are in one answer only"
        for t_ms, value in row.items():
            other = got[labels][t_ms]
            if not close(other, value, 1e-9) and not abs(other - value) < 1e-9:
                return f"{labels} at {t_ms}: {other} is not {value}"
    return ""


def test_any_query_answers_as_one_store_that_holds_everything() -> None:
    rng = random.Random(SEED)
    queries = Queries(rng)
    answered = refused = lenient = 0
    for number in range(QUERIES):
        if number % PER_DATA == 0:
            stores = random_stores(rng)
            everything = union(stores)
        text, time_range = queries.query(rng.randrange(4)), random_range(rng)
        got = federated(text, stores, time_range, rng.sample(sorted(stores), len(stores)))
        want = alone(text, everything, time_range)
        answered += isinstance(want, dict) and bool(want)
        refused += want is QueryExecutionError
        if want is QueryExecutionError and isinstance(got, dict):
            # Prometheus looks for duplicates in every cluster, also where nothing is there to match them with.
            lenient += 1
            continue
        found = difference(got, want)
        assert not found, f"{RERUN}, query {number} over {sorted(stores)} {time_range}: {text}\n{found}"
    # The property would hold if everything were empty or refused.
    assert answered > QUERIES / 4, f"{RERUN}: {answered} of {QUERIES} queries had an answer"
    assert lenient <= refused / 5 + 2, f"{RERUN}: {lenient} of {refused} queries that should be refused were answered"


def test_any_query_of_a_tenant_answers_as_a_store_that_holds_its_series_alone() -> None:
    """Every cluster has conditions of its own, which reach each selector through print and parse."""
    rng = random.Random(SEED + 1)
    queries = Queries(rng)
    for number in range(QUERIES // 3):
        if number % PER_DATA == 0:
            stores = random_stores(rng)
            scope = Scope("tenant", {cluster: rng.choice(CONDITIONS) for cluster in stores})
            own = [row for row in union(stores) if Selector(scope.allowed[row[0].get(CLUSTER)]).matches(row[0])]
        text, time_range = queries.query(rng.randrange(4)), random_range(rng)
        got, want = scoped(text, stores, time_range, scope), alone(text, own, time_range)
        if not (want is QueryExecutionError and isinstance(got, dict)):
            found = difference(got, want)
            assert not found, f"{RERUN}, query {number} over {scope.allowed} {time_range}: {text}\n{found}"
