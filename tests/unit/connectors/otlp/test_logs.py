"""OTLP log records become rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from federation_core.connectors.otlp import Ingest
from federation_core.connectors.otlp.logs import read_level
from tests.support.otlp_requests import T0_MS, attributes, log, logs, resource, rows


@pytest.mark.parametrize(
    ("number", "text", "level"),
    [
        (1, "", "trace"), (5, "", "debug"), (9, "", "info"), (12, "", "info"), (13, "", "warn"), (20, "", "error"),
        (24, "", "fatal"), (9, "ERROR", "info"), ("SEVERITY_NUMBER_ERROR3", "", "error"), (0, "Warning", "warn"),
        (0, "ERR", "error"), (0, "INFO2", "info"), (0, "", "unknown"), (0, "loud", "unknown"),
    ],
)  # fmt: skip
def test_a_level_comes_from_the_number_else_from_the_text(number: int | str, text: str, level: str) -> None:
    assert read_level(number, text) == level


def test_a_record_keeps_time_line_and_trace(ingest: Ingest, path: Path) -> None:
    ingest.add(logs((resource("web"), [log("paid", traceId=f"{5:032x}", spanId=f"{6:016x}")])))
    ingest.flush()
    assert rows(path, "logs", "t_ns, service, namespace, pod, level, trace_id, span_id, line") == [
        (T0_MS * 1_000_000 + 10**9, "web", "shop", "web-0", "info", f"{5:032x}", f"{6:016x}", "paid")
    ]


def test_a_record_without_a_time_uses_the_time_it_was_observed(ingest: Ingest, path: Path) -> None:
    observed = str(T0_MS * 1_000_000)
    ingest.add(logs((resource("web"), [log("a", timeUnixNano="0", observedTimeUnixNano=observed)])))
    ingest.flush()
    assert rows(path, "logs", "t_ns") == [(T0_MS * 1_000_000,)]


def test_a_structured_body_is_kept_as_json(ingest: Ingest, path: Path) -> None:
    body = {"kvlistValue": {"values": attributes({"message": "paid", "cents": 5})}}
    ingest.add(logs((resource("web"), [log("", body=body)])))
    ingest.flush()
    ((line,),) = rows(path, "logs", "line")
    assert json.loads(line) == {"message": "paid", "cents": 5}


def test_the_labels_of_a_stream_are_who_sent_it_and_the_level(ingest: Ingest, path: Path) -> None:
    ingest.add(logs((resource("web", **{"k8s.container.name": "server"}), [log("a", attributes=attributes({"u": 1}))])))
    ingest.flush()
    ((labels, own),) = rows(path, "logs", "labels, attributes")
    assert json.loads(labels) == {
        "container": "server", "instance": "web-0", "level": "info", "namespace": "shop", "pod": "web-0",
        "service": "web",
    }  # fmt: skip
    assert json.loads(own) == {"u": 1}


def test_records_are_numbered_in_order_of_arrival_across_restarts(ingest: Ingest, path: Path) -> None:
    ingest.add(logs((resource("web"), [log("a"), log("b")])))
    ingest.flush()
    again = Ingest(ingest.store)
    again.add(logs((resource("web"), [log("c")])))
    again.flush()
    assert rows(path, "logs", "ordinal, line") == [(0, "a"), (1, "b"), (2, "c")]


def test_a_bad_record_is_rejected_and_its_neighbours_are_kept(ingest: Ingest, path: Path) -> None:
    ingest.add(logs((resource("web"), [log("a"), log("b", severityNumber=99), log("c", traceId="xyz")])), line=3)
    ingest.flush()
    assert rows(path, "logs", "line") == [("a",)]
    assert [str(r).partition(": ")[0] for r in ingest.report.rejections] == ["line 3", "line 3"]
    assert ingest.report.rejected_by_signal == {"logs": 2}
