"""Random queries over clusters that keep less than they are asked: each step has all of a cluster, or nothing of it."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from itertools import pairwise

from federation_core.config import Backend, Cluster
from federation_core.errors import FederationError
from federation_core.federate import combine, plan, run_shard
from federation_core.labels import Labels
from federation_core.outcome import Result
from federation_core.plan import Plan
from federation_core.query import TimeRange
from tests.support.federations import scope_over
from tests.support.random_promql import Queries
from tests.support.sample_store import MemoryConnector, Series, as_dict, query_of
from tests.unit.signals.metrics.test_random_queries import (
    PER_DATA,
    QUERIES,
    RERUN,
    SEED,
    difference,
    random_stores,
)

STEP_MS = 45_001


def planned(text: str, when: TimeRange, kept_ms: Mapping[str, int | None], now_ms: int) -> Plan:
    clusters = [
        Cluster(name, "e", (Backend("metrics", "memory", origin="t:1", retention_ms=kept),))
        for name, kept in kept_ms.items()
    ]
    query = query_of(text, when)
    return plan(query, scope_over(kept_ms), clusters, query_id="q", served=kept_ms, now_ms=now_ms)


def answered(made: Plan, stores: Mapping[str, list[Series]], silent: Collection[str] = ()) -> Result:
    there = [shard for shard in made.shards if shard.cluster_name not in silent]
    parts = {s.cluster_name: run_shard(s, MemoryConnector(stores[s.cluster_name]), lambda: 0) for s in there}
    return combine(made, parts, stores)


def steps(result: Result, from_ms: int, until_ms: int) -> dict[Labels, dict[int, float]]:
    """Return the values of some steps."""
    rows = {
        labels: {at_ms: value for at_ms, value in row.items() if from_ms <= at_ms < until_ms}
        for labels, row in as_dict(result.payload).items()
    }
    return {labels: row for labels, row in rows.items() if row}


def test_any_step_is_answered_with_all_of_a_cluster_or_as_if_it_were_silent() -> None:
    rng = random.Random(SEED + 3)
    queries = Queries(rng)
    compared = cut_short = 0
    for number in range(QUERIES // 5):
        if number % PER_DATA == 0:
            stores = random_stores(rng)
        start_ms = rng.randrange(0, 400_000)
        when = TimeRange(start_ms, start_ms + rng.randrange(200_000, 700_000), STEP_MS)
        text = queries.query(rng.randrange(4))
        now_ms = when.end_ms + rng.randrange(0, 60_000)
        kept = {name: rng.choice((None, rng.randrange(350_000, 900_000))) for name in stores}
        try:
            made, whole = planned(text, when, kept, now_ms), planned(text, when, dict.fromkeys(stores), now_ms)
        except FederationError:
            continue
        found = answered(made, stores)
        begins = {name: when.end_ms + 1 if cut.from_ms is None else cut.from_ms for name, cut in made.cuts.items()}
        cut_short += bool(begins)
        bounds = sorted({when.start_ms, when.end_ms + 1, *begins.values()})
        for from_ms, until_ms in pairwise(bounds):
            silent = [name for name, begin_ms in begins.items() if from_ms < begin_ms]
            want = answered(whole, stores, silent)
            if found.error or want.error:
                # An error at a step that one of them does not look at, or nobody left to ask.
                continue
            compared += bool(steps(want, from_ms, until_ms))
            said = difference(steps(found, from_ms, until_ms), steps(want, from_ms, until_ms))
            assert not said, f"{RERUN}, query {number} over {kept} {when}, now {now_ms}, {silent}: {text}\n{said}"
    # The property would hold if nothing were cut or everything empty.
    assert cut_short > QUERIES / 5 / 3, RERUN
    assert compared > QUERIES / 5 / 3, RERUN
