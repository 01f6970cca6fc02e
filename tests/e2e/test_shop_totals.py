"""An hour of the simulated shop in six stores: the counters add up to what the spans and log records say.

The expected totals come from SQL over the span and log files of all six stores together, as one store would see
them; the counters were derived in each store alone, where the callers in other clusters are unknown.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from federation_core.connectors.otlp import Ingest
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.connectors.stores.segments_layout import Table, load_manifest
from webapp.cli.demo.configuration import store_paths
from webapp.cli.demo.shop import Shop

HOUR_MS = 3_600_000
ORIGIN_MS = 497_222 * HOUR_MS


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


def _files(stores: dict[str, Path], table: Table) -> list[str]:
    return [
        str(path / segment.file) for path in stores.values() for segment in load_manifest(path).of(table)
    ]


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
