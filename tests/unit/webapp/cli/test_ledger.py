"""The ledger on standard error, and the exit code."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from tests.unit.webapp.cli.conftest import printed
from webapp.cli import ledger


def answer(complete: bool, **stage: Any) -> dict[str, Any]:
    rows = [
        {"cluster": "prod", "verdict": "ok", "elapsedMs": 12, "rows": 3400, "bytes": 99, "reason": ""},
        {"cluster": "stage", "verdict": "ok", "elapsedMs": 7, "rows": 1, "bytes": 1, "reason": "", **stage},
    ]
    answered = ["prod", "stage"] if complete else ["prod"]
    return {
        "coverage": {"asked": ["prod", "stage"], "answered": answered, "complete": complete, "clusters": rows},
        "warnings": [],
        "elapsedMs": 31,
    }


def test_a_complete_answer_exits_0_and_names_every_cluster(console: Console) -> None:
    assert ledger.show(answer(True), console) == 0
    lines = printed(console).splitlines()
    assert any(line.split()[:4] == ["prod", "✓", "ok", "12"] for line in lines)
    assert any(line.startswith("stage") for line in lines)
    assert "2 of 2 clusters answered in 31 ms" in lines[-1]


def test_an_incomplete_answer_exits_3_and_says_who_is_missing_and_why(console: Console) -> None:
    told = answer(False, verdict="no_worker", reason="no worker serves the queue cluster.stage", elapsedMs=None)
    told["warnings"] = ["cluster stage is missing (no_worker)"]
    assert ledger.show(told, console) == 3
    text = printed(console)
    assert "✗ no_worker" in text
    assert "no worker serves the queue cluster.stage" in text
    assert "INCOMPLETE: 1 of 2 clusters answered" in text
    assert "warning: cluster stage is missing" in text


def test_a_reason_from_a_cluster_cannot_move_the_cursor(console: Console) -> None:
    ledger.show(answer(False, verdict="failed", reason="\x1b[2Jgone"), console)
    assert "\x1b" not in printed(console)


def test_an_unknown_verdict_is_shown_as_a_failure(console: Console) -> None:
    console.print(ledger.verdict("exploded"))
    assert printed(console).strip() == "✗ exploded"
