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


def show_each_kind(url: str) -> int:
    """Show a rate over six clusters, a trace across three and a log search; return the worst exit code."""
    api, now_ms = Api(url), time.time_ns() // 1_000_000
    window = {"start": format_time(now_ms - 2 * _HOUR_MS), "end": format_time(now_ms)}
    base: dict[str, Any] = {"timeout": f"{_TIMEOUT_MS}ms"}
    rate = {**base, "signal": "metrics", "query": RATE, "step": "1m", **window}
    codes = [_show(api, "Requests per second, cluster by cluster", f"query '{RATE}' --from -2h", rate, metrics.show)]
    trace_id = _failed_checkout(api, window)
    trace = {**base, "signal": "traces", "query": trace_id}
    codes.append(_show(api, "One trace across three clusters", f"trace {trace_id}", trace, waterfall.show))
    errors = {**base, "signal": "logs", "query": FAILED_PAYMENTS, "limit": 8, **window}
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


def _failed_checkout(api: Api, window: Mapping[str, str]) -> str:
    """Return the id of a recent trace that crosses the three production clusters, a failed one if there is one.

    Raises NoAnswer: the API refuses. click.ClickException: no trace crosses them.
    """
    now_ms = time.time() * 1000
    burst = next((i for i in incidents(int(now_ms) - 2 * _HOUR_MS, int(now_ms)) if i.kind is Kind.ERROR_BURST), None)
    searches = ['{ resource.service.name = "payments" && status = error }', '{ resource.service.name = "payments" }']
    for text in searches:
        question = {"signal": "traces", "query": text, "limit": 200, "timeout": f"{_TIMEOUT_MS}ms", **window}
        if burst is not None and "error" in text:
            question |= {"start": format_time(burst.start_ms), "end": format_time(min(burst.end_ms, int(now_ms)))}
        reply = ask.answer(api, question, _TIMEOUT_MS / 1000, None)
        if not reply.ok:
            raise reply.refusal()
        for row in reply.json.get("traces") or ():
            if _crosses_production(api, str(row["traceId"])):
                return str(row["traceId"])
    raise click.ClickException("the shop has no trace that crosses three clusters yet")


def _crosses_production(api: Api, trace_id: str) -> bool:
    question = {"signal": "traces", "query": trace_id, "timeout": f"{_TIMEOUT_MS}ms"}
    reply = ask.answer(api, question, _TIMEOUT_MS / 1000, None)
    return reply.ok and set(PRODUCTION) <= set(reply.json.get("clusters") or ())
