"""Asking: submit a question, show a line per cluster while it runs, return the answer.

Rule: the answer's body is kept as the server sent it. Lines that move are written to a terminal only, on standard
error, and leave nothing behind.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from webapp.cli import ledger
from webapp.cli.client import Api, NoAnswer, Reply
from webapp.cli.options import Asking
from webapp.cli.terminal import messages, output

#: How often a running query is looked at, in seconds.
POLL_S = 0.12
_FINISHED = frozenset({"complete", "partial", "failed", "cancelled", "expired"})
#: How long an answer may take beyond the query's own deadline before we say that the server lost it, in seconds.
_GRACE_S = 10.0

Show = Callable[[Mapping[str, Any], Console], None]


def run(asking: Asking, question: Mapping[str, Any], show: Show) -> None:
    """Ask, print the answer with `show` and what it rests on, and end the process with the right exit code."""
    api, said = Api(asking.server, asking.token), messages()
    if asking.explain:
        from webapp.cli.explanation import print_plan

        reply = api.explain(question)
        _print_or_refuse(reply, asking.json, question, lambda: print_plan(reply.json, output()))
        return
    reply = answer(api, question, asking.timeout_ms / 1000, said if said.is_terminal else None)
    _print_or_refuse(reply, asking.json, question, lambda: show(reply.json, output()), said)
    code = ledger.show(reply.json, said)
    if code:
        raise click.exceptions.Exit(code)


def answer(api: Api, question: Mapping[str, Any], timeout_s: float, live: Console | None) -> Reply:
    """Submit a question and wait for its answer; `live` is where to show the clusters meanwhile.

    Ctrl-C cancels the query and ends with 130: nobody waits for it any longer.

    Raises NoAnswer: the server is not there, or has not answered long after the deadline.
    """
    query_id, key = "", uuid.uuid4().hex
    try:
        # Submitted and then waited for, in two requests: whoever is interrupted must know what to cancel.
        reply = api.submit(question, key)
        if reply.status != 202:
            return reply
        query_id, give_up_s = str(reply.json.get("queryId", "")), time.monotonic() + timeout_s + _GRACE_S
        if live:
            _watch(api, query_id, live, give_up_s)
        while (reply := api.result(query_id, 0 if live else timeout_s)).status == 202:
            if time.monotonic() > give_up_s:
                raise NoAnswer(f"query {query_id} has no answer {_GRACE_S:.0f} s after its deadline")
            time.sleep(POLL_S)
        return reply
    except KeyboardInterrupt:
        _cancel(api, question, key, query_id)
        raise click.exceptions.Exit(130) from None


def _cancel(api: Api, question: Mapping[str, Any], key: str, query_id: str) -> None:
    try:
        if not query_id:
            # Interrupted before the id came: under the same key the server says which one it is.
            query_id = str(api.submit(question, key).json.get("queryId", ""))
        cancelled = bool(query_id) and api.cancel(query_id).status == 202
    except NoAnswer as exc:
        click.echo(f"the query could not be cancelled: {exc.message}", err=True)
    else:
        click.echo(f"query {query_id} {'is cancelled' if cancelled else 'had ended'}", err=True)


def _watch(api: Api, query_id: str, console: Console, give_up_s: float) -> None:
    """Show a line per cluster until the query ends; transient, because the ledger comes after it."""
    started_s = time.monotonic()
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while time.monotonic() < give_up_s:
            reply = api.job(query_id)
            if not reply.ok or reply.json.get("state") in _FINISHED:
                return
            elapsed = Text(f"{reply.json.get('state', '')} {time.monotonic() - started_s:.1f} s", style="dim")
            live.update(Group(ledger.table(list(reply.json.get("progress") or ())), elapsed), refresh=True)
            time.sleep(POLL_S)


def _print_or_refuse(
    reply: Reply,
    as_json: bool,
    question: Mapping[str, Any],
    show: Callable[[], None],
    said: Console | None = None,
) -> None:
    if as_json:
        click.echo(reply.body.rstrip())
    if not reply.ok:
        if said is not None:
            ledger.show(reply.json, said)
        raise reply.refusal(str(question["query"]))
    if not as_json:
        show()
