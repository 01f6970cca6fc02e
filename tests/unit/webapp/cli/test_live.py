"""The lines that move while a query runs, seen on a terminal of the right kind."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from tests.unit.webapp.cli.test_client import ANSWER, SUBMIT, server
from webapp.cli import ask
from webapp.cli.client import Api


def test_each_cluster_has_a_line_while_it_runs_and_none_is_left_behind() -> None:
    progress = [
        {"cluster": "prod", "state": "ok", "elapsedMs": 41, "rows": 7, "bytes": 9},
        {"cluster": "stage", "state": "running", "elapsedMs": None},
    ]
    job = f"{SUBMIT}/q-1"
    running = {"queryId": "q-1", "state": "running", "progress": progress}
    replies = {
        SUBMIT: [(202, running)],
        job: [(200, running), (200, {"state": "complete"})],
        job + "/result": [(200, ANSWER)],
    }
    screen = Console(file=StringIO(), force_terminal=True, width=100, color_system=None)
    with server(replies) as (url, came):
        reply = ask.answer(Api(url), {"query": "up"}, 5, screen)
    assert reply.json == ANSWER
    assert [request["path"] for request in came] == [SUBMIT, job, job, job + "/result"]
    assert came[0]["headers"]["Prefer"] == "respond-async"
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "… running" in shown
    assert "✓ ok" in shown
    assert "stage" in shown
    # The last thing written moves up and erases what was shown.
    assert shown.rstrip().endswith("\x1b[2K") or "\x1b[1A\x1b[2K" in shown.split("stage")[-1]
