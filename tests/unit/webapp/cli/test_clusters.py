"""The members of the federation, and one of them, as people and scripts read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console

from tests.unit.webapp.cli.conftest import printed
from tests.unit.webapp.cli.test_client import call
from webapp.cli import cluster_health, clusters

#: 2026-11-24T05:00:00Z, 06:00 in Berlin
NOW_MS = 1_795_496_400_000
REFUSED = "the backend refuses our credentials (401)"
ALIVE = {"alive": True, "lastSeenMs": NOW_MS - 200, "clockSkewMs": 3, "missingSinceMs": None, "reason": ""}
GONE = {
    "alive": False,
    "lastSeenMs": NOW_MS,
    "clockSkewMs": 3,
    "missingSinceMs": NOW_MS,
    "reason": "its last worker was lost",
}
CLOSED = {"state": "closed", "sinceMs": None, "retryInMs": None, "failures": 0}
OPEN = {"state": "open", "sinceMs": NOW_MS, "retryInMs": 2_600, "failures": 4}
WELL = {
    "signal": "metrics",
    "kind": "prometheus",
    "status": "up",
    "checkedAgeMs": 4_000,
    "latencyMs": 12,
    "version": "Prometheus 2.42.0",
    "newestMs": NOW_MS - 9_000,
    "newestAgeMs": 9_000,
    "breaker": CLOSED,
    "error": "",
}
REFUSING: dict[str, Any] = {
    **WELL,
    "signal": "logs",
    "kind": "loki",
    "status": "down",
    "version": "Loki 3.7.6",
    "breaker": OPEN,
}
REFUSING |= {"error": REFUSED}
NEVER_SEEN = {
    **dict.fromkeys(("checkedAgeMs", "latencyMs", "newestMs", "newestAgeMs")),
    "signal": "traces",
    "kind": "jaeger",
    "status": "unknown",
    "version": "",
    "breaker": CLOSED,
    "error": "no worker has probed it yet",
}
HEALTHY = {"name": "prod", "environment": "live", "status": "healthy", "worker": ALIVE, "backends": [WELL]}
DEGRADED = {**HEALTHY, "status": "degraded", "backends": [WELL, REFUSING, NEVER_SEEN]}


def member(name: str, status: str, errors: dict[str, str], worker: dict[str, Any] = ALIVE) -> dict[str, Any]:
    return {
        "name": name,
        "environment": "live",
        "region": "",
        "weight": 1.0,
        "retentionMs": None,
        "backends": {"metrics": "prometheus", "logs": "loki"},
        "worker": worker,
        "status": status,
        "errors": errors,
    }


MEMBERS = {
    "clusters": [
        member("prod", "healthy", {}),
        member("stage", "degraded", {"logs": REFUSED}),
        member("dev", "down", {"worker": "no worker serves it: its last worker was lost"}, GONE),
    ]
}
HEALTH = "/api/v1/clusters/prod/health"


@pytest.fixture
def lines(console: Console) -> Any:
    """Show an answer and return its lines, spaces folded."""

    def shown(show: Any, answer: dict[str, Any]) -> list[str]:
        show(answer, console)
        return [" ".join(line.split()) for line in printed(console).splitlines() if line.strip()]

    return shown


def test_every_cluster_has_its_status_and_what_is_wrong_is_said_below(lines: Any) -> None:
    shown = lines(clusters.show, MEMBERS)
    assert shown[0] == "cluster status environment region backends keeps worker"
    assert shown[1].startswith("prod ✓ healthy live prometheus: metrics, loki: logs ✓ alive")
    assert shown[2].startswith("stage ~ degraded ")
    assert shown[3].startswith("dev ✗ down ")
    assert "✗ none, last seen 2026-11-24 06:00:00 CET (UTC+01:00): its last worker was lost" in shown[3]
    assert shown[4:] == [f"~ stage logs {REFUSED}"]


def test_where_all_is_well_nothing_is_said_below(lines: Any) -> None:
    assert len(lines(clusters.show, {"clusters": [member("prod", "healthy", {})]})) == 2


def test_a_server_of_an_earlier_release_tells_no_status(lines: Any) -> None:
    earlier = member("prod", "", {})
    del earlier["status"], earlier["errors"]
    assert lines(clusters.show, {"clusters": [earlier]})[1].startswith("prod ? unknown live")


def test_one_cluster_is_a_row_per_backend_and_the_words_of_what_is_wrong(lines: Any) -> None:
    head, titles, metrics, logs, traces, *wrong = lines(cluster_health.show, DEGRADED)
    assert head == "prod (live) ~ degraded worker ✓ alive"
    assert titles == "signal kind status version latency newest breaker"
    assert metrics == "metrics prometheus ✓ up Prometheus 2.42.0 12 ms 9 s ago closed"
    assert logs == "logs loki ✗ down Loki 3.7.6 12 ms 9 s ago open"
    assert traces == "traces jaeger ? unknown – – – closed"
    assert wrong == [
        f"✗ logs {REFUSED}",
        "✗ logs not asked since 06:00:00 CET (UTC+01:00); a probe tries it in 3 s",
        "? traces no worker has probed it yet",
    ]


def test_a_probe_that_is_under_way_is_said(lines: Any) -> None:
    probing = {**OPEN, "state": "half_open", "retryInMs": 0}
    *_, row, said = lines(cluster_health.show, {**HEALTHY, "backends": [{**WELL, "breaker": probing}]})
    assert row.endswith("9 s ago half open")
    assert said == "✓ metrics not asked since 06:00:00 CET (UTC+01:00); a probe tries it now"


@pytest.mark.parametrize(("age_ms", "coloured"), [(300_000, False), (301_000, True)])
def test_data_older_than_five_minutes_are_shown_as_old(age_ms: int, coloured: bool) -> None:
    from io import StringIO

    console = Console(file=StringIO(), width=200, force_terminal=True, color_system="standard", highlight=False)
    cluster_health.show({**HEALTHY, "backends": [{**WELL, "newestAgeMs": age_ms}]}, console)
    assert ("\x1b[33m5 min ago" in printed(console)) == coloured


def test_what_a_backend_says_of_itself_moves_no_cursor(lines: Any) -> None:
    hostile = {**REFUSING, "version": "x\x1b[2J", "error": "no\x1b[31m[red]"}
    shown = "\n".join(lines(cluster_health.show, {**DEGRADED, "backends": [hostile]}))
    assert "\x1b" not in shown
    assert "no\\x1b[31m[red]" in shown


def test_words_are_whole_in_a_narrow_window() -> None:
    from io import StringIO

    console = Console(file=StringIO(), width=80, color_system=None, highlight=False, markup=False)
    cluster_health.show(DEGRADED, console)
    assert REFUSED in printed(console)
    assert "prometheus  ✓ up" in printed(console)
    assert max(map(len, printed(console).splitlines())) <= 80


@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("degraded", 3), ("down", 3), ("unknown", 3)])
@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_only_a_healthy_cluster_exits_with_0(status: str, code: int, flags: tuple[str, ...]) -> None:
    answer = {**HEALTHY, "status": status}
    result, came = call({HEALTH: [(200, answer)]}, "clusters", "prod", *flags)
    assert (result.exit_code, result.stderr) == (code, "")
    assert [request["path"] for request in came] == [HEALTH]
    if flags:
        assert json.loads(result.stdout) == answer


def test_the_list_exits_with_0_whatever_it_says() -> None:
    result, _ = call({"/api/v1/clusters": [(200, MEMBERS)]}, "clusters")
    assert result.exit_code == 0
    assert REFUSED in result.stdout


def test_a_cluster_that_is_not_there_is_a_wrong_question() -> None:
    result, _ = call({HEALTH: [(404, {"detail": "the token opens no cluster 'prod'"})]}, "clusters", "prod")
    assert (result.exit_code, result.stderr) == (2, "Error: the token opens no cluster 'prod'\n")


def test_a_name_is_one_part_of_the_path() -> None:
    path = "/api/v1/clusters/..%2Fqueries%3Fx/health"
    _, came = call({path: [(404, {"detail": "no"})]}, "clusters", "../queries?x")
    assert [request["path"] for request in came] == [path]
