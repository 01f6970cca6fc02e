"""The recorded run, cut over six clusters and asked through the whole stack, against SQL over the raw CSV.

The expected figures come from DuckDB over the recording's own files and import nothing of ours; the answers come
over HTTP from `appsentry serve` with six embedded stores that `appsentry import otlp`'s path filled.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from federation_core.connectors.otlp.files import import_files
from federation_core.connectors.stores.segments import SegmentStore
from tests.e2e.command_line import Running
from tests.support import nezha

pytestmark = pytest.mark.heavy

ENVIRONMENTS = {
    "prod": "prod",
    "app-prod": "prod",
    "shared-services": "prod",
    "stage": "stage",
    "test": "test",
    "dev": "dev",
}
#: The three clusters that one application is cut over, and its window.
CUT = ["prod", "app-prod", "shared-services"]
FROM, TO = "2023-01-29T09:20:00Z", "2023-01-29T09:36:30Z"
#: After every window; `max_over_time` over what came before gives the last value of each counter.
LATER = "2023-01-29T10:20:00Z"


@dataclass(frozen=True)
class Federation:
    """The running stack and the raw recording beside it."""

    url: str
    sql: duckdb.DuckDBPyConnection

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        return self._read(requests.get(self.url + path, params=parameters, timeout=60))

    def values(self, query: str, time: str = LATER, **more: Any) -> dict[tuple[str, ...], float]:
        """Answer an instant query as label values (in order of label name) → value."""
        body = {"query": query, "time": time, "require": "all", **more}
        answer = self._read(requests.post(f"{self.url}/api/v1/metrics/query", json=body, timeout=60))
        return {tuple(v for _, v in sorted(row["metric"].items())): float(row["value"][1]) for row in answer["result"]}

    def _read(self, response: requests.Response) -> dict[str, Any]:
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        assert answer["status"] == "complete", answer["warnings"]
        return answer


@pytest.fixture(scope="module")
def federation(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("recording")
    for cluster, files in nezha.write_otlp(nezha.folder(test_data), folder / "otlp").items():
        with SegmentStore(folder / "stores" / cluster, cluster=cluster) as store:
            assert not import_files(files, store, cluster=cluster).rejected
    lines = ["clusters:"]
    for cluster, environment in ENVIRONMENTS.items():
        # The recording is of 2023: without a long retention nothing of it would be asked for, and rightly.
        lines += [f"  - name: {cluster}", f"    environment: {environment}", "    retention: 20y", "    backends:"]
        lines += [
            f"      {s}: {{kind: embedded, path: {folder}/stores/{cluster}}}" for s in ("metrics", "traces", "logs")
        ]
    config = folder / "config"
    config.mkdir()
    (config / "clusters.yaml").write_text("\n".join(lines) + "\n")
    running = Running("serve", "--config", str(config), folder=folder, AUTH_ENABLED="false")
    try:
        yield Federation(running.url(), _raw(nezha.folder(test_data), _groups(nezha.folder(test_data))))
    finally:
        running.close()


def _groups(recording: Path) -> list[tuple[str, str]]:
    """The recording's own assignment of services to groups."""
    clusters = json.loads((recording / "clusters.json").read_text())["clusters"]
    return [(service, group) for group, services in clusters.items() for service in services]


def _raw(recording: Path, groups: list[tuple[str, str]]) -> duckdb.DuckDBPyConnection:
    """Spans of the raw CSV with the cluster they belong to; independent of our code."""
    sql = duckdb.connect()
    sql.execute("create table groups (service varchar, grp varchar)")
    sql.executemany("insert into groups values (?, ?)", groups)
    sql.execute(
        """
        create table raw as
        select TraceID t, SpanID s, ParentID p, PodName pod, OperationName op,
               regexp_replace(PodName, '-[^-]+-[^-]+$', '') service,
               StartTimeUnixNano::bigint a, EndTimeUnixNano::bigint b,
               strftime(make_timestamp_ns(min(StartTimeUnixNano::bigint) over (partition by TraceID)), '%H:%M') began
        from read_csv(?, all_varchar = true)
        """,
        [str(recording / "traces.csv.gz")],
    )
    sql.execute(
        """
        create table spans as
        select raw.*, case
            when began >= '09:20' and began < '09:36' then case
                when grp in ('edge', 'travel') then 'prod'
                when grp in ('orders', 'payments', 'food') then 'app-prod'
                when grp = 'catalog' then 'shared-services' end
            when began >= '09:02' and began < '09:15' then 'stage'
            when began >= '10:03' and began < '10:14' then 'test'
            when began >= '08:42' and began < '08:46' then 'dev' end cluster
        from raw left join groups using (service)
        """
    )
    sql.execute(
        """
        create table entries as
        select c.*, q.service parent_service, q.cluster parent_cluster
        from spans c left join spans q on q.t = c.t and q.s = c.p
        where c.cluster is not null and (c.p = 'root' or q.pod <> c.pod)
        """
    )
    return sql


@pytest.fixture(scope="module")
def found(federation: Federation) -> list[dict[str, Any]]:
    """What a search finds in the window of the three clusters."""
    answer = federation.get("/api/v1/traces", start=FROM, end=TO, limit=1000, clusters=",".join(CUT))
    traces: list[dict[str, Any]] = answer["traces"]
    return traces


