"""`appsentry jobs`: the tenant's queries, one of them with a line per cluster, followed or cancelled.

Rule: what is shown of a query says how it ends, in words and as the exit code, so that a script can wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from webapp.cli import ledger, moments
from webapp.cli.client import Api, Reply
from webapp.cli.follow import follow
from webapp.cli.options import server_options
from webapp.cli.terminal import messages, output, plain

#: What a query that has ended is worth to a script; one that still runs is no failure.
_CODES = {"partial": ledger.INCOMPLETE, "failed": ledger.FAILED, "cancelled": ledger.FAILED, "expired": ledger.FAILED}
_STYLES = {"complete": "green", "partial": "yellow", "failed": "red", "cancelled": "red", "expired": "dim"}
_QUERY_CHARS = 60
EXIT_CODES = """\b
Exit codes, with ID:
  0  the query is complete, or still runs
  1  there is no such query, or it has failed or was cancelled (with --cancel: it could not be)
  3  the query has ended and is incomplete
"""


@server_options
@click.option("--follow", "following", is_flag=True, help="Show every change until the query ends.")
@click.option("--cancel", "cancelling", is_flag=True, help="Cancel it; its clusters stop working on it.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many to list.")
@click.argument("query_id", required=False, metavar="[ID]")
@click.command(epilog=EXIT_CODES)
def jobs(
    query_id: str | None,
    limit: int,
    cancelling: bool,
    following: bool,
    server: str,
    token: str,
    as_json: bool,
) -> None:
    """List your queries, newest first; or show, follow or cancel the one with this ID."""
    if query_id is None and (cancelling or following):
        raise click.UsageError("--follow and --cancel are about one query; give its ID")
    if cancelling and following:
        raise click.UsageError("give --follow or --cancel, one of them")
    api = Api(server, token)
    if query_id is None:
        _show(api.jobs(limit), as_json, show_list)
    elif cancelling:
        _show(api.cancel(query_id), as_json, show_job)
    elif following:
        _follow(api, query_id, as_json)
    else:
        job = _show(api.job(query_id), as_json, show_job)
        _exit_as(job)


def show_list(answer: Mapping[str, Any], console: Console) -> None:
    """Print a row per query."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("id", "signal", "state", "%", "submitted", "took", "query"):
        table.add_column(column, no_wrap=column != "query", overflow="ellipsis" if column == "query" else "fold")
    for job in answer.get("queries") or ():
        text = " ".join(str(job.get("query", "")).split())
        table.add_row(
            plain(job.get("queryId", "")), plain(job.get("signal", "")), _state(job), plain(job.get("percent", "")),
            plain(moments.moment(job["createdMs"])), _took(job), plain(text[:_QUERY_CHARS]),
        )  # fmt: skip
    console.print(table)


def show_job(job: Mapping[str, Any], console: Console) -> None:
    """Print a row per cluster of one query, and how far it is."""
    console.print(_picture(job))


def _follow(api: Api, query_id: str, as_json: bool) -> None:
    """Show a query until it ends: lines that move on a terminal, JSON by the line for a program, else each change."""
    said, last = messages(), None
    try:
        if as_json:
            for last in follow(api, query_id):
                click.echo(json.dumps(last))
        elif said.is_terminal:
            with Live(console=said, transient=True, auto_refresh=False) as live:
                for last in follow(api, query_id):
                    live.update(_picture(last), refresh=True)
        else:
            shown = ""
            for last in follow(api, query_id):
                if (line := _line(last)) != shown:
                    shown = line
                    said.print(plain(line))
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    if last is None:
        last = api.job(query_id).json
    if not as_json:
        show_job(last, output())
    _exit_as(last)


def _picture(job: Mapping[str, Any]) -> Group:
    heads = Text.assemble(plain(job.get("queryId", "")), " ", _state(job), f" {job.get('percent', '')} % ", _took(job))
    follows = job.get("follows")
    return Group(
        heads,
        *([plain(f"shares the execution of {follows}", "dim")] if follows else []),
        ledger.table(list(job.get("progress") or ())),
    )


def _line(job: Mapping[str, Any]) -> str:
    clusters = ", ".join(f"{row.get('cluster')} {row.get('state')}" for row in job.get("progress") or ())
    return f"{job.get('state')} {job.get('percent')} %: {clusters}"


def _state(job: Mapping[str, Any]) -> Text:
    state = str(job.get("state", ""))
    return plain(state, _STYLES.get(state, "cyan"))


def _took(job: Mapping[str, Any]) -> Text:
    finished_ms, created_ms = job.get("finishedMs"), job.get("createdMs")
    return Text(moments.duration((finished_ms - created_ms) * 1e6) if finished_ms and created_ms else "")


def _show(reply: Reply, as_json: bool, show: Any) -> Mapping[str, Any]:
    if as_json:
        click.echo(reply.body.rstrip())
    if not reply.ok:
        raise reply.refusal()
    if not as_json:
        show(reply.json, output())
    return reply.json


def _exit_as(job: Mapping[str, Any]) -> None:
    code = _CODES.get(str(job.get("state")), 0)
    if code:
        raise click.exceptions.Exit(code)
