"""The command line's own checks: what is refused before any server is asked, and what is sent."""

from __future__ import annotations

import time
from typing import Any

import pytest
from click.testing import CliRunner, Result

from federation_core.times import parse_time_ms
from webapp.cli import appsentry, ask


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The questions that would have been sent."""
    questions: list[dict[str, Any]] = []
    monkeypatch.setattr(ask, "run", lambda asking, question, show: questions.append(question))
    return questions


def call(*arguments: str) -> Result:
    return CliRunner().invoke(appsentry, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["query", "up", "--from", "yesterday"], "RFC 3339 with a zone"),
        (["query", "up", "--from", "2026-11-24T05:00:00"], "with a zone"),
        (["query", "up", "--step", "soon"], "30s, 5m or 1h30m"),
        (["query", "up", "--from", "now", "--to", "-1h"], "is before --from"),
        (["query"], "PROMQL"),
        (["logs", '{a="b"}', "--text", "x"], "not both"),
        (["logs", "--label", "nonsense"], "NAME=VALUE"),
        (["logs", "--trace", "xyz"], "hexadecimal"),
        (["logs", "--regex", "(", "--text", "x"], "("),
        (["logs", "--limit", "0"], "limit"),
        (["traces", "{}", "--service", "x"], "not both"),
        (["traces", "--min-duration", "quick"], "duration"),
        (["worker"], "one of them"),
        (["worker", "--clusters", "a", "--merge"], "one of them"),
        (["querry", "up"], "No such command"),
    ],
)
def test_a_wrong_command_line_exits_2_and_says_what_would_be_right(arguments: list[str], says: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert says in result.output


def test_a_query_asks_for_the_last_hour_at_a_fitting_step(asked: list[dict[str, Any]]) -> None:
    assert call("query", "up").exit_code == 0
    [question] = asked
    assert {name: question[name] for name in ("signal", "query", "timeout", "step")} == {
        "signal": "metrics",
        "query": "up",
        "timeout": "30000ms",
        "step": "30000ms",
    }
    start_ms, end_ms = (parse_time_ms(question[edge], 0) for edge in ("start", "end"))
    assert end_ms - start_ms in range(3_599_000, 3_601_001)
    assert abs(end_ms - time.time() * 1000) < 60_000
    assert "clusters" not in question
    assert "require" not in question


def test_an_instant_is_asked_for_with_at_and_nothing_else(asked: list[dict[str, Any]]) -> None:
    assert call("query", "up", "--at", "2026-11-24T05:00:00Z").exit_code == 0
    assert asked[0]["time"] == "2026-11-24T05:00:00.000Z"
    assert not {"start", "end", "step"} & asked[0].keys()


def test_narrowing_requirement_and_timeout_are_sent_as_given(asked: list[dict[str, Any]]) -> None:
    call(
        "query", "up", "--clusters", "prod, stage", "--environments", "prod", "--require", "quorum:2", "--timeout", "5s"
    )
    assert (
        asked[0]
        | {
            "clusters": ["prod", "stage"],
            "environments": ["prod"],
            "require": "quorum:2",
            "timeout": "5000ms",
        }
        == asked[0]
    )


def test_structured_options_become_logql(asked: list[dict[str, Any]]) -> None:
    call("logs", "--label", "service=payments", "--text", 'say "no"', "--level", "ERROR", "--forward", "--limit", "7")
    assert asked[0]["query"].startswith('{service="payments"} |= "say \\"no\\"" | level=')
    assert (asked[0]["direction"], asked[0]["limit"]) == ("forward", 7)


def test_structured_options_become_traceql(asked: list[dict[str, Any]]) -> None:
    call("traces", "--service", "stock", "--min-duration", "200ms", "--error", "--tag", "http.route=/x")
    text = asked[0]["query"]
    assert 'resource.service.name = "stock"' in text
    assert "duration >= 200ms" in text
    assert "status = error" in text
    assert "http.route" in text


def test_a_search_without_conditions_asks_for_everything(asked: list[dict[str, Any]]) -> None:
    assert call("traces").exit_code == 0
    assert call("logs").exit_code == 0
    assert [question["query"] for question in asked] == ["{ }", "{}"]


def test_help_documents_the_exit_codes() -> None:
    assert "3  the answer is there and incomplete" in call("--help").output
