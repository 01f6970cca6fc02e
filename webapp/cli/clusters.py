"""`appsentry clusters`: the members of the federation, who serves them and how they are; `clusters NAME` for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from federation_core.times import format_duration
from webapp.cli import cluster_health
from webapp.cli.client import Api, WrongQuestion
from webapp.cli.options import server_options
from webapp.cli.terminal import output, plain


@server_options
@click.command()
@click.argument("name", required=False)
def clusters(name: str | None, server: str, token: str, as_json: bool) -> None:
    """List the clusters: how they are and what is wrong with them, what they hold, and whether a worker serves them.

    With a NAME show that cluster: for each backend whether it is up, its version, how quickly it answers, how new its
    data are, and whether it is asked. The exit code is then 3 unless it is healthy; that of the list is 0 however the
    clusters are, since the list is whole.
    """
    api = Api(server, token)
    reply = api.clusters() if name is None else api.cluster_health(name)
    if as_json:
        click.echo(reply.body.rstrip())
    if reply.status == 404 and name is not None:
        raise WrongQuestion(reply.refusal().message)
    if not reply.ok:
        raise reply.refusal()
    if not as_json:
        (show if name is None else cluster_health.show)(reply.json, output())
    if name is not None and (code := cluster_health.exit_code(reply.json)):
        raise click.exceptions.Exit(code)


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print a row per cluster, and below them what is wrong."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("cluster", "status", "environment", "region", "backends", "keeps", "worker"):
        table.add_column(column, overflow="fold")
    found = list(answer.get("clusters") or ())
    for cluster in found:
        keeps_ms = cluster.get("retentionMs")
        table.add_row(
            plain(cluster.get("name", "")), cluster_health.status(str(cluster.get("status") or "unknown")),
            plain(cluster.get("environment", "")), plain(cluster.get("region") or ""),
            plain(_backends(cluster.get("backends") or {})), format_duration(keeps_ms) if keeps_ms else "",
            cluster_health.worker(cluster.get("worker") or {}),
        )  # fmt: skip
    console.print(table)
    # Why there is no worker stands in its column.
    lines = (
        (f"{cluster.get('name', '')} {entry}", str(cluster.get("status") or ""), words)
        for cluster in found
        for entry, words in (cluster.get("errors") or {}).items()
        if entry != "worker"
    )
    cluster_health.wrongs(lines, console)


def _backends(backends: Mapping[str, str]) -> str:
    """Name the backend kinds, each with the signals it serves where there is more than one kind."""
    by_kind: dict[str, list[str]] = {}
    for signal, kind in backends.items():
        by_kind.setdefault(kind, []).append(signal)
    return ", ".join(f"{kind}: {' '.join(signals)}" for kind, signals in by_kind.items())
