"""What `appsentry demo --once` shows: an answer of each kind.

Rule: every answer comes through the HTTP API, by the same functions as the commands that are named beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import click
from rich.console import Console

from federation_core.times import format_time
from webapp.cli import ask, ledger, logs, metrics, waterfall
from webapp.cli.client import Api
from webapp.cli.demo.announcement import FAILED_PAYMENTS, RATE
from webapp.cli.demo.incidents import Kind, incidents
from webapp.cli.terminal import messages, output, plain

PRODUCTION: Final = ("app-prod", "prod", "shared-services")
_HOUR_MS: Final = 3_600_000
_TIMEOUT_MS: Final = 30_000
_SEARCHED: Final = 500


def show_each_kind(url: str) -> int:
    """Show a rate over six clusters, a trace across three and a log search; return the worst exit code."""
    api, now_ms = Api(url), time.time_ns() // 1_000_000
    window = _window(now_ms - 2 * _HOUR_MS, now_ms)
    rate = _question("metrics", RATE, step="2m", **window)
    command = f"query '{RATE}' --from -2h --step 2m"
    codes = [_show(api, "Requests per second, cluster by cluster", command, rate, metrics.show)]
    trace_id = _whole_trace(api, now_ms)
    trace = _question("traces", trace_id)
    codes.append(_show(api, "One trace across three clusters", f"trace {trace_id}", trace, waterfall.show))
    errors = _question("logs", FAILED_PAYMENTS, limit=8, **window)
    command = f"logs '{FAILED_PAYMENTS}' --from -2h --limit 8"
    codes.append(_show(api, "What the payments service says about it", command, errors, logs.show))
    return max(codes)


def _show(
    api: Api, title: str, command: str, question: Mapping[str, Any], show: Callable[[Mapping[str, Any], Console], None]
) -> int:
    console, said = output(), messages()
    console.print()
    console.print(plain(f"── {title}", "bold"))
    console.print(plain(f"$ appsentry {command}", "dim"))
    reply = ask.answer(api, question, _TIMEOUT_MS / 1000, said if said.is_terminal else None)
    if not reply.ok:
        raise reply.refusal()
    show(reply.json, console)
    # On standard output here: what an answer rests on is what the demo is there to show.
    return ledger.show(reply.json, console)


def _whole_trace(api: Api, now_ms: int) -> str:
    """Return the id of a trace that crosses the three production clusters: a failed one, or else the slowest.

    Raises NoAnswer: the API refuses. click.ClickException: no trace crosses them.
    """
    crossing: list[Mapping[str, Any]] = []
    for kind in (Kind.ERROR_BURST, Kind.SLOW_SERVICE):
        latest = [incident for incident in incidents(now_ms - 2 * _HOUR_MS, now_ms) if incident.kind is kind][-1]
        window = _window(latest.start_ms, min(latest.end_ms, now_ms))
        # A request enters each cluster by a server span, so whole traces are found, with all their clusters.
        question = _question("traces", "{ kind = server }", limit=_SEARCHED, clusters=PRODUCTION, **window)
        reply = ask.answer(api, question, _TIMEOUT_MS / 1000, None)
        if not reply.ok:
            raise reply.refusal()
        crossing += [row for row in reply.json["traces"] if set(PRODUCTION) <= set(row["clusters"])]
    if not crossing:
        raise click.ClickException("the shop has no trace that crosses three clusters yet")
    return str(max(crossing, key=lambda row: (bool(row["errors"]), int(row["durationNano"])))["traceId"])


def _question(signal: str, query: str, **more: Any) -> dict[str, Any]:
    return {"signal": signal, "query": query, "timeout": f"{_TIMEOUT_MS}ms", **more}


def _window(start_ms: int, end_ms: int) -> dict[str, str]:
    return {"start": format_time(start_ms), "end": format_time(end_ms)}
