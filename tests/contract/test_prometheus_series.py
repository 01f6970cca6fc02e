"""What six real Prometheus servers have, united, is what the one lists that holds everything."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import orjson
import pytest

from federation_core import federate
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.errors import ClusterError
from federation_core.labels import Labels, Matcher, MatchOp
from federation_core.plan import Leaf
from federation_core.query import Query, TimeRange
from federation_core.signals.series.payload import Found
from federation_core.tenancy import Limits, Scope
from tests.support.prometheus_server import _free_port, _wait_until_ready, prometheus_holding
from tests.support.sample_store import FAR_DEADLINE, Series, every, series

pytestmark = pytest.mark.heavy
T0_MS = 1_790_000_000_000
SPAN = TimeRange(T0_MS, T0_MS + 600_000)
#: A histogram that Prometheus keeps about itself as soon as it is asked something.
DURATION = "prometheus_http_request_duration_seconds"
STORES: dict[str, list[str]] = {
    "dev": ['up{job="api"}', 'up{job="web",namespace="shop"}', 'lat_bucket{job="web",le="0.5",namespace="shop"}'],
    "prod": ['up{job="api",namespace="shop"}', 'up{job="db",zone="ü"}', 'up{exported_cluster="x",job="db"}'],
    "stage": ['down{job="api"}'],
}
#: What is asked of the one server, and what of the federation.
QUESTIONS = [
    ("series", ["up"], ""),
    ("series", ['{job=~"a.*"}', 'up{zone!=""}'], ""),
    ("series", ['up{cluster="prod"}', 'down{cluster=~"s.*|dev"}'], ""),
    ("series", ['up{exported_cluster="x"}'], ""),
    ("series", ['up{exported_cluster=""}'], ""),
    ("labels", [], ""),
    ("labels", ["down"], ""),
    ("labels", ['up{cluster!="prod"}'], ""),
    ("labels", ["nothing"], ""),
    ("values", [], "job"),
    ("values", ['{namespace="shop"}'], "job"),
    ("values", [], "cluster"),
    ("values", ['{namespace="shop"}'], "cluster"),
    ("values", [], "exported_cluster"),
    ("values", ['{cluster="dev"}'], "__name__"),
    ("values", [], "nothing"),
]


def held(texts: Sequence[str], **more: str) -> list[Series]:
    points = every(15_000, [1.0] * 40, T0_MS)
    rows = (series(text, points) for text in texts)
    return [(Labels.of({**more, **dict(labels)}), t, v) for labels, t, v in rows]


@pytest.fixture(scope="module")
def oracle(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    stores = {name: held(texts) for name, texts in STORES.items()}
    with prometheus_holding(prometheus_binary, stores, tmp_path_factory.mktemp("oracle")) as address:
        yield address


@pytest.fixture(scope="module", params=["", "same"], ids=["no cluster label", "its own name"])
def members(
    request: pytest.FixtureRequest, prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Connector]]:
    with ExitStack() as running:
        addresses = {
            name: running.enter_context(
                prometheus_holding(
                    prometheus_binary,
                    {name if request.param == "same" else "": held(texts)},
                    tmp_path_factory.mktemp(name),
                )
            )
            for name, texts in STORES.items()
        }
        yield {name: connector(name, address) for name, address in addresses.items()}


def cluster_at(name: str, address: str) -> Cluster:
    backend = Backend("metrics", "prometheus", url=f"http://{address}", origin="clusters.yaml:1")
    return Cluster(name, "e", (backend,), retention_ms=10**14)


def connector(name: str, address: str) -> Connector:
    cluster = cluster_at(name, address)
    backend = cluster.backend_for("series")
    assert backend is not None
    return connect(cluster, backend)


def federated(text: str, members: Mapping[str, Connector], scope: Scope | None = None) -> Found:
    """Plan, run in every cluster, combine."""
    scope = scope or Scope("t", dict.fromkeys(members, ()))
    clusters = [cluster_at(name, "127.0.0.1:1") for name in members]
    query = Query("series", text, SPAN, "t")
    plan = federate.plan(query, scope, clusters, query_id="q", served=list(members), now_ms=T0_MS)
    parts = {
        shard.cluster_name: federate.run_shard(shard, members[shard.cluster_name], lambda: T0_MS)
        for shard in plan.shards
    }
    result = federate.combine(plan, parts, list(members))
    assert result.error is None
    assert result.coverage.complete, result.warnings
    found: Found = result.payload
    return found


def listed(address: str, question: str, matches: Sequence[str], label: str) -> list[Any]:
    path = f"label/{quote(label)}/values" if question == "values" else question
    fields = [("match[]", match) for match in matches]
    fields += [("start", str(SPAN.start_ms // 1000)), ("end", str(SPAN.end_ms // 1000))]
    with urlopen(f"http://{address}/api/v1/{path}?{urlencode(fields)}") as response:
        data: list[Any] = orjson.loads(response.read())["data"]
    return data


def as_braces(match: str) -> str:
    name, _, rest = match.partition("{")
    conditions = [f'__name__="{name}"'] if name else []
    return "{" + ",".join([*conditions, *([rest.removesuffix("}")] if rest else [])]) + "}"


@pytest.mark.parametrize(("question", "matches", "label"), QUESTIONS)
def test_six_servers_list_what_one_does(
    members: Mapping[str, Connector], oracle: str, question: str, matches: list[str], label: str
) -> None:
    about = f' "{label}"' if question == "values" else ""
    found = federated(f"{question}{about} {' or '.join(map(as_braces, matches))}", members)
    expected = listed(oracle, question, matches, label)
    if question == "series":
        expected = sorted(Labels.of(row) for row in expected)
    assert list(found.rows) == expected
    assert expected or "nothing" in (label, *matches)


def test_a_label_whose_name_is_no_plain_one_is_read_off_the_series(members: Mapping[str, Connector]) -> None:
    assert federated('values "no plain/name"', members).rows == ()


def test_a_scope_holds_for_every_question(members: Mapping[str, Connector]) -> None:
    shop = (Matcher("namespace", MatchOp.EQ, "shop"),)
    scope = Scope("t", {"dev": shop, "prod": shop})
    assert federated('values "job"', members, scope).rows == ("api", "web")
    assert federated('values "cluster" {job="api"}', members, scope).rows == ("prod",)
    assert {dict(row)["namespace"] for row in federated("series", members, scope).rows} == {"shop"}  # type: ignore[arg-type]
    assert federated("metadata", members, scope).rows == ()


@pytest.fixture(scope="module")
def scraping(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connector]:
    """A server that scrapes itself: metadata comes from nowhere else."""
    folder = tmp_path_factory.mktemp("scraping")
    address = f"127.0.0.1:{_free_port()}"
    pace = "scrape_interval: 200ms, scrape_timeout: 200ms"
    target = f"{{job_name: itself, {pace}, static_configs: [{{targets: ['{address}']}}]}}"
    (folder / "prometheus.yml").write_text(f"scrape_configs: [{target}]\n")
    words = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder, "web.listen-address": address}
    with subprocess.Popen(
        [prometheus_binary, *(f"--{name}={value}" for name, value in words.items())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _wait_until_ready(address, server)
            opened = connector("prod", address)
            for _ in range(200):
                if DURATION in facts(opened, "metadata"):
                    break
                time.sleep(0.05)
            yield opened
        finally:
            server.terminate()


def facts(opened: Connector, text: str) -> dict[str, str]:
    now_ms = time.time_ns() // 1_000_000
    span = TimeRange(now_ms - 3_600_000, now_ms + 3_600_000)
    rows = opened.fetch(Leaf("l", text, span), Scope("t", {"prod": ()}), FAR_DEADLINE).payload.rows
    assert all(fact.help for fact in rows)
    return {fact.metric: fact.type for fact in rows}


def test_metadata_is_that_of_the_metrics_whose_series_are_meant(scraping: Connector) -> None:
    everything = facts(scraping, "metadata")
    assert everything["go_goroutines"] == "gauge"
    assert len(everything) > 50
    assert facts(scraping, 'metadata {__name__="go_goroutines"}') == {"go_goroutines": "gauge"}
    assert facts(scraping, f'metadata {{__name__="{DURATION}_bucket"}}') == {DURATION: "histogram"}
    # There may be more of them meanwhile.
    assert facts(scraping, 'metadata {job="itself"}').items() >= everything.items()
    assert facts(scraping, 'metadata {job="another"}') == {}


def test_more_rows_than_the_tenant_may_have_are_cut_and_said(members: Mapping[str, Connector]) -> None:
    scope = Scope("t", {"dev": ()}, limits=Limits(max_series=2))
    fetched = members["dev"].fetch(Leaf("l", "series", SPAN), scope, FAR_DEADLINE)
    assert (len(fetched.payload.rows), fetched.truncated) == (2, "more rows than max_series 2")


def test_a_dark_backend_is_its_clusters_fault() -> None:
    dark = connector("dev", "127.0.0.1:1")
    for call in (
        lambda: dark.fetch(Leaf("l", "labels", SPAN), Scope("t", {"dev": ()}), FAR_DEADLINE),
        lambda: dark.ping(FAR_DEADLINE),
    ):
        with pytest.raises(ClusterError) as caught:
            call()
        assert caught.value.cluster == "dev"
