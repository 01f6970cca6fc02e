"""`appsentry clusters`: the members of the federation and who serves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from federation_core.times import format_duration
from webapp.cli import moments
from webapp.cli.client import Api
from webapp.cli.options import server_options
from webapp.cli.terminal import output, plain


@server_options
@click.command()
def clusters(server: str, token: str, as_json: bool) -> None:
    """List the clusters: environment, region, what they hold, and whether a worker serves them."""
    reply = Api(server, token).clusters()
    if as_json:
        click.echo(reply.body.rstrip())
    if not reply.ok:
        raise reply.refusal()
    if not as_json:
        show(reply.json, output())


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print a row per cluster."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("cluster", "environment", "region", "backends", "keeps", "worker"):
        table.add_column(column, overflow="fold")
    for cluster in answer.get("clusters") or ():
        keeps_ms = cluster.get("retentionMs")
        table.add_row(
            plain(cluster.get("name", "")), plain(cluster.get("environment", "")), plain(cluster.get("region") or ""),
            plain(_backends(cluster.get("backends") or {})), format_duration(keeps_ms) if keeps_ms else "",
            _worker(cluster.get("worker") or {}),
        )  # fmt: skip
    console.print(table)


def _backends(backends: Mapping[str, str]) -> str:
    """Name the backend kinds, each with the signals it serves where there is more than one kind."""
    by_kind: dict[str, list[str]] = {}
    for signal, kind in backends.items():
        by_kind.setdefault(kind, []).append(signal)
    return ", ".join(f"{kind}: {' '.join(signals)}" for kind, signals in by_kind.items())


def _worker(worker: Mapping[str, Any]) -> Text:
    if worker.get("alive"):
        return Text("✓ alive", style="green")
    seen_ms = worker.get("lastSeenMs")
    seen = f", last seen {moments.moment(seen_ms)} {moments.zone(seen_ms)}" if seen_ms else ""
    why = f": {worker['reason']}" if worker.get("reason") else ""
    return Text("✗ none", style="red").append_text(plain(seen + why, "red"))
