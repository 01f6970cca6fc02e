"""A real recorded run comes in over OTLP and gives the figures that SQL over its raw files gives.

The expected side is `Raw`: DuckDB over the recording's CSV, importing nothing of ours. The recording's own
`service_edges.json` is the second witness. What six clusters hold is compared signal by signal and edge by edge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from federation_core.connectors.otlp import ImportReport, import_files
from federation_core.connectors.stores.segments import SegmentStore
from tests.support import nezha
from tests.support.otlp_requests import T0_MS, rows, samples_of, totals_of

EDGES = "traces_service_graph_request_total"
REQUESTS = "http_requests_total"
#: cluster → (groups of services, first and last minute), as the recording's README cuts it.
CUT = {
    "prod": (("edge", "travel"), "09:20", "09:36"),
    "app-prod": (("orders", "payments", "food"), "09:20", "09:36"),
    "shared-services": (("catalog",), "09:20", "09:36"),
    "stage": ((), "09:02", "09:15"),
    "test": ((), "10:03", "10:14"),
    "dev": ((), "08:42", "08:46"),
}
THREE = ("prod", "app-prod", "shared-services")


class Raw:
    """The recording in a DuckDB of its own: spans with their trace's start, service and group."""

    def __init__(self, recording: Path) -> None:
        self._db = duckdb.connect()
        groups = json.loads((recording / "clusters.json").read_text())["clusters"]
        self._db.execute("CREATE TABLE groups (service VARCHAR, grp VARCHAR)")
        self._db.executemany("INSERT INTO groups VALUES (?, ?)", [(s, g) for g, found in groups.items() for s in found])
        self._db.execute(
            f"""
            CREATE TABLE spans AS
            SELECT TraceID AS trace, SpanID AS id, ParentID AS parent, PodName AS pod, OperationName AS operation,
                   regexp_replace(PodName, '-[^-]+-[^-]+$', '') AS service,
                   StartTimeUnixNano::BIGINT AS start_ns, EndTimeUnixNano::BIGINT AS end_ns,
                   min(StartTimeUnixNano::BIGINT) OVER (PARTITION BY TraceID) AS trace_start_ns
            FROM read_csv('{recording}/traces.csv.gz', header = true, all_varchar = true)
            """
        )
        self._db.execute(
            f"""
            CREATE TABLE logs AS
            SELECT TraceID AS trace, SpanID AS id, regexp_replace(PodName, '-[^-]+-[^-]+$', '') AS service
            FROM read_csv('{recording}/logs.csv.gz', header = true, all_varchar = true)
            """
        )
        self._db.execute(
            """
            CREATE VIEW calls AS
            SELECT child.*, caller.service AS client, caller.pod AS client_pod
            FROM spans child JOIN spans caller ON child.trace = caller.trace AND child.parent = caller.id
            WHERE child.pod <> caller.pod
            """
        )

    def within(self, clusters: Iterable[str], spans: str = "spans") -> str:
        """Return the condition that a row's trace began in, and its service belongs to, one of the clusters."""
        conditions = []
        for name in clusters:
            groups, first, last = CUT[name]
            condition = (
                f"{spans}.trace_start_ns >= epoch_ns(TIMESTAMP '2023-01-29 {first}:00')"
                f" AND {spans}.trace_start_ns < epoch_ns(TIMESTAMP '2023-01-29 {last}:00')"
            )
            if groups:
                condition += f" AND {spans}.service IN (SELECT service FROM groups WHERE grp IN {(*groups, '')})"
            conditions.append(f"({condition})")
        return " OR ".join(conditions)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement."""
        return self._db.execute(statement).fetchall()

    def value(self, statement: str) -> Any:
        """Run a statement and return its one value."""
        ((value,),) = self.rows(statement)
        return value


@dataclass(frozen=True)
class Imported:
    """The recording in stores: one that holds everything, and six."""

    whole: Path
    six: dict[str, Path]
    reports: dict[str, ImportReport]


@pytest.fixture(scope="module")
def recording(test_data: Path) -> Path:
    return nezha.folder(test_data)


@pytest.fixture(scope="module")
def raw(recording: Path) -> Raw:
    return Raw(recording)


@pytest.fixture(scope="module")
def imported(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    folder = tmp_path_factory.mktemp("recording")
    files = nezha.write_otlp(recording, folder / "otlp", {**nezha.ONE, **nezha.SIX})
    reports, paths = {}, {}
    for cluster, sources in files.items():
        paths[cluster] = folder / "stores" / cluster
        with SegmentStore(paths[cluster]) as store:
            reports[cluster] = import_files(sources, store, cluster=cluster)
    whole = paths.pop(nezha.WHOLE)
    return Imported(whole, paths, reports)


def edges(path: Path) -> dict[tuple[str, ...], float]:
    return totals_of(path, EDGES, "client", "server")


def test_nothing_is_rejected_and_everything_is_counted(imported: Imported) -> None:
    report = imported.reports[nezha.WHOLE]
    assert (report.spans, report.logs, report.samples) == (188_697, 99_050, 383_686)
    assert [r.rejected + r.duplicates for r in imported.reports.values()] == [0] * 7


def test_the_whole_recording_gives_its_service_edges_exactly(imported: Imported, recording: Path) -> None:
    given = json.loads((recording / "service_edges.json").read_text())
    expected = {(edge["source"], edge["target"]): edge["calls"] for edge in given}
    assert (len(expected), sum(expected.values())) == (55, 29_724)
    assert edges(imported.whole) == expected


def test_the_time_spent_along_every_edge_is_the_recordings(imported: Imported, raw: Raw) -> None:
    found = totals_of(imported.whole, "traces_service_graph_request_server_seconds_sum", "client", "server")
    rows_ = raw.rows("SELECT client, service, sum(end_ns - start_ns)::DOUBLE / 1e9 FROM calls GROUP BY 1, 2")
    assert found == {(client, server): pytest.approx(seconds, rel=1e-12) for client, server, seconds in rows_}


def test_entry_spans_are_counted_by_pod_and_operation(imported: Imported, raw: Raw) -> None:
    expected = raw.rows(
        """
        SELECT child.pod, child.operation, count(*) FROM spans child
        LEFT JOIN spans caller ON child.trace = caller.trace AND child.parent = caller.id
        WHERE caller.id IS NULL OR caller.pod <> child.pod GROUP BY 1, 2
        """
    )
    assert totals_of(imported.whole, REQUESTS, "pod", "operation") == {(pod, op): n for pod, op, n in expected}


def test_buckets_hold_the_recordings_durations(imported: Imported, raw: Raw) -> None:
    found = totals_of(imported.whole, "traces_service_graph_request_server_seconds_bucket", "le")
    for bound in ("0.005", "0.1", "1", "10"):
        expected = raw.value(f"SELECT count(*) FROM calls WHERE end_ns - start_ns <= {round(float(bound) * 1e9)}")
        assert found[bound,] == expected


def test_logs_are_counted_by_service_and_level(imported: Imported, raw: Raw) -> None:
    found = totals_of(imported.whole, "log_records_total", "service")
    assert found == {(service,): n for service, n in raw.rows("SELECT service, count(*) FROM logs GROUP BY 1")}
    levels = totals_of(imported.whole, "log_records_total", "level")
    assert set(levels) == {("info",), ("warn",), ("error",)}


def test_a_rate_sees_every_request_of_a_window(imported: Imported, raw: Raw) -> None:
    """The rise between two steps is the number of entry spans that ended in between, at any step of the grid."""
    steps = [f"TIMESTAMP '2023-01-29 {at}'" for at in ("09:21:00", "09:21:15", "09:22:30", "09:26:45")]
    series = samples_of(imported.whole, EDGES)
    for first, last in pairwise(steps):
        low, high = (raw.value(f"SELECT epoch_ms({at})") for at in (first, last))
        expected = raw.value(f"SELECT count(*) FROM calls WHERE end_ns > {low}000000 AND end_ns <= {high}000000")
        risen = 0.0
        for values in series.values():
            at = {round(t * 1000) + T0_MS: v for t, v in values}
            risen += at.get(high, 0.0) - at.get(low, 0.0)
        assert risen == expected


def test_six_clusters_hold_the_traces_and_spans_of_their_windows(imported: Imported, raw: Raw) -> None:
    for cluster, path in imported.six.items():
        condition = raw.within([cluster])
        expected = raw.rows(f"SELECT count(DISTINCT trace), count(*) FROM spans WHERE {condition}")
        assert rows(path, "spans", "count(DISTINCT trace_id), count(*)") == expected
        logs = raw.value(
            f"SELECT count(*) FROM logs JOIN spans ON logs.trace = spans.trace AND logs.id = spans.id WHERE {condition}"
        )
        assert len(rows(path, "logs", "t_ns")) == logs


def test_the_three_clusters_of_production_share_606_traces(imported: Imported, raw: Raw) -> None:
    seen: dict[str, set[str]] = {}
    spans = 0
    for cluster in THREE:
        for trace, count in _spans_by_trace(imported.six[cluster]):
            seen.setdefault(trace, set()).add(cluster)
            spans += count
    assert (len(seen), spans) == (606, 39_978)
    condition = raw.within(THREE)
    assert raw.rows(f"SELECT count(DISTINCT trace), count(*) FROM spans WHERE {condition}") == [(606, 39_978)]
    assert sum(len(clusters) == 3 for clusters in seen.values()) == 354


def _spans_by_trace(path: Path) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for (trace,) in rows(path, "spans", "trace_id"):
        counts[trace] = counts.get(trace, 0) + 1
    return list(counts.items())


def test_calls_over_the_three_clusters_are_counted_once_each(imported: Imported, raw: Raw) -> None:
    """Each cluster counts at the callee alone, so the sum over clusters is the number of calls."""
    found: dict[tuple[str, ...], float] = {}
    for cluster in THREE:
        for edge, calls in edges(imported.six[cluster]).items():
            found[edge] = found.get(edge, 0) + calls
    assert sum(found.values()) == 6_316
    inside = " OR ".join(f"({raw.within([c], 'calls')}) AND client IN {_services(raw, c)}" for c in THREE)
    expected = raw.rows(
        f"SELECT CASE WHEN {inside} THEN client ELSE '(remote)' END AS client, service, count(*)"
        f" FROM calls WHERE {raw.within(THREE, 'calls')} GROUP BY 1, 2"
    )
    assert found == {(client, server): calls for client, server, calls in expected}
    assert sum(calls for *_, calls in expected) == 6_316


def _services(raw: Raw, cluster: str) -> tuple[str, ...]:
    groups = CUT[cluster][0]
    return tuple(service for (service,) in raw.rows(f"SELECT service FROM groups WHERE grp IN {(*groups, '')}"))


@pytest.mark.parametrize("cluster", ["stage", "test", "dev"])
def test_a_cluster_with_the_whole_application_has_no_remote_callers(imported: Imported, raw: Raw, cluster: str) -> None:
    expected = raw.rows(
        f"SELECT client, service, count(*) FROM calls WHERE {raw.within([cluster], 'calls')} GROUP BY 1, 2"
    )
    assert edges(imported.six[cluster]) == {(client, server): calls for client, server, calls in expected}


def test_requests_summed_over_six_clusters_are_the_entry_spans_of_the_recording(imported: Imported, raw: Raw) -> None:
    found = sum(sum(totals_of(path, REQUESTS).values()) for path in imported.six.values())
    roots = raw.value(f"SELECT count(*) FROM spans WHERE parent = 'root' AND ({raw.within(CUT)})")
    calls = raw.value(f"SELECT count(*) FROM calls WHERE {raw.within(CUT, 'calls')}")
    assert found == roots + calls


def test_the_recording_imported_again_changes_nothing(imported: Imported, recording: Path, tmp_path: Path) -> None:
    path = imported.six["dev"]
    before = {name: totals_of(path, name) for name in (EDGES, REQUESTS, "log_records_total")}
    files = nezha.write_otlp(recording, tmp_path, {"dev": nezha.SIX["dev"]})["dev"]
    with SegmentStore(path) as store:
        report = import_files(files, store, cluster="dev")
    assert (report.lines, len(report.already_imported)) == (0, 3)
    # Spans that come in another file are known by their ids.
    traces = files[0]
    traces.write_bytes(b"\n" + traces.read_bytes())
    with SegmentStore(path) as store:
        report = import_files([traces], store, cluster="dev")
    assert (report.spans, report.rejected) == (0, 0)
    assert report.duplicates == len(rows(path, "spans", "span_id"))
    assert {name: totals_of(path, name) for name in before} == before
