"""An hour of the simulated shop in six stores: the counters add up to what the spans and log records say.

The expected totals come from SQL over the span and log files of all six stores together, as one store would see
them; the counters were derived in each store alone, where the callers in other clusters are unknown.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from federation_core import federate
from federation_core.config import Settings, parse
from federation_core.connectors import connect
from federation_core.connectors.otlp import Ingest
from federation_core.connectors.stores.segments import SegmentStore, wall_clock_ms
from federation_core.connectors.stores.segments_layout import Table, load_manifest
from federation_core.outcome import Result
from federation_core.query import Query, TimeRange
from federation_core.signals.metrics.frame import Frame
from federation_core.tenancy import Scope
from webapp.cli.demo.configuration import store_paths, write_config
from webapp.cli.demo.shop import Shop

HOUR_MS = 3_600_000
ORIGIN_MS = 497_222 * HOUR_MS
#: Retention that reaches back to the origin, a fixed hour in the past.
LONG_MS = 20 * 365 * 24 * HOUR_MS


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An hour of the shop, with every incident in it, imported into six stores and closed."""
    paths = store_paths(tmp_path_factory.mktemp("shop"))
    shop = Shop(3, ORIGIN_MS)
    opened = {}
    for cluster, path in paths.items():
        path.mkdir(parents=True)
        opened[cluster] = SegmentStore(path, cluster=cluster)
    ingests = {cluster: Ingest(store, cluster=cluster) for cluster, store in opened.items()}
    for from_ms in range(ORIGIN_MS, ORIGIN_MS + HOUR_MS, HOUR_MS // 4):
        for cluster, requests in shop.emit(from_ms, from_ms + HOUR_MS // 4).items():
            for request in requests:
                ingests[cluster].add(request)
            ingests[cluster].flush(from_ms + HOUR_MS // 4)
    for cluster, ingest in ingests.items():
        ingest.flush()
        assert ingest.report.rejected == 0
        opened[cluster].close()
    return paths


@pytest.fixture(scope="module")
def settings(stores: dict[str, Path]) -> Settings:
    """The demo's own configuration of those stores."""
    folder = stores["prod"].parent.parent
    file = write_config(folder, retention_ms=LONG_MS)
    return parse({"AUTH_ENABLED": "false"}, {file.name: file.read_text(encoding="utf-8")}, str(folder))


def _files(stores: dict[str, Path], table: Table) -> list[str]:
    return [str(path / segment.file) for path in stores.values() for segment in load_manifest(path).of(table)]


def _last_values(path: Path, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield the labels and the last value of every series of one name in one store."""
    rows = duckdb.execute(
        """
        SELECT CAST(labels AS JSON)::MAP(VARCHAR, VARCHAR), arg_max(value, t_ms)
        FROM read_parquet($samples) JOIN (SELECT DISTINCT ON (series_id) * FROM read_parquet($series)) USING (series_id)
        WHERE name = $name GROUP BY series_id, labels
        """,
        {"samples": _files({"": path}, "samples"), "series": _files({"": path}, "series"), "name": name},
    )
    yield from rows.fetchall()


def _counted(stores: dict[str, Path], name: str, *by: str) -> Counter[tuple[str, ...]]:
    totals: Counter[tuple[str, ...]] = Counter()
    for path in stores.values():
        for labels, value in _last_values(path, name):
            totals[tuple(labels[label] for label in by)] += int(value)
    return totals


def _entry_spans(stores: dict[str, Path], columns: str, condition: str = "true") -> Counter[tuple[str, ...]]:
    """Count, over all files together, spans that are roots or have their parent in another pod."""
    rows = duckdb.execute(
        f"""
        WITH spans AS (SELECT * FROM read_parquet($files))
        SELECT {columns}, count(*) FROM spans child
        LEFT JOIN spans parent ON parent.trace_id = child.trace_id AND parent.span_id = child.parent_id
        WHERE (parent.pod IS NULL OR parent.pod <> child.pod) AND {condition} GROUP BY ALL
        """,
        {"files": _files(stores, "spans")},
    )
    return Counter({tuple(row[:-1]): row[-1] for row in rows.fetchall()})


def test_request_counters_add_up_to_the_entry_spans_of_all_files(stores: dict[str, Path]) -> None:
    expected = _entry_spans(stores, "child.namespace, child.service, child.pod, child.name")
    assert expected.total() > 5_000
    assert _counted(stores, "http_requests_total", "namespace", "service", "pod", "operation") == expected


def test_error_counters_add_up_to_the_failed_entry_spans(stores: dict[str, Path]) -> None:
    expected = _entry_spans(stores, "child.service", "child.status = 'error'")
    assert expected["payments",] >= 5
    counted = _counted(stores, "http_requests_errors_total", "service")
    assert +counted == expected


def test_latency_counts_equal_request_counters(stores: dict[str, Path]) -> None:
    requests = _counted(stores, "http_requests_total", "service", "operation")
    assert _counted(stores, "http_request_duration_seconds_count", "service", "operation") == requests


def test_edge_counters_add_up_to_all_calls_whoever_calls(stores: dict[str, Path]) -> None:
    expected = _entry_spans(stores, "child.service", "child.parent_id <> ''")
    assert _counted(stores, "traces_service_graph_request_total", "server") == expected


def test_edges_across_clusters_are_counted_as_remote(stores: dict[str, Path]) -> None:
    files = {"files": _files(stores, "spans")}
    (crossing,) = duckdb.execute(
        """
        WITH spans AS (SELECT *, CAST(resource AS JSON) ->> '$."k8s.cluster.name"' AS cluster
                       FROM read_parquet($files))
        SELECT count(*) FROM spans child JOIN spans parent
        ON parent.trace_id = child.trace_id AND parent.span_id = child.parent_id WHERE parent.cluster <> child.cluster
        """,
        files,
    ).fetchall()[0]
    counted = _counted(stores, "traces_service_graph_request_total", "client")
    assert crossing > 1_000
    assert counted["(remote)",] == crossing


def test_log_counters_add_up_to_the_log_records(stores: dict[str, Path]) -> None:
    rows = duckdb.execute(
        "SELECT service, level, count(*) FROM read_parquet($files) GROUP BY ALL", {"files": _files(stores, "logs")}
    )
    expected = Counter({(service, level): count for service, level, count in rows.fetchall()})
    assert {level for _, level in expected} == {"info", "warn", "error"}
    assert _counted(stores, "log_records_total", "service", "level") == expected


def _ask(settings: Settings, signal: str, text: str, time_range: TimeRange) -> Result:
    """Answer a query by the three verbs, with the connectors that the configuration names."""
    names = [cluster.name for cluster in settings.clusters]
    planned = federate.plan(
        Query(signal, text, time_range, "demo"), Scope("demo", dict.fromkeys(names, ())), settings.clusters,
        query_id="q", served=names, now_ms=wall_clock_ms(),
    )  # fmt: skip
    partials = {}
    for shard in planned.shards:
        cluster = settings.cluster(shard.cluster_name)
        backend = cluster.backend_for(signal)
        assert backend is not None
        partials[cluster.name] = federate.run_shard(shard, connect(cluster, backend), wall_clock_ms)
    result = federate.combine(planned, partials, served=names)
    assert result.status == "complete", result.warnings
    return result


def _instant(settings: Settings, text: str) -> Frame:
    at_ms = ORIGIN_MS + HOUR_MS + 15_000
    payload = _ask(settings, "metrics", text, TimeRange(at_ms, at_ms)).payload
    assert isinstance(payload, Frame)
    return payload


def test_the_federated_total_by_service_equals_sql_over_all_files(stores: dict[str, Path], settings: Settings) -> None:
    frame = _instant(settings, "sum by (service) (http_requests_total)")
    answered = {labels.get("service"): int(row[0]) for labels, row in zip(frame.labels, frame.values, strict=True)}
    expected = {service: count for (service,), count in _entry_spans(stores, "child.service").items()}
    assert answered == expected


def test_the_federated_total_by_cluster_equals_sql_over_all_files(stores: dict[str, Path], settings: Settings) -> None:
    frame = _instant(settings, "sum by (cluster) (http_requests_total)")
    answered = {labels.get("cluster"): int(row[0]) for labels, row in zip(frame.labels, frame.values, strict=True)}
    cluster = """CAST(child.resource AS JSON) ->> '$."k8s.cluster.name"'"""
    assert answered == {name: count for (name,), count in _entry_spans(stores, cluster).items()}


def test_every_cluster_has_a_rate_over_five_minutes(settings: Settings) -> None:
    frame = _instant(settings, "sum by (cluster) (rate(http_requests_total[5m]))")
    assert {labels.get("cluster") for labels in frame.labels} == {cluster.name for cluster in settings.clusters}
    assert (frame.values > 0).all()