def test_a_search_finds_every_trace_of_the_window_once(federation: Federation, found: list[dict[str, Any]]) -> None:
    expected = federation.sql.execute(
        "select distinct t from spans where cluster in ('prod','app-prod','shared-services')"
    )
    assert sorted(t["traceId"] for t in found) == sorted(t for (t,) in expected.fetchall())
    assert len(found) == 606


def test_every_trace_is_put_together_whole_from_its_clusters(
    federation: Federation, found: list[dict[str, Any]]
) -> None:
    expected = {
        trace: (spans, set(clusters), duration)
        for trace, spans, clusters, duration in federation.sql.execute(
            "select t, count(*), list(distinct cluster), max(b) - min(a) from spans"
            " where cluster in ('prod','app-prod','shared-services') group by t"
        ).fetchall()
    }
    assert sum(spans for spans, _, _ in expected.values()) == 39_978
    assert sum(len(clusters) == 3 for _, clusters, _ in expected.values()) == 354
    got = {}
    for trace in found:
        answer = federation.get(f"/api/v1/traces/{trace['traceId']}", clusters=",".join(CUT))
        assert answer["orphans"] == []
        got[answer["traceId"]] = (len(answer["spans"]), set(answer["clusters"]), int(answer["durationNano"]))
    assert got == expected


def test_calls_between_pods_are_counted_once_whoever_they_cross(federation: Federation) -> None:
    (expected,) = federation.sql.execute(
        "select count(*) from entries where p <> 'root' and cluster in ('prod','app-prod','shared-services')"
    ).fetchone() or (0,)
    got = federation.values("sum(max_over_time(traces_service_graph_request_total[2h]))", clusters=CUT)
    assert got == {(): expected} == {(): 6316}


def test_the_edges_of_six_clusters_equal_sql(federation: Federation) -> None:
    rows = federation.sql.execute(
        """
        select case when parent_cluster = cluster then parent_service else '(remote)' end, cluster, service, count(*)
        from entries where p <> 'root' group by all
        """
    ).fetchall()
    expected = {(client, cluster, server): float(calls) for client, cluster, server, calls in rows}
    got = federation.values("sum by (client, server, cluster) (max_over_time(traces_service_graph_request_total[3h]))")
    assert got == expected
    assert len({client for client, _, _ in expected}) > 10


def test_request_counters_of_six_clusters_equal_sql_by_pod_and_operation(federation: Federation) -> None:
    rows = federation.sql.execute("select cluster, op, pod, count(*) from entries group by all").fetchall()
    expected = {(cluster, operation, pod): float(calls) for cluster, operation, pod, calls in rows}
    got = federation.values("sum by (cluster, pod, operation) (max_over_time(http_requests_total[3h]))")
    assert got == expected
    (total,) = federation.values("sum(max_over_time(http_requests_total[3h]))").values()
    assert total == sum(expected.values())


def test_request_durations_of_six_clusters_equal_sql(federation: Federation) -> None:
    rows = federation.sql.execute("select cluster, sum(b - a) / 1e9, count(*) from entries group by all").fetchall()
    seconds = federation.values("sum by (cluster) (max_over_time(http_request_duration_seconds_sum[3h]))")
    counts = federation.values("sum by (cluster) (max_over_time(http_request_duration_seconds_count[3h]))")
    infinite = federation.values(
        'sum by (cluster) (max_over_time(http_request_duration_seconds_bucket{le="+Inf"}[3h]))'
    )
    assert seconds == pytest.approx({(cluster,): total for cluster, total, _ in rows}, rel=1e-9)
    assert counts == infinite == {(cluster,): float(count) for cluster, _, count in rows}


def test_log_records_of_six_clusters_equal_sql(federation: Federation, test_data: Path) -> None:
    federation.sql.execute(
        "create or replace table logs as select TraceID t, PodName pod from read_csv(?, all_varchar = true)",
        [str(nezha.folder(test_data) / "logs.csv.gz")],
    )
    rows = federation.sql.execute(
        "select cluster, count(*) from logs join (select distinct t, pod, cluster from spans) using (t, pod)"
        " where cluster is not null group by cluster"
    ).fetchall()
    got = federation.values("sum by (cluster) (max_over_time(log_records_total[3h]))")
    assert got == {(cluster,): float(count) for cluster, count in rows}


def test_the_lines_of_one_trace_come_back_in_order_from_all_its_clusters(federation: Federation) -> None:
    (trace, expected), *_ = federation.sql.execute(
        "select t, count(*) from logs join (select distinct t, pod, cluster from spans) using (t, pod)"
        " where cluster in ('prod','app-prod','shared-services') group by t"
        " having count(distinct cluster) = 3 order by 2 desc, 1"
    ).fetchall()
    response = requests.post(
        f"{federation.url}/api/v1/logs/search",
        json={"traceId": trace, "start": FROM, "end": TO, "limit": 5000, "direction": "forward"},
        timeout=60,
    )
    entries = response.json()["entries"]
    times = [int(entry["timeUnixNano"]) for entry in entries]
    assert len(entries) == expected
    assert times == sorted(times)
    assert set(Counter(entry["cluster"] for entry in entries)) == set(CUT)
