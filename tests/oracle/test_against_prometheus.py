"""Six clusters through the federation against one real Prometheus that holds all of their samples.

Prometheus 2 is enough of an oracle: the data keeps its samples off the steps, where 2 and 3 differ in the edges of
windows. Numbers agree to 1e-9, label sets and presence exactly, errors are errors on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from federation_core.errors import QueryExecutionError
from federation_core.query import TimeRange
from federation_core.signals.metrics.prometheus_json import to_json
from tests.oracle import lab_data
from tests.oracle.answers import Refusal, difference, read, read_data
from tests.support.prometheus_server import PrometheusClient
from tests.support.sample_store import Series, federate

pytestmark = pytest.mark.heavy
QUERIES = [
    tuple(line.split("\t", 1))
    for line in (Path(__file__).parent / "queries.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def time_range_of(when: str) -> TimeRange:
    start_ms = lab_data.T0_S * 1000
    if when.startswith("i@"):
        at_ms = start_ms + round(float(when[2:]) * 1000)
        return TimeRange(at_ms, at_ms)
    span, step = when[2:].split("/")
    first, last = span.split("-")
    return TimeRange(start_ms + int(first) * 1000, start_ms + int(last) * 1000, int(step) * 1000)


@pytest.mark.parametrize(("when", "query"), QUERIES, ids=[f"{when} {query}"[:90] for when, query in QUERIES])
def test_six_clusters_answer_as_one_prometheus(
    when: str, query: str, prometheus: PrometheusClient, stores: Mapping[str, Sequence[Series]]
) -> None:
    asked = time_range_of(when)
    want = read(prometheus.ask(query, asked))
    if isinstance(want, Refusal):
        assert want.kind == "execution"
        with pytest.raises(QueryExecutionError):
            federate(query, stores, asked)
        return
    payload, _ = federate(query, stores, asked)
    assert difference(read_data(to_json(payload)), want) == ""
