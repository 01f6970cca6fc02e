"""What the answers look like: every claim is about what a reader must be able to see."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from tests.unit.webapp.cli.conftest import printed
from webapp.cli import clusters, explanation, logs, metrics, traces, waterfall

AT_S = 1_795_500_000


def matrix(count: int, **labels: str) -> dict[str, Any]:
    return {
        "resultType": "matrix",
        "result": [
            {"metric": {"pod": f"p{at}", **labels}, "values": [[AT_S + 15 * t, str(at + t)] for t in range(20)]}
            for at in range(count)
        ],
    }


def test_a_range_shows_chart_table_times_zone_and_step(console: Console) -> None:
    metrics.show(matrix(2, cluster="prod"), console)
    text = printed(console)
    assert "┤" in text
    assert [line.split() for line in text.splitlines() if " p1 " in line] == [
        ["━━", "prod", "p1", "20", "1", "10.5", "20"]
    ]
    assert "2 series · 2026-11-24 07:00:00 – 07:04:45 CET (UTC+01:00) · step 15s" in text


def test_more_series_than_fit_are_counted(console: Console) -> None:
    metrics.show(matrix(50), console)
    text = printed(console)
    assert "10 more series; --json has them all" in text
    assert "the 9 largest are drawn" in text


def test_an_instant_shows_values_with_their_time(console: Console) -> None:
    metrics.show(
        {"resultType": "vector", "result": [{"metric": {"cluster": "prod"}, "value": [AT_S, "0.25"]}]}, console
    )
    assert "0.25" in printed(console)
    assert "at 2026-11-24 07:00:00 CET" in printed(console)


def test_a_scalar_is_a_line(console: Console) -> None:
    metrics.show({"resultType": "scalar", "result": [AT_S, "2"]}, console)
    assert printed(console).startswith("2  at 2026-11-24 07:00:00")


def test_an_empty_answer_says_so(console: Console) -> None:
    metrics.show({"resultType": "matrix", "result": []}, console)
    assert "no series" in printed(console)


def test_many_labels_share_one_column(console: Console) -> None:
    labels = {name: name.upper() for name in "abcdef"}
    metrics.show({"resultType": "vector", "result": [{"metric": labels, "value": [AT_S, "1"]}]}, console)
    assert '{a="A", b="B", c="C", d="D", e="E", f="F"}' in printed(console)


def test_a_series_of_nothing_but_nan_is_listed(console: Console) -> None:
    metrics.show({"resultType": "matrix", "result": [{"metric": {"pod": "a"}, "values": [[AT_S, "NaN"]]}]}, console)
    assert [line.split() for line in printed(console).splitlines() if line.strip().startswith("━━")] == [
        ["━━", "a", "NaN", "NaN", "NaN", "NaN"]
    ]


@pytest.mark.parametrize(("range_ms", "step_ms"), [(60_000, None), (3_600_000, 30_000), (86_400_000, 600_000)])
def test_the_default_step_is_readable_and_fits_the_range(range_ms: int, step_ms: int | None) -> None:
    assert metrics.fitting_step_ms(range_ms) == step_ms


def test_log_lines_carry_time_cluster_level_service_and_the_whole_line(console: Console) -> None:
    line = "x" * 300
    entry = {
        "timeUnixNano": f"{AT_S}123000000",
        "cluster": "app-prod",
        "labels": {"level": "error", "service": "payments"},
        "line": line,
    }
    logs.show({"entries": [entry]}, console)
    assert printed(console).splitlines()[0] == f"2026-11-24 07:00:00.123  app-prod  error  payments  {line}"
    assert "1 lines · times in CET (UTC+01:00)" in printed(console)


def test_a_stack_trace_is_indented_under_its_line_and_disarmed(console: Console) -> None:
    entry = {"timeUnixNano": f"{AT_S}000000000", "cluster": "dev", "labels": {}, "line": "first\n  at \x1b[31mhere\n"}
    logs.show({"entries": [entry]}, console)
    first, second, *_ = printed(console).splitlines()
    assert first.endswith("first")
    assert second == "      at \\x1b[31mhere"


def span(span_id: str, parent: str, cluster: str, start_ms: int, took_ms: int, **more: Any) -> dict[str, Any]:
    return {
        "spanId": span_id,
        "parentSpanId": parent,
        "cluster": cluster,
        "service": f"s-{span_id}",
        "operation": "GET /",
        "startTimeUnixNano": str(AT_S * 10**9 + start_ms * 10**6),
        "durationNano": str(took_ms * 10**6),
        "status": "unset",
        **more,
    }


TRACE = {
    "traceId": "abc",
    "rootService": "s-a",
    "rootOperation": "GET /",
    "startTimeUnixNano": str(AT_S * 10**9),
    "durationNano": str(100 * 10**6),
    "clusters": ["app-prod", "prod"],
    "spans": [
        span("a", "", "prod", 0, 100),
        span("b", "a", "app-prod", 90, 40, skewNano=str(-40 * 10**6), status="error"),
        span("c", "gone", "app-prod", 60, 10),
    ],
    "orphans": ["c"],
}


def test_a_trace_is_a_tree_with_clusters_and_bars(console: Console) -> None:
    waterfall.show(TRACE, console)
    text = printed(console)
    rows = {row.split()[1]: row for row in text.splitlines() if row.startswith(("prod ", "app-prod "))}
    assert rows["s-a"].index("s-a") + 2 == rows["s-b"].index("s-b")
    assert rows["s-a"].count("━") == 32
    assert "100 ms · 3 spans · 1 errors · 2026-11-24 07:00:00.000 CET (UTC+01:00)" in text
    assert "in 2 clusters: app-prod, prod" in text


def test_a_skewed_clock_is_said_and_its_spans_are_moved(console: Console) -> None:
    waterfall.show(TRACE, console)
    text = printed(console)
    assert "clock of app-prod corrected by -40.0 ms" in text
    bar = next(row for row in text.splitlines() if " s-b " in row)
    # 90 - 40 = 50 ms of 100 ms: the bar begins in the middle of its column and does not leave it.
    assert bar.count("━") == 13


def test_spans_without_their_parent_are_marked_and_counted(console: Console) -> None:
    waterfall.show(TRACE, console)
    assert "⤷ s-c" in printed(console)
    assert "1 spans whose parent is in no answering cluster" in printed(console)


def test_found_traces_are_listed_with_their_clusters(console: Console) -> None:
    row = {
        "traceId": "abc",
        "rootService": None,
        "startTimeUnixNano": str(AT_S * 10**9),
        "durationNano": "5000000",
        "spanCount": 4,
        "errors": 1,
        "clusters": ["prod", "stage"],
    }
    traces.show({"traces": [row]}, console)
    assert "abc" in printed(console)
    assert "(root elsewhere)" in printed(console)
    assert "prod, stage" in printed(console)


def test_a_cluster_without_worker_says_when_it_was_last_seen(console: Console) -> None:
    member = {
        "name": "stage",
        "environment": "stage",
        "backends": {"metrics": "embedded", "logs": "embedded"},
        "retentionMs": 86_400_000,
        "worker": {"alive": False, "lastSeenMs": AT_S * 1000},
    }
    clusters.show({"clusters": [member]}, console)
    assert "✗ none, last seen 2026-11-24 07:00:00 CET" in printed(console)
    assert "embedded: metrics logs" in printed(console)
    assert "1d" in printed(console)


def test_a_plan_shows_leaves_root_and_who_is_left_out(console: Console) -> None:
    plan = {
        "shards": [{"cluster": "prod", "leaves": [{"id": "a", "text": "sum(up)"}, {"id": "b", "text": "up"}]}],
        "root": "sum(leaf:a)",
        "leftOut": [{"cluster": "stage", "verdict": "no_worker", "reason": "nobody there"}],
        "notes": ["leaf a is pushed"],
    }
    explanation.print_plan(plan, console)
    text = printed(console)
    assert "sum(leaf:a)" in text
    assert "leaf a is pushed" in text
    assert [line.split() for line in text.splitlines() if "sum(up)" in line] == [["prod", "a", "sum(up)"]]
    assert "stage" in text
    assert "✗ no_worker" in text
    assert "nobody there" in text
