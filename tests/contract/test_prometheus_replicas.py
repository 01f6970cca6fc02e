"""Two replicas of every series in one real Prometheus, against the one that holds what both together have seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import orjson
import pytest

from federation_core import federate
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.labels import Labels
from federation_core.query import Query, TimeRange
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.prometheus_json import to_json
from federation_core.signals.series.payload import Found
from federation_core.tenancy import Scope
from tests.oracle import lab_data
from tests.oracle.answers import difference, read, read_data
from tests.support.connected import federate_over
from tests.support.prometheus_server import PrometheusClient, prometheus_holding
from tests.support.sample_store import Series, as_dict

pytestmark = pytest.mark.heavy
CLUSTERS = ("dev", "test")
LABELS = ("prometheus_replica", "replica")
START_MS = lab_data.T0_S * 1000
INSTANT = TimeRange(START_MS + 3_723_125, START_MS + 3_723_125)
RANGE = TimeRange(START_MS + 600_000, START_MS + 6_600_000, 60_000)
#: How much later the second replica scrapes where both scrape at moments of their own.
LATER_MS = 6_100


def one_backend(cluster: str, address: str, signal: str = "metrics") -> Connector:
    backend = Backend(signal, "prometheus", url=f"http://{address}", origin="c.yaml:1", replica_labels=LABELS)
    return connect(Cluster(cluster, "e", (backend,)), backend)


def both_with_holes(rng: random.Random, held: Sequence[Series]) -> Iterator[Series]:
    """Give every series twice, each with holes where the other has samples of the same moments."""
    for labels, t_ms, values in held:
        lost: dict[str, set[int]] = {"r0": set(), "r1": set()}
        at = 20
        while at < len(t_ms) - 50:
            # Of any length, and now and then both in turn.
            length = rng.choice([1, 1, 2, 3, 8, 24])
            lost[rng.choice(["r0", "r1"])].update(range(at, at + length))
            at += length + rng.randrange(3, 60)
        for name, gone in lost.items():
            kept = [i for i in range(len(t_ms)) if i not in gone]
            tagged = labels.with_label("prometheus_replica", name)
            yield tagged, [t_ms[i] for i in kept], [values[i] for i in kept]


def both_in_turn(held: Sequence[Series]) -> Iterator[Series]:
    """Give every series of a steady counter twice, scraped at other moments, each without some minutes."""
    for labels, t_ms, values in held:
        for number, (name, shift_ms) in enumerate((("r0", 0), ("r1", LATER_MS))):
            kept = [i for i in range(len(t_ms)) if (i // 40) % 4 != 2 * number]
            yield (
                labels.with_label("replica", name),
                [t_ms[i] + shift_ms for i in kept],
                [values[i] + shift_ms / 1000 for i in kept],
            )


@dataclass
class Pair:
    """The clusters' servers, each with replicas, and the one without."""

    addresses: dict[str, str]
    oracle: PrometheusClient

    def answer(self, query: str, asked: TimeRange) -> str:
        """Return where the federation's answer is another than the one server's."""
        connectors = {name: one_backend(name, address) for name, address in self.addresses.items()}
        payload, _ = federate_over(query, connectors, asked)
        return difference(read_data(to_json(payload)), read(self.oracle.ask(query, asked)))


