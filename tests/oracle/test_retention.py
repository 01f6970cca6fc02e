"""A Prometheus that has dropped what is older than its retention, beside one that has all: no number is another's.

From the first step on at which the cluster has all that is looked at, the answer is that of one Prometheus which has
dropped nothing; before, that of one which never heard of the cluster. Asked the whole, as a Prometheus alone is, it
would answer the steps in between out of half-empty windows, and without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing

import numpy as np
import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.federate import combine, plan, run_shard
from federation_core.outcome import Result, Verdict
from federation_core.query import Query, TimeRange
from federation_core.signals.metrics.prometheus_json import to_json
from tests.oracle.answers import Answer, Key, close, read, read_data
from tests.support.federations import scope_over
from tests.support.prometheus_server import PrometheusClient, prometheus_holding
from tests.support.sample_store import Series, every, series

pytestmark = pytest.mark.heavy

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NOW_MS = 1_790_000_017_345
BEGIN_MS = NOW_MS // MINUTE_MS * MINUTE_MS - 6 * HOUR_MS
KEPT_MS = 150 * MINUTE_MS
ASKED = TimeRange(NOW_MS - 4 * HOUR_MS, NOW_MS, 7 * MINUTE_MS)
QUERIES = (
    "x",
    "sum by (job) (x)",
    "avg(x) - avg(x offset 50m)",
    "sum(increase(rises[40m])) / count(x)",
    "max_over_time(sum(x)[40m:5m])",
    "quantile_over_time(scalar(count(x)) / 10, x[25m])",
    'sum(x{cluster="prod"} offset 1h) / sum(x)',
    "sum(sum_over_time(x[30m])) or vector(0)",
    "count(last_over_time(x[1h]))",
)


def held(seed: int) -> list[Series]:
    """Return six hours of minutes."""
    random = np.random.default_rng(seed)
    found = []
    for job in ("api", "dns"):
        found.append(
            series(f'x{{job="{job}"}}', every(MINUTE_MS, (random.integers(1, 90, 360) / 4).tolist(), BEGIN_MS))
        )
        rising = random.integers(1, 50, 360).cumsum().astype(float).tolist()
        found.append(series(f'rises{{job="{job}"}}', every(MINUTE_MS, rising, BEGIN_MS)))
    return found


def newer(rows: list[Series]) -> list[Series]:
    """Return the series as a backend has them that has dropped what is older than its retention."""
    kept = [(labels, [at for at in times if at >= NOW_MS - KEPT_MS], values) for labels, times, values in rows]
    return [(labels, times, values[len(values) - len(times) :]) for labels, times, values in kept]


@pytest.fixture(scope="module")
def addresses(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Prometheus with all of both clusters, with dev alone, and with what is left of prod."""
    dev, prod = held(1), held(2)
    stores = {"all": {"dev": dev, "prod": prod}, "dev": {"dev": dev}, "prod": {"prod": newer(prod)}}
    with ExitStack() as running:
        yield {
            name: running.enter_context(prometheus_holding(prometheus_binary, store, tmp_path_factory.mktemp(name)))
            for name, store in stores.items()
        }


def federated(text: str, addresses: Mapping[str, str], kept_ms: int | None) -> tuple[Result, int | None]:
    """Return the answer, and from when on prod takes part in it."""
    clusters = []
    members: dict[str, Connector] = {}
    for name, retention in (("dev", None), ("prod", kept_ms)):
        url = f"http://{addresses[name]}"
        backend = Backend("metrics", "prometheus", url=url, origin="t:1", retention_ms=retention)
        clusters.append(Cluster(name, "e", (backend,)))
        members[name] = connect(clusters[-1], backend)
    made = plan(
        Query("metrics", text, ASKED, "t"), scope_over(members), clusters, query_id="q", served=members, now_ms=NOW_MS
    )
    partials = {s.cluster_name: run_shard(s, members[s.cluster_name], lambda: NOW_MS) for s in made.shards}
    cut = made.cuts.get("prod")
    return combine(made, partials, members), cut.from_ms if cut else ASKED.start_ms


def asked(address: str, text: str) -> Answer:
    with closing(PrometheusClient(address)) as client:
        found = read(client.ask(text, ASKED))
    assert isinstance(found, Answer)
    return found


def steps(answer: Answer, from_ms: int, until_ms: int) -> dict[Key, dict[int, float]]:
    rows = {key: {at: v for at, v in row.items() if from_ms <= at < until_ms} for key, row in answer.rows.items()}
    return {key: row for key, row in rows.items() if row}


def same(mine: dict[Key, dict[int, float]], theirs: dict[Key, dict[int, float]]) -> bool:
    return mine.keys() == theirs.keys() and all(
        row.keys() == mine[key].keys() and all(close(mine[key][at], value) for at, value in row.items())
        for key, row in theirs.items()
    )


@pytest.mark.parametrize("text", QUERIES)
def test_a_step_is_that_of_a_prometheus_with_all_or_without_the_cluster(
    text: str, addresses: Mapping[str, str]
) -> None:
    found, begins = federated(text, addresses, KEPT_MS)
    (row,) = found.coverage.missing
    assert (row.cluster, row.verdict, found.status) == ("prod", Verdict.PARTIAL, "partial")
    assert row.reason.startswith("keeps 2h30m: nothing before ")
    assert begins is not None
    assert ASKED.start_ms < begins < ASKED.end_ms
    mine = read_data(to_json(found.payload, Query("metrics", text, ASKED, "t")))
    whole, without = asked(addresses["all"], text), asked(addresses["dev"], text)
    after, end_ms = steps(whole, begins, ASKED.end_ms + 1), ASKED.end_ms + 1
    assert after
    assert same(steps(mine, begins, end_ms), after)
    before = steps(without, 0, begins)
    if "or vector(0)" in text:
        # A default is for what is nowhere; whether it is, prod might have known. Here dev has values throughout.
        assert before
    assert same(steps(mine, 0, begins), before)


def test_asked_the_whole_it_would_sum_half_empty_windows_and_say_that_all_is_there(
    addresses: Mapping[str, str],
) -> None:
    """What the cut is for: this is what an unknown retention costs."""
    text = "sum(sum_over_time(x[30m]))"
    found, _ = federated(text, addresses, None)
    assert found.status == "complete"
    mine = read_data(to_json(found.payload, Query("metrics", text, ASKED, "t")))
    whole, without = asked(addresses["all"], text), asked(addresses["dev"], text)
    bound_ms = NOW_MS - KEPT_MS
    (got,) = steps(mine, bound_ms + MINUTE_MS, bound_ms + 25 * MINUTE_MS).values()
    assert got
    for answer in (whole, without):
        (wanted,) = answer.rows.values()
        assert not any(close(value, wanted[at]) for at, value in got.items())
