"""Talking to a server: odd replies become words, and a running query is followed to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from webapp.cli import appsentry
from webapp.cli.stack import commands

COMPLETE = {
    "asked": ["prod"],
    "answered": ["prod"],
    "complete": True,
    "clusters": [{"cluster": "prod", "verdict": "ok"}],
}
ANSWER = {
    "resultType": "vector",
    "result": [{"metric": {"cluster": "prod"}, "value": [1_795_500_000, "1"]}],
    "queryId": "q-1",
    "status": "complete",
    "coverage": COMPLETE,
    "warnings": [],
    "elapsedMs": 5,
}
Replies = dict[str, list[tuple[int, Any]]]


@contextmanager
def server(replies: Replies) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve the given replies per path, the last one for ever; gives the URL and the requests that came."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            came.append({"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body})
            queue = replies[self.path]
            status, reply = queue.pop(0) if len(queue) > 1 else queue[0]
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_DELETE = do_POST

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}", came
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def call(replies: Replies, *arguments: str, **environ: str) -> tuple[Result, list[dict[str, Any]]]:
    with server(replies) as (url, came):
        return CliRunner().invoke(appsentry, [*arguments, "--server", url], env=environ), came


SUBMIT = "/api/v1/queries"


def test_an_answer_that_takes_longer_is_fetched_when_it_is_there() -> None:
    running = {"queryId": "q-1", "state": "running"}
    replies: Replies = {
        SUBMIT: [(202, running)],
        f"{SUBMIT}/q-1/result": [(202, running), (202, running), (200, ANSWER)],
    }
    result, came = call(replies, "query", "up", "--at", "now")
    assert result.exit_code == 0, result.output
    assert [request["path"] for request in came] == [SUBMIT] + [f"{SUBMIT}/q-1/result"] * 3


def test_json_is_the_body_as_the_server_sent_it() -> None:
    body = json.dumps(ANSWER, indent=3).encode()
    result, _ = call({SUBMIT: [(200, body)]}, "query", "up", "--at", "now", "--json")
    assert result.stdout_bytes == body + b"\n"
    assert "1 of 1 clusters answered" in result.stderr


def test_an_incomplete_answer_is_shown_and_exits_3() -> None:
    stage = {"cluster": "stage", "verdict": "timed_out", "reason": "no answer within 500 ms"}
    coverage = {"asked": ["prod", "stage"], "answered": ["prod"], "complete": False, "clusters": [stage]}
    result, _ = call(
        {SUBMIT: [(200, {**ANSWER, "status": "partial", "coverage": coverage})]}, "query", "up", "--at", "now"
    )
    assert result.exit_code == 3
    assert "prod" in result.stdout
    assert "timed_out" in result.stderr


@pytest.mark.parametrize(
    ("status", "code"), [(400, 2), (422, 2), (413, 2), (401, 1), (403, 1), (404, 1), (503, 1), (500, 1)]
)
def test_a_problem_is_said_and_its_status_decides_the_exit_code(status: int, code: int) -> None:
    problem = {
        "title": "The request is wrong",
        "detail": "clusters: there is no cluster 'x'",
        "errors": [{"field": "clusters", "detail": "clusters: there is no cluster 'x'", "expected": "one of a, b"}],
    }
    result, _ = call({SUBMIT: [(status, problem)]}, "query", "up", "--json")
    assert result.exit_code == code
    assert result.stderr == "Error: clusters: there is no cluster 'x'\n  clusters: give one of a, b\n"
    assert json.loads(result.stdout) == problem


def test_the_place_of_a_syntax_error_is_shown_in_the_query() -> None:
    fault = {"field": "query", "detail": "2:4: this '(' is not closed", "line": 2, "column": 4}
    result, _ = call(
        {SUBMIT: [(400, {"detail": "2:4: this '(' is not closed", "errors": [fault]})]}, "query", "1 +\nsum(up"
    )
    assert result.stderr == "Error: 2:4: this '(' is not closed\n  sum(up\n     ^\n"


@pytest.mark.parametrize(("line", "column"), [(9, 1), (1, 99), (1, -5)])
def test_a_place_outside_the_query_is_not_shown(line: int, column: int) -> None:
    problem = {"detail": "no", "errors": [{"field": "query", "detail": "no", "line": line, "column": column}]}
    result, _ = call({SUBMIT: [(400, problem)]}, "query", "up")
    assert result.stderr == "Error: no\n"


def test_a_refusal_for_lack_of_coverage_names_the_clusters() -> None:
    problem = {
        "detail": "the answer needs all and lacks stage",
        "coverage": {
            "asked": ["stage"],
            "answered": [],
            "complete": False,
            "clusters": [{"cluster": "stage", "verdict": "no_worker", "reason": "nobody"}],
        },
    }
    result, _ = call({SUBMIT: [(503, problem)]}, "query", "up")
    assert result.exit_code == 1
    assert "no_worker" in result.stderr
    assert "lacks stage" in result.stderr


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"[1]", b'"x"'])
def test_a_body_that_is_not_ours_is_said_and_not_a_traceback(body: bytes) -> None:
    result, _ = call({SUBMIT: [(502, body)]}, "query", "up")
    assert result.exit_code == 1
    assert "is not a JSON object" in result.stderr


def test_no_server_says_how_to_start_one() -> None:
    result = CliRunner().invoke(appsentry, ["query", "up", "--server", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "no server at http://127.0.0.1:9 (connection refused)" in result.stderr
    assert "appsentry demo" in result.stderr
    assert "APPSENTRY_URL" in result.stderr


def test_a_server_that_is_no_url_exits_2() -> None:
    result = CliRunner().invoke(appsentry, ["clusters", "--server", "localhost:8080"])
    assert (result.exit_code, "is not a URL such as" in result.stderr) == (2, True)


def test_the_token_comes_from_the_environment_and_no_proxy_sees_it() -> None:
    environ = {"APPSENTRY_TOKEN": "secret", "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    result, came = call({SUBMIT: [(200, ANSWER)]}, "query", "up", "--at", "now", **environ)
    assert result.exit_code == 0, result.output
    assert came[0]["headers"]["Authorization"] == "Bearer secret"


def test_explain_runs_nothing() -> None:
    result, came = call({SUBMIT + ":explain": [(200, {"shards": [], "root": "up"})]}, "query", "up", "--explain")
    assert result.exit_code == 0
    assert [request["path"] for request in came] == [SUBMIT + ":explain"]


def test_a_query_that_the_server_lost_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.cli import ask

    monkeypatch.setattr(ask, "_GRACE_S", 0.0)
    running = {"queryId": "q-1", "state": "running"}
    result, _ = call(
        {SUBMIT: [(202, running)], f"{SUBMIT}/q-1/result": [(202, running)]}, "query", "up", "--timeout", "100ms"
    )
    assert result.exit_code == 1
    assert "q-1 has no answer" in result.stderr


def test_ctrl_c_while_waiting_exits_130() -> None:
    running = {"queryId": "q-1", "state": "running"}
    with server({SUBMIT: [(202, running)], f"{SUBMIT}/q-1/result": [(202, running)]}) as (url, came):
        argv = commands.python("webapp.cli", "query", "up", "--server", url)
        asking = subprocess.Popen(argv, env=commands.environment(os.environ), stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + 20
        while len(came) < 2 and time.monotonic() < until_s:
            time.sleep(0.02)
        asking.send_signal(signal.SIGINT)
        assert asking.wait(20) == 130