@pytest.fixture(scope="module")
def pair(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder, rng = tmp_path_factory.mktemp("replicas"), random.Random("replicas")
    whole = lab_data.clusters()
    steady = [
        (Labels.of({"__name__": "steady_total", "pod": f"p{pod}"}), times, [t / 1000 - lab_data.T0_S for t in times])
        for pod in range(3)
        for times in [[START_MS + 1_300 * pod + i * 15_000 for i in range(lab_data.SCRAPES)]]
    ]
    rule = (Labels.of({"__name__": "job:up:sum"}), steady[0][1], [1.0] * lab_data.SCRAPES)
    truth: dict[str, list[Series]] = {name: [*whole[name], rule] for name in CLUSTERS}
    with ExitStack() as running:

        def serve(name: str, cluster: str, held: Sequence[Series]) -> str:
            (folder / name).mkdir()
            return running.enter_context(prometheus_holding(prometheus_binary, {cluster: held}, folder / name))

        addresses = {}
        for name in CLUSTERS:
            held = [*both_with_holes(rng, whole[name]), *both_in_turn(steady), rule]
            addresses[name] = serve(name, "", held)
        (folder / "oracle").mkdir()
        address = running.enter_context(prometheus_holding(prometheus_binary, truth, folder / "oracle"))
        yield Pair(addresses, running.enter_context(closing(PrometheusClient(address))))


@pytest.mark.parametrize("asked", [INSTANT, RANGE], ids=["instant", "range"])
@pytest.mark.parametrize(
    "query",
    [
        "count(up)",
        "up",
        "sum by (service) (rate(http_requests_total[5m]))",
        "sum by (cluster) (increase(http_requests_total[1m]))",
        "avg_over_time(queue_depth[3m])",
        "count_over_time(up[2m])",
        "changes(up[10m])",
        "irate(http_requests_total[2m])",
        "timestamp(up)",
        "histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
        "sum(rate(http_requests_total[5m])) / sum(up)",
        "max_over_time(sum(queue_depth)[9m30s:1m])",
        "topk(3, container_memory_working_set_bytes)",
        "queue_depth offset 7m",
        'count by (replica, prometheus_replica) (up{replica=""})',
        'absent(up{prometheus_replica="r0"})',
        "sum(job:up:sum) + sum(up)",
    ],
)
def test_the_answer_is_that_of_what_both_have_seen(pair: Pair, query: str, asked: TimeRange) -> None:
    assert pair.answer(query, asked) == ""


def test_a_rate_over_replicas_that_scrape_in_turn_is_that_of_one(pair: Pair) -> None:
    """The counter grows by one a second: a rate over both would jump, and every false reset would be a peak."""
    connectors = {"dev": one_backend("dev", pair.addresses["dev"])}
    for query in ("rate(steady_total[2m])", "irate(steady_total[1m])", "deriv(steady_total[5m])"):
        payload, _ = federate_over(query, connectors, RANGE)
        assert isinstance(payload, Frame)
        assert payload.series_count == 3
        assert payload.present.all()
        assert np.allclose(payload.values, 1.0, atol=1e-9)
    (count,) = as_dict(federate_over("sum(count_over_time(steady_total[10m]))", connectors, RANGE)[0]).values()
    # 40 scrapes of three pods in ten minutes; going over takes or gives a part of an interval.
    assert all(117 <= value <= 123 for value in count.values())


def test_what_there_is_is_listed_without_replicas(pair: Pair) -> None:
    clusters = []
    scope = Scope("t", dict.fromkeys(CLUSTERS, ()))
    for name, address in pair.addresses.items():
        backend = Backend("metrics", "prometheus", url=f"http://{address}", origin="c.yaml:1", replica_labels=LABELS)
        clusters.append(Cluster(name, "e", (backend,), retention_ms=10**15))

    def listed(question: str) -> list[object]:
        query = Query("series", question, TimeRange(START_MS, START_MS + 7_200_000), "t")
        plan = federate.plan(query, scope, clusters, query_id="q", served=CLUSTERS, now_ms=RANGE.end_ms)
        connectors = {one.name: connect(one, one.backend_for("series")) for one in clusters}  # type: ignore[arg-type]
        partials = {
            shard.cluster_name: federate.run_shard(shard, connectors[shard.cluster_name], lambda: RANGE.end_ms)
            for shard in plan.shards
        }
        result = federate.combine(plan, partials, CLUSTERS)
        assert isinstance(result.payload, Found), result.error
        return list(result.payload.rows)

    def theirs(path: str, match: str) -> list[dict[str, str]]:
        asked = urlencode({"match[]": match, "start": START_MS / 1000, "end": START_MS / 1000 + 7200})
        with urlopen(f"http://{pair.oracle.address}/api/v1/{path}?{asked}") as response:
            return list(orjson.loads(response.read())["data"])

    assert listed('series {__name__="up"}') == sorted(Labels.of(row) for row in theirs("series", "up"))
    assert listed('series {__name__="up",prometheus_replica!="r0"}') == listed('series {__name__="up"}')
    assert listed('series {__name__="up",prometheus_replica="r0"}') == []
    assert listed('labels {__name__="up"}') == theirs("labels", "up")
    assert listed('values "prometheus_replica"') == listed('values "replica" {__name__="steady_total"}') == []
    assert listed('values "pod" {__name__="steady_total"}') == ["p0", "p1", "p2"]
