"""Random queries over everything that Debian's Prometheus 2.42 parses: our engine answers as that Prometheus does.

One Prometheus holds the samples of all the lab's clusters, our engine the same. What differs between 2.42 and 3, whose
semantics are ours, is never drawn; it is listed at the top of the modules in tests/support/random_queries. Every run
draws a new seed and names it; `APPSENTRY_SEED=…` repeats a run, `APPSENTRY_RANDOM_QUERIES=…` asks more.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence

import pytest

from federation_core.labels import NAME
from tests.conftest import Say
from tests.oracle.answers import Engine
from tests.oracle.random_net import Net
from tests.support.prometheus_server import PrometheusClient
from tests.support.random_queries.aggregations import AGGREGATIONS
from tests.support.random_queries.lab_metrics import METRICS, PHASE_MS
from tests.support.random_queries.mathematics import DATES, MATHEMATICS
from tests.support.random_queries.operators import RANKS
from tests.support.random_queries.range_functions import FUNCTIONS
from tests.support.sample_store import Series

pytestmark = pytest.mark.heavy
QUERIES = int(os.environ.get("APPSENTRY_RANDOM_QUERIES", "3000"))
SEED = int(os.environ.get("APPSENTRY_SEED", random.SystemRandom().randrange(2**32)))
RERUN = f"APPSENTRY_SEED={SEED}"
NOT_EMPTY = 0.7
#: Mismatches that are shrunk and shown; more would be more of the same.
SHOWN = 5
#: What a run must have drawn. Rarer combinations are in the table.
EXPECTED = {
    *FUNCTIONS,
    *MATHEMATICS,
    *DATES,
    *AGGREGATIONS,
    *RANKS,
    *("absent", "clamp", "clamp_min", "clamp_max", "histogram_quantile", "label_replace", "label_join"),
    *("scalar", "vector", "time", "pi", "timestamp", "sort", "sort_desc", "bool", "by", "without"),
    *("on", "ignoring", "group_left", "group_right", "group_left with labels", "group_right with labels"),
    *("offset", "offset, negative", "@ number", "@ start()", "@ end()", "offset of a subquery"),
    *(
        "subquery",
        "subquery, default step",
        "matrix selector",
        "vector selector",
        "sign -",
        "sign +",
        "parentheses",
        "comment",
    ),
    *("matcher =", "matcher !=", "matcher =~", "matcher !~", "number", "number in hex", "number spelled otherwise"),
}


def test_any_query_answers_as_prometheus_does(
    high_prometheus: PrometheusClient,
    high_stores: Mapping[str, Sequence[Series]],
    say: Say,
) -> None:
    net = Net(high_prometheus, Engine.over(high_stores), random.Random(SEED))
    different = list(net.mismatches(QUERIES))
    tally = net.tally
    say(f"{RERUN}, {tally.queries} queries, {tally.answered} answers not empty, {tally.empty} empty")
    say(tally.table())
    shown = "\n".join(str(net.shrunk(found)) for found in different[:SHOWN])
    assert not different, f"{RERUN}: {len(different)} of {QUERIES} are answered differently, the first ones:\n{shown}"
    assert not tally.refused.keys() - {"execution"}, f"{RERUN}: {tally.refused}"
    assert tally.answered >= NOT_EMPTY * tally.queries, RERUN
    assert not EXPECTED - tally.drawn.keys(), f"{RERUN}: a run of {QUERIES} queries is to draw all of these"


def test_samples_are_what_the_generator_believes(high_stores: Mapping[str, Sequence[Series]]) -> None:
    known = {metric.name: metric.facts for metric in METRICS}
    seen = set()
    for rows in high_stores.values():
        for labels, times, values in rows:
            facts = known[labels.get(NAME)]
            seen.add(labels.get(NAME))
            assert not {at % 1000 for at in times} & {0, PHASE_MS}
            assert set(labels.names()) - {NAME} == facts.labels - {"cluster"}
            numbers = [value for value in values if value == value]
            assert len(numbers) == len(values) or not facts.finite
            assert all(0 <= value <= facts.bound for value in numbers)
            assert all(value.is_integer() for value in numbers) or not facts.whole
    assert seen == known.keys()
