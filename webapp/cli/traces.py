"""`appsentry trace` and `appsentry traces`: one trace put together, and the search for some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from federation_core.errors import FederationError
from webapp.cli import EXIT_CODES, ask, moments, waterfall
from webapp.cli.client import wrong
from webapp.cli.options import asking, asking_options, instants, named_values, range_options
from webapp.cli.terminal import plain

_STRUCTURED = ("service", "operation", "min_duration", "max_duration", "tags", "error")


@click.command(epilog=EXIT_CODES)
@click.argument("trace_id", metavar="ID")
@asking_options
def trace(trace_id: str, **options: Any) -> None:
    """Show one trace: the spans of all clusters as one tree, on one time axis."""
    shared = asking(options)
    ask.run(shared, shared.question("traces", trace_id), waterfall.show)


@click.command(epilog=EXIT_CODES)
@click.argument("traceql", default="")
@click.option("--service", metavar="NAME", help="Only traces that pass through this service.")
@click.option("--operation", metavar="NAME", help="Only traces with a span of this name.")
@click.option("--min-duration", metavar="DURATION", help="Only traces with a span at least this long.")
@click.option("--max-duration", metavar="DURATION", help="Only traces with a span at most this long.")
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only spans with this attribute; repeatable.")
@click.option("--error", is_flag=True, help="Only failed spans.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many traces.")
@range_options
@asking_options
def traces(traceql: str, limit: int, start_ms: int, end_ms: int, **options: Any) -> None:
    """Search for traces, in TraceQL or by the options; the newest first.

    \b
    appsentry traces --service stock --min-duration 200ms
    appsentry traces '{ resource.service.name = "payments" && status = error }'
    """
    given = {name: options.pop(name) for name in _STRUCTURED}
    shared = asking(options)
    if traceql and any(given.values()):
        raise click.UsageError("give TraceQL or the options --service, --operation, …, not both")
    text = traceql or _traceql(given)
    ask.run(shared, shared.question("traces", text, limit=limit, **instants(start_ms, end_ms)), show)


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print the found traces, a row each."""
    found = answer.get("traces") or []
    if not found:
        console.print(plain("no trace matches in the clusters that answered", "yellow"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("trace", "started", "root"):
        table.add_column(column, overflow="fold")
    for column in ("took", "spans", "errors"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("clusters", overflow="fold")
    for row in found:
        start_ms = int(row.get("startTimeUnixNano") or 0) / 1e6
        service = row.get("rootService")
        root = f"{service}  {row.get('rootOperation') or ''}" if service else "(root elsewhere)"
        table.add_row(
            plain(row.get("traceId", "")), moments.moment(start_ms, milliseconds=True), plain(root),
            moments.duration(int(row.get("durationNano") or 0)), str(row.get("spanCount", "")),
            plain(row.get("errors") or "", "red"), plain(", ".join(map(str, row.get("clusters") or ()))),
        )  # fmt: skip
    console.print(table)
    newest_ms = int(found[0].get("startTimeUnixNano") or 0) / 1e6
    console.print(plain(f"{len(found):,} traces · times in {moments.zone(newest_ms)}", "dim"))


def _traceql(given: Mapping[str, Any]) -> str:
    from federation_core.signals.traces.durations import parse_duration_ns
    from federation_core.signals.traces.structured import build

    shortest, longest = given["min_duration"], given["max_duration"]
    try:
        return build(
            service=given["service"] or "",
            operation=given["operation"] or "",
            min_duration_ns=parse_duration_ns(shortest, "--min-duration") if shortest else None,
            max_duration_ns=parse_duration_ns(longest, "--max-duration") if longest else None,
            error=given["error"],
            tags=named_values(given["tags"], "--tag"),
        )
    except FederationError as exc:
        raise wrong(exc) from None
