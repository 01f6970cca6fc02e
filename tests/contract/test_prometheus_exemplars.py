"""Exemplars behind Prometheus' API: what is asked, what is made of answers, and two real servers as one.

No exchange about exemplars was recorded: the shapes are those of the real Prometheus at the end of this file, by hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import orjson
import pytest

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.errors import ClusterError, Malformed, Rejected, Unreachable
from federation_core.labels import Labels, Matcher, MatchOp
from federation_core.outcome import Result, Verdict
from federation_core.plan import Leaf
from federation_core.query import Query, TimeRange
from federation_core.selector_text import selector_text
from federation_core.signals.exemplars import KIND
from federation_core.signals.exemplars.payload import Exemplar, Exemplars, Exemplified
from federation_core.signals.metrics.expr import selectors
from federation_core.signals.metrics.parse import parse
from federation_core.tenancy import Limits, Scope
from tests.support.federations import ask, scope_over
from tests.support.prometheus_replies import PROMETHEUS_2, Reply, Request, answering, failure, success
from tests.support.prometheus_server import prometheus_on
from tests.support.sample_store import FAR_DEADLINE, every, scope_of, series
from tests.support.victoria_metrics import victoria_metrics_holding

pytestmark = pytest.mark.heavy
WHEN = TimeRange(1_795_470_000_000, 1_795_471_800_125)
SELECTED = '{__name__="lat_bucket",job="api"} or {__name__="up"}'


def opened(url: str, name: str = "prod", replicas: tuple[str, ...] = ()) -> Connector:
    backend = Backend("metrics", "prometheus", url=url, origin="clusters.yaml:1", replica_labels=replicas)
    found = Cluster(name, "e", (backend,)).backend_for("exemplars")
    assert found is not None
    return connect(Cluster(name, "e", (backend,)), found)


def row(labels: dict[str, str], *exemplars: tuple[float, str, Any]) -> dict[str, Any]:
    told = [{"labels": {"trace_id": i}, "value": value, "timestamp": at} for at, i, value in exemplars]
    return {"seriesLabels": labels, "exemplars": told}


@contextmanager
def telling(reply: Reply, build: Reply | None = None) -> Iterator[tuple[str, list[Request]]]:
    def answer(request: Request) -> Reply:
        return (build or success(PROMETHEUS_2)) if request.path.endswith("buildinfo") else reply

    with answering(answer) as server:
        yield server.url, server.asked


def fetched(reply: Reply, build: Reply | None = None, limits: Limits | None = None, text: str = SELECTED) -> Any:
    with telling(reply, build) as (url, _):
        return opened(url).fetch(Leaf("e", text, WHEN), scope_of(["prod"], limits), FAR_DEADLINE)


def test_it_asks_in_a_form_to_the_millisecond() -> None:
    with telling(success([])) as (url, asked):
        opened(url).fetch(Leaf("e", SELECTED, WHEN), scope_of(["prod"]), FAR_DEADLINE)
    (request,) = [request for request in asked if request.path.endswith("query_exemplars")]
    assert (request.method, request.path) == ("POST", "/api/v1/query_exemplars")
    told = {name: request.field(name) for name in ("query", "start", "end")}
    assert told == {"query": SELECTED, "start": "1795470000.000", "end": "1795471800.125"}


def test_times_and_values_are_read_as_they_are_meant() -> None:
    labels = {"__name__": "lat_bucket", "le": "0.5"}
    payload = fetched(success([row(labels, (1795470001.479, "b", "6"), (1795470001, "a", "1e-07"))])).payload
    ones = [(1795470001000, "a", "1e-07"), (1795470001479, "b", "6")]
    exemplars = tuple(Exemplar(t, Labels.of({"trace_id": i}), value) for t, i, value in ones)
    assert payload == Exemplars((Exemplified(Labels.of(labels), exemplars),))


@pytest.mark.parametrize("reply", [success([]), Reply({"status": "success"}), success(None)])
def test_nothing_is_a_complete_answer(reply: Reply) -> None:
    answer = fetched(reply)
    assert (answer.payload, answer.warnings, answer.truncated) == (Exemplars(), (), "")


@pytest.mark.parametrize(
    "data",
    [
        {},
        [[]],
        [{"seriesLabels": {}}],
        [{"seriesLabels": [], "exemplars": []}],
        [row({}, (1, "a", "six"))],
        [row({}, (float("inf"), "a", "6"))],
        [row({"a": 1}, (1, "a", "6"))],  # type: ignore[dict-item]
        "none",
    ],
)
def test_what_is_no_answer_about_exemplars_is_malformed(data: Any) -> None:
    with pytest.raises(Malformed) as caught:
        fetched(success(data))
    assert caught.value.cluster == "prod"


def test_replicas_of_a_series_are_one_and_their_copies_too() -> None:
    rows = [row({"__name__": "up", "replica": r}, (1795470001, "a", "1"), (1795470002, r, "1")) for r in "xy"]
    with telling(success(rows)) as (url, asked):
        payload = (
            opened(url, replicas=("replica",))
            .fetch(Leaf("e", 'up{replica=~".*"}', WHEN), scope_of(["prod"]), FAR_DEADLINE)
            .payload
        )
        (only,) = payload.series
        assert (only.labels, [one.labels.get("trace_id") for one in only.exemplars]) == (
            Labels.of({"__name__": "up"}),
            ["a", "x", "y"],
        )
        assert "replica" not in asked[0].field("query")
        none = opened(url, replicas=("replica",)).fetch(
            Leaf("e", 'up{replica="x"}', WHEN), scope_of(["prod"]), FAR_DEADLINE
        )
        assert (none.payload, len(asked)) == (Exemplars(), 1)


def test_above_the_limits_it_is_cut_and_said() -> None:
    rows = [row({"__name__": f"m{n}"}, *((1795470000 + t, "x", "1") for t in range(4))) for n in range(3)]
    cut = fetched(success(rows), limits=Limits(max_series=2, max_samples=6))
    assert [[one.t_ms % 10_000 for one in row.exemplars] for row in cut.payload.series] == [
        [0, 1000, 2000, 3000],
        [2000, 3000],
    ]
    assert cut.truncated == "3 series with exemplars, above max_series 2; 12 exemplars, above max_samples 6"
    with telling(success(rows)) as (url, _):
        scope = scope_of(["prod"], Limits(max_series=2))
        (verdict,) = ask({"prod": opened(url)}, "exemplars", "m0", scope=scope).coverage.clusters
    assert verdict.verdict is Verdict.PARTIAL


def test_an_older_prometheus_holds_none_and_a_wrong_path_is_an_error() -> None:
    no_path = Reply(b"404 page not found", 404)
    old = fetched(no_path, success({**PROMETHEUS_2, "version": "2.25.2"}))
    assert (old.payload, old.warnings) == (Exemplars(), ("cluster prod: its backend holds no exemplars",))
    for build in (success(PROMETHEUS_2), no_path):
        with pytest.raises(Malformed, match="404, which is none of Prometheus' API"):
            fetched(no_path, build)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (failure(401, "unauthorized", "no"), Rejected),
        (Reply(b"Service Unavailable", 503), Unreachable),
        (failure(400, "bad_data", "parse error"), Malformed),
        (Reply(b"<html>log in</html>", 200), Malformed),
    ],
)
def test_refusals_are_the_clusters(reply: Reply, error: type[ClusterError]) -> None:
    with pytest.raises(error):
        fetched(reply)


def test_victoria_metrics_says_that_it_holds_none(tmp_path: Path) -> None:
    held = [series('lat_bucket{job="api"}', every(15_000, [1.0] * 4, WHEN.start_ms))]
    with victoria_metrics_holding(held, tmp_path) as address:
        connector = opened(f"http://{address}")
        connector.ping(FAR_DEADLINE)
        answer = connector.fetch(Leaf("e", SELECTED, WHEN), scope_of(["prod"]), FAR_DEADLINE)
        backend = Backend("series", "prometheus", url=f"http://{address}", origin="clusters.yaml:1")
        known = connect(Cluster("prod", "e", (backend,)), backend)
        # What it was sent has no metadata with it.
        assert known.fetch(Leaf("m", "metadata", WHEN), scope_of(["prod"]), FAR_DEADLINE).payload.rows == ()
    assert (answer.payload, answer.warnings) == (Exemplars(), ("cluster prod: its backend holds no exemplars",))


#: Cluster → the exemplars that its target shows, one after the other, of either bucket.
TRACES = {"dev": ("d1", "d2"), "prod": ("p1", "p2")}
QUERY = "histogram_quantile(0.9, sum by (le, cluster) (rate(lat_bucket[5m]))) / on () group_left () orders_total"


class Target:
    """What a scrape of one cluster's service finds; it stands still until it is told to go on."""

    def __init__(self, cluster: str, begun_s: float) -> None:
        self.cluster, self.begun_s, self.turn = cluster, begun_s, 0

    def reply(self, request: Request) -> Reply:
        at, trace_id = self.begun_s + self.turn, TRACES[self.cluster][self.turn]
        low, high, order = (
            f'# {{trace_id="{trace_id}{n}"}} {v} {at:.3f}' for n, v in (("l", "0.25"), ("h", "1e-7"), ("o", "1"))
        )
        text = (
            f'# TYPE lat histogram\n# HELP lat How long it took.\nlat_bucket{{le="0.5"}} {self.turn + 1} {low}\n'
            f'lat_bucket{{le="+Inf"}} {self.turn + 5} {high}\nlat_sum 3\nlat_count {self.turn + 5}\n'
            f"# TYPE orders counter\norders_total {self.turn + 7} {order}\n# TYPE plain gauge\nplain 1\n# EOF\n"
        )
        return Reply(
            text.encode(), headers={"Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}
        )


@dataclass
class Scraped:
    """The addresses of a server per cluster and of the one that has scraped all of them."""

    clusters: dict[str, str]
    one: str
    span: TimeRange


def scraping(binary: str, folder: Path, targets: Mapping[str, str]) -> AbstractContextManager[str]:
    """Start Prometheus over targets, by the value of their label `cluster`; "" leaves it out."""
    folder.mkdir()
    lists = "".join(
        f"    - targets: ['{url.removeprefix('http://')}']\n" + (f"      labels: {{cluster: {name}}}\n" if name else "")
        for name, url in targets.items()
    )
    head = "global: {scrape_interval: 100ms, scrape_timeout: 100ms}\n"
    head += "scrape_configs:\n- job_name: shop\n  static_configs:\n"
    (folder / "prometheus.yml").write_text(head + lists)
    return prometheus_on(binary, folder, "--enable-feature=exemplar-storage")


def asked_of(address: str, path: str, **fields: Any) -> Any:
    with urlopen(f"http://{address}/api/v1/{path}?{urlencode(fields)}", timeout=10) as reply:
        return orjson.loads(reply.read())["data"]


@pytest.fixture(scope="module")
def scraped(prometheus_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder, begun_s = tmp_path_factory.mktemp("exemplars"), round(time.time(), 3)
    with ExitStack() as stack:
        targets = {name: Target(name, begun_s) for name in TRACES}
        urls = {name: stack.enter_context(answering(target.reply)).url for name, target in targets.items()}
        one = stack.enter_context(scraping(prometheus_binary, folder / "one", urls))
        clusters = {
            name: stack.enter_context(scraping(prometheus_binary, folder / name, {"": url}))
            for name, url in urls.items()
        }
        span = TimeRange(int(begun_s * 1000) - 60_000, int(begun_s * 1000) + 60_000)
        when = {"query": "{job='shop'}", "start": span.start_ms / 1000, "end": span.end_ms / 1000}

        def seen(address: str) -> int:
            return sum(len(row["exemplars"]) for row in asked_of(address, "query_exemplars", **when))

        for turn in range(2):
            for target in targets.values():
                target.turn = turn
            expected = {one: 6 * (turn + 1), **dict.fromkeys(clusters.values(), 3 * (turn + 1))}
            for address, count in expected.items():
                for _ in range(200):
                    if seen(address) == count:
                        break
                    time.sleep(0.05)
                assert seen(address) == count
        yield Scraped(clusters, one, span)


def federated(scraped: Scraped, text: str, scope: Scope | None = None) -> Result:
    connectors = {name: opened(f"http://{address}", name) for name, address in scraped.clusters.items()}
    asked = " or ".join(selector_text(node.selector) for node in selectors(parse(text)))
    span = scraped.span
    return ask(connectors, "exemplars", asked, scope=scope, start_ms=span.start_ms, end_ms=span.end_ms)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (QUERY, 12),
        ("lat_bucket{le='0.5'}", 4),
        ("rate(lat_bucket{cluster='dev'}[5m])", 4),
        ("orders_total{cluster=~'p.*'} or lat_bucket{le!='0.5'}", 6),
        ("plain", 0),
        ("lat_bucket{cluster='none'}", 0),
    ],
)
def test_two_servers_together_answer_as_the_one_that_scraped_both(scraped: Scraped, text: str, count: int) -> None:
    times = {"start": scraped.span.start_ms / 1000, "end": scraped.span.end_ms / 1000}
    expected = asked_of(scraped.one, "query_exemplars", query=text, **times)
    assert sum(len(row["exemplars"]) for row in expected) == count
    result = federated(scraped, text)
    assert result.status == "complete"
    assert KIND.to_json(result.payload, Query("exemplars", text, scraped.span, "t"))["result"] == expected


def test_a_tenants_conditions_hold_for_exemplars(scraped: Scraped) -> None:
    scope = scope_over(scraped.clusters, Matcher("le", MatchOp.EQ, "0.5"))
    found = federated(scraped, "lat_bucket or orders_total", scope).payload.series
    assert [(row.labels.get("cluster"), row.labels.get("le")) for row in found] == [("dev", "0.5"), ("prod", "0.5")]


def test_metadata_of_two_servers_is_that_of_the_one(scraped: Scraped) -> None:
    def connector(name: str, address: str) -> Connector:
        backend = Backend("series", "prometheus", url=f"http://{address}", origin="clusters.yaml:1")
        return connect(Cluster(name, "e", (backend,)), backend)

    rows = ask({n: connector(n, a) for n, a in scraped.clusters.items()}, "series", "metadata").payload.rows
    told: dict[str, Any] = {}
    for fact in rows:
        told.setdefault(fact.metric, []).append({"type": fact.type, "help": fact.help, "unit": fact.unit})
    expected = asked_of(scraped.one, "metadata")
    assert told == expected
    assert expected["lat"] == [{"type": "histogram", "help": "How long it took.", "unit": ""}]
