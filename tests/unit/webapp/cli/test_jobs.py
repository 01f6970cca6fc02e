"""`appsentry jobs`: listing, showing, following over lost connections, cancelling; Ctrl-C of a waiting query."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import Any

import pytest
from click.testing import CliRunner

from tests.unit.webapp.cli.test_client import SUBMIT, call, server
from webapp.cli import appsentry, follow
from webapp.cli.stack import commands

WHERE = f"{SUBMIT}/q-1"
EVENTS = f"{WHERE}/events"


def job(state: str, **more: Any) -> dict[str, Any]:
    rows = [{"cluster": "prod", "state": "ok", "rows": 7}, {"cluster": "stage", "state": more.pop("stage", "running")}]
    return {"queryId": "q-1", "signal": "metrics", "query": "up", "state": state, "percent": 50, "createdMs": 10**12,
            "finishedMs": None, "progress": rows, **more}  # fmt: skip


def event(number: int, name: str, body: dict[str, Any]) -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(body)}\n\n".encode()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_RETRY_S", 0.01)


def test_the_list_has_a_row_per_query_in_the_servers_order() -> None:
    listed = {"queries": [job("running"), {**job("complete", finishedMs=10**12 + 1500), "queryId": "q-0"}]}
    result, _ = call({f"{SUBMIT}?limit=20": [(200, listed)]}, "jobs")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()[1:]
    assert first.split()[:4] == ["q-1", "metrics", "running", "50"]
    assert "1.50 s" in second


def test_json_is_what_the_server_said() -> None:
    result, _ = call({f"{SUBMIT}?limit=3": [(200, b'{"queries": [ ]}')]}, "jobs", "--json", "--limit", "3")
    assert result.stdout == '{"queries": [ ]}\n'


@pytest.mark.parametrize(
    ("state", "code"), [("running", 0), ("complete", 0), ("partial", 3), ("failed", 1), ("cancelled", 1)]
)
def test_one_query_is_shown_by_cluster_and_its_end_is_the_exit_code(state: str, code: int) -> None:
    result, _ = call({WHERE: [(200, job(state))]}, "jobs", "q-1")
    assert result.exit_code == code
    assert f"q-1 {state} 50 %" in result.stdout
    assert "✓ ok" in result.stdout


def test_a_lost_connection_is_taken_up_after_the_newest_event_that_was_whole() -> None:
    first = event(1, "progress", job("running")) + event(2, "end", job("complete"))[:40]
    replies = {EVENTS: [(200, first), (503, {"detail": "not yet"}), (200, event(2, "end", job("partial", stage="ok")))]}
    result, came = call(replies, "jobs", "q-1", "--follow")
    assert [request["headers"].get("Last-Event-ID") for request in came] == [None, "1", "1"]
    assert result.exit_code == 3
    assert "running 50 %: prod ok, stage running" in result.stderr
    assert "q-1 partial" in result.stdout


def test_following_as_json_is_a_line_per_event() -> None:
    both = event(1, "progress", job("running")) + b": keep-alive\n\n" + event(2, "end", job("complete"))
    result, _ = call({EVENTS: [(200, both)]}, "jobs", "q-1", "--follow", "--json")
    assert [json.loads(line)["state"] for line in result.stdout.splitlines()] == ["running", "complete"]
    assert result.exit_code == 0


def test_who_has_seen_the_end_already_is_shown_it_again() -> None:
    result, _ = call({EVENTS: [(204, b"")], WHERE: [(200, job("failed"))]}, "jobs", "q-1", "--follow")
    assert result.exit_code == 1
    assert "q-1 failed" in result.stdout


def test_following_an_unknown_query_says_so_at_once() -> None:
    result, came = call({EVENTS: [(404, {"detail": "there is no such query"})]}, "jobs", "q-1", "--follow")
    assert (result.exit_code, len(came)) == (1, 1)
    assert "there is no such query" in result.stderr


def test_a_server_that_stays_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "GIVE_UP_S", 0.05)
    result = CliRunner().invoke(appsentry, ["jobs", "q-1", "--follow", "--server", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "query q-1 goes on without us" in result.stderr


@pytest.mark.parametrize(("status", "state"), [(202, "cancelled"), (200, "complete")])
def test_cancelling_shows_where_the_query_is(status: int, state: str) -> None:
    result, _ = call({WHERE: [(status, job(state))]}, "jobs", "q-1", "--cancel")
    assert result.exit_code == 0
    assert f"q-1 {state}" in result.stdout


@pytest.mark.parametrize("arguments", [["--cancel"], ["--follow"], ["q-1", "--cancel", "--follow"]])
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(arguments: list[str]) -> None:
    result, came = call({}, "jobs", *arguments)
    assert (result.exit_code, came) == (2, [])


def test_ctrl_c_of_a_waiting_query_cancels_it() -> None:
    running = job("running")
    with server({SUBMIT: [(202, running)], f"{WHERE}/result": [(202, running)], WHERE: [(202, job("cancelled"))]}) as (
        url,
        came,
    ):
        argv = commands.python("webapp.cli", "query", "up", "--server", url)
        process = subprocess.Popen(argv, env=commands.environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.monotonic() + 20
        while not any(request["path"].endswith("/result") for request in came):
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert came[-1]["path"] == WHERE
    assert came[-1]["method"] == "DELETE"
    assert b"query q-1 is cancelled" in said
