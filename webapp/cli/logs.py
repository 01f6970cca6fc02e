"""`appsentry logs`: log lines of all clusters in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from federation_core.errors import FederationError
from webapp.cli import EXIT_CODES, ask, moments
from webapp.cli.client import wrong
from webapp.cli.options import asking, asking_options, instants, named_values, range_options
from webapp.cli.terminal import colours, plain

_LEVELS = {
    "ERROR": "red",
    "FATAL": "bold red",
    "CRITICAL": "bold red",
    "WARN": "yellow",
    "WARNING": "yellow",
    "DEBUG": "dim",
}


@click.command(epilog=EXIT_CODES)
@click.argument("selector", default="")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only streams with this label; repeatable."
)
@click.option("--text", metavar="TEXT", help="Only lines that contain this.")
@click.option("--regex", metavar="RE2", help="Only lines in which this matches.")
@click.option("--level", metavar="LEVEL", help="Only lines of this level, such as ERROR.")
@click.option("--trace", "trace_id", metavar="ID", help="Only lines of this trace.")
@click.option("--limit", type=click.IntRange(1, 5000), default=100, show_default=True, help="At most so many lines.")
@click.option("--forward", is_flag=True, help="The oldest lines first.")
@range_options
@asking_options
def logs(
    selector: str,
    labels: tuple[str, ...],
    text: str | None,
    regex: str | None,
    level: str | None,
    trace_id: str | None,
    limit: int,
    forward: bool,
    start_ms: int,
    end_ms: int,
    **options: Any,
) -> None:
    """Search for log lines, in LogQL or by the options; the newest first.

    \b
    appsentry logs --level ERROR --text acquirer --from -2h
    appsentry logs '{service="payments"} |= "acquirer"' --from -2h
    """  # fmt: skip
    shared = asking(options)
    structured = {"text": text, "regex": regex, "level": level, "trace_id": trace_id}
    given = {name: value for name, value in structured.items() if value is not None}
    if selector and (given or labels):
        raise click.UsageError("give LogQL or the options --label, --text, --regex, --level, --trace, not both")
    question = shared.question(
        "logs",
        selector or _logql(named_values(labels, "--label"), given),
        limit=limit,
        direction="forward" if forward else "backward",
        **instants(start_ms, end_ms),
    )
    ask.run(shared, question, show)


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print the entries of an answer: time, cluster, level, service and line; a line a row."""
    entries = answer.get("entries") or []
    if not entries:
        console.print(plain("no line matches in the clusters that answered", "yellow"))
        return
    clusters = colours(sorted({str(entry.get("cluster", "")) for entry in entries}))
    widest = max(map(len, clusters))
    for entry in entries:
        labels, cluster = entry.get("labels") or {}, str(entry.get("cluster", ""))
        level, time_ms = str(labels.get("level", "")), int(entry["timeUnixNano"]) / 1e6
        head = Text.assemble(
            (moments.moment(time_ms, milliseconds=True), "dim"), "  ",
            (f"{cluster:<{widest}}", clusters[cluster]), "  ",
            plain(f"{level:<5}", _LEVELS.get(level.upper(), "")), "  ",
            plain(labels.get("service", ""), "bold"), "  ",
        )  # fmt: skip
        # Soft wrapping leaves a line whole, so that it can be copied and searched.
        console.print(head + _line(str(entry.get("line", ""))), soft_wrap=True)
    newest_ms = int(entries[0]["timeUnixNano"]) / 1e6
    console.print(plain(f"{len(entries):,} lines · times in {moments.zone(newest_ms)}", "dim"))


def _line(line: str) -> Text:
    """Return a log line; those after its first are indented, as a stack trace is."""
    return Text("\n    ").join(plain(part) for part in line.rstrip("\n").split("\n"))


def _logql(labels: Mapping[str, str], given: Mapping[str, str]) -> str:
    from federation_core.signals.logs.language import build

    try:
        return build(labels=labels, **given)
    except FederationError as exc:
        raise wrong(exc) from None
