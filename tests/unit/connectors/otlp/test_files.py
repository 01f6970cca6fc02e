"""Importing files: formats, bad lines, progress, and files that come again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from federation_core.connectors.otlp import ImportReport, import_files
from federation_core.connectors.otlp import files as files_module
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.errors import InvalidRequest, StoreUnavailable
from tests.support.otlp_requests import (
    gauge,
    log,
    logs,
    metrics,
    point,
    resource,
    rows,
    samples_of,
    span,
    totals_of,
    traces,
)

WEB, ORDERS = resource("web"), resource("orders")


def lines(*requests: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(request).encode() + b"\n" for request in requests)


def log_lines(*texts: str) -> bytes:
    return lines(*(logs((WEB, [log(text)])) for text in texts))


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, lambda c: zstandard.compress(c), lambda c: gzip.compress(c[:40]) + gzip.compress(c[40:]),
     lambda c: zstandard.compress(c[:40]) + zstandard.compress(c[40:])],
    ids=["plain", "gzip", "zstd", "two gzip members", "two zstd frames"],
)  # fmt: skip
def test_a_file_is_recognised_by_its_content(
    store: SegmentStore, path: Path, tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    report = import_files([written(tmp_path, "telemetry", pack(log_lines("a", "b")))], store)
    assert (report.lines, report.logs, report.rejected) == (2, 2, 0)
    assert [line for (line,) in rows(path, "logs", "line")] == ["a", "b"]


def test_all_three_signals_are_counted(store: SegmentStore, tmp_path: Path) -> None:
    content = lines(traces((WEB, [span(1, 1)])), logs((WEB, [log("a")])), metrics(WEB, gauge("x", point(1.0))))
    report = import_files([written(tmp_path, "f", content)], store)
    assert (report.spans, report.logs, report.samples) == (1, 1, 1)


BAD_LINES = {
    b'{"resourceSpans": [': "not JSON",
    b"[]": "a JSON object was expected, not list",
    b'{"spans": []}': "none of resourceSpans, resourceLogs, resourceMetrics",
    b'{"resourceLogs": [5]}': "malformed resourceLogs",
    b'{"resourceLogs": [{"resource": {"attributes": [7]}}]}': "malformed",
    b"\xff\xfe": "not JSON",
}


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_bad_line_is_rejected_by_number_and_the_rest_is_kept(
    store: SegmentStore, path: Path, tmp_path: Path, bad: bytes
) -> None:
    file = written(tmp_path, "f", log_lines("a") + b"\n" + bad + b"\n" + log_lines("b"))
    report = import_files([file], store)
    assert [line for (line,) in rows(path, "logs", "line")] == ["a", "b"]
    (rejection,) = report.rejections
    assert (rejection.line, rejection.file) == (3, str(file))
    assert BAD_LINES[bad] in rejection.reason


def test_a_line_beyond_the_limit_is_rejected_without_reading_it_whole(
    store: SegmentStore, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "MAX_LINE_BYTES", 2000)
    report = import_files([written(tmp_path, "f", log_lines("a", "x" * 9000, "b"))], store)
    assert [line for (line,) in rows(path, "logs", "line")] == ["a", "b"]
    assert [(r.line, r.reason) for r in report.rejections] == [(2, "longer than 2000 bytes")]


def test_a_truncated_archive_keeps_what_could_be_read(store: SegmentStore, path: Path, tmp_path: Path) -> None:
    packed = gzip.compress(log_lines(*(f"{n:05d}" * 50 for n in range(2000))))
    report = import_files([written(tmp_path, "f.gz", packed[: len(packed) // 2])], store)
    assert 0 < report.logs < 2000
    assert "cannot be read further" in report.rejections[-1].reason or "not complete" in report.rejections[-1].reason


def test_parents_in_another_file_are_found_whatever_the_order(store: SegmentStore, path: Path, tmp_path: Path) -> None:
    child = written(tmp_path, "child", lines(traces((ORDERS, [span(1, 2, 1)]))))
    parent = written(tmp_path, "parent", lines(traces((WEB, [span(1, 1)]))))
    import_files([child, parent], store)
    assert totals_of(path, "traces_service_graph_request_total", "client", "server") == {("web", "orders"): 1}


def test_an_import_in_many_commits_gives_what_one_commit_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [
        traces((ORDERS, [span(t, 2, 1, end_s=20 * t)]), (WEB, [span(t, 1, end_s=20 * t + 1)])) for t in range(1, 60)
    ]
    file = written(tmp_path, "f", lines(*reversed(requests)))
    found = []
    for spill_rows in (1, 10_000):
        monkeypatch.setattr(files_module, "SPILL_ROWS", spill_rows)
        target = tmp_path / f"store-{spill_rows}"
        with SegmentStore(target) as store:
            import_files([file], store)
        found.append({m: samples_of(target, m) for m in ("http_requests_total", "traces_service_graph_request_total")})
    assert found[0] == found[1]


def test_the_same_file_again_adds_nothing(store: SegmentStore, path: Path, tmp_path: Path) -> None:
    content = log_lines("a", "b") + lines(metrics(WEB, gauge("x", point(1.0))))
    import_files([written(tmp_path, "f", content)], store)
    report = import_files([written(tmp_path, "other-name.gz", gzip.compress(content))], store)
    assert (report.lines, report.logs) == (0, 0)
    assert len(report.already_imported) == 1
    assert totals_of(path, "log_records_total") == {(): 2}


def test_a_file_that_has_grown_is_read_from_where_it_ended(store: SegmentStore, path: Path, tmp_path: Path) -> None:
    import_files([written(tmp_path, "f", log_lines("a", "b").rstrip(b"\n"))], store)
    report = import_files([written(tmp_path, "f", log_lines("a", "b", "c"))], store)
    assert report.logs == 1
    assert totals_of(path, "log_records_total") == {(): 3}


def test_a_line_still_being_written_is_left_for_the_next_import(
    store: SegmentStore, path: Path, tmp_path: Path
) -> None:
    whole = log_lines("a", "b")
    report = import_files([written(tmp_path, "f", whole[:-20])], store)
    assert "not complete" in report.rejections[0].reason
    import_files([written(tmp_path, "f", whole)], store)
    assert [line for (line,) in rows(path, "logs", "line")] == ["a", "b"]


def test_a_different_file_with_the_same_first_line_is_read_whole(
    store: SegmentStore, path: Path, tmp_path: Path
) -> None:
    import_files([written(tmp_path, "f", log_lines("a", "b", "c"))], store)
    import_files([written(tmp_path, "g", log_lines("a", "x", "y", "z"))], store)
    assert sorted(line for (line,) in rows(path, "logs", "line")) == ["a", "a", "b", "c", "x", "y", "z"]


def test_an_import_cut_short_goes_on_where_it_stopped(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "SPILL_ROWS", 10)
    file = written(tmp_path, "f", log_lines(*(str(n) for n in range(35))))

    def stop(report: ImportReport) -> None:
        if report.lines >= 25:
            raise KeyboardInterrupt

    monkeypatch.setattr(files_module, "PROGRESS_LINES", 1)
    with SegmentStore(path) as store, pytest.raises(KeyboardInterrupt):
        import_files([file], store, progress=stop)
    with SegmentStore(path) as store:
        report = import_files([file], store)
    assert report.logs == 15
    assert totals_of(path, "log_records_total") == {(): 35}


def test_progress_tells_bytes_of_the_total(
    store: SegmentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "PROGRESS_LINES", 1)
    files = [written(tmp_path, name, log_lines(name, "b")) for name in ("f", "g")]
    seen: list[tuple[int, int]] = []
    import_files(files, store, progress=lambda report: seen.append((report.bytes, report.logs)))
    assert seen[-1] == (sum(file.stat().st_size for file in files), 4)
    assert seen == sorted(seen)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_path_that_is_no_file_is_refused_before_anything_is_read(
    store: SegmentStore, path: Path, tmp_path: Path, name: str
) -> None:
    good = written(tmp_path, "f", log_lines("a"))
    with pytest.raises(InvalidRequest, match=r"does not exist|is a directory"):
        import_files([good, tmp_path / name], store)
    assert rows(path, "logs") == []


def test_telemetry_of_another_cluster_is_rejected_and_counted(store: SegmentStore, path: Path, tmp_path: Path) -> None:
    foreign = resource("web", **{"k8s.cluster.name": "stage"})
    content = lines(logs((foreign, [log("a"), log("b")])), logs((WEB, [log("c")])))
    report = import_files([written(tmp_path, "f", content)], store, cluster="prod")
    assert report.rejected == 2
    assert "is of cluster 'stage', this store is 'prod'" in report.rejections[0].reason
    assert [line for (line,) in rows(path, "logs", "line")] == ["c"]


def test_a_store_belongs_to_one_cluster(store: SegmentStore, tmp_path: Path) -> None:
    file = written(tmp_path, "f", log_lines("a"))
    import_files([file], store, cluster="prod")
    with pytest.raises(StoreUnavailable, match="holds cluster 'prod', not 'stage'"):
        import_files([file], store, cluster="stage")
