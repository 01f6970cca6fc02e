"""`appsentry import otlp`: recorded telemetry into a cluster's embedded store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from federation_core.errors import FederationError, InvalidRequest
from webapp.cli.ledger import INCOMPLETE
from webapp.cli.terminal import messages, printable

if TYPE_CHECKING:
    from federation_core.connectors.otlp import ImportReport


@click.group("import")
def import_telemetry() -> None:
    """Bring recorded telemetry into a store."""


@import_telemetry.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--store",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The store's folder; made if it is missing.",
)
@click.option("--cluster", metavar="NAME", help="The cluster the telemetry is from; a store belongs to one.")
def otlp(files: tuple[str, ...], store: Path, cluster: str | None) -> None:
    """Import OTLP JSON lines, as the OpenTelemetry Collector's file exporter writes them; also .gz and .zst.

    Bad lines and records are rejected by number and the good ones kept: the exit code is then 3.
    """  # fmt: skip
    from federation_core.connectors.otlp import import_files
    from federation_core.connectors.stores.segments import SegmentStore

    console = messages()
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn(),
        TextColumn("{task.fields[rows]}"),
    )  # fmt: skip
    try:
        with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
            bar = bars.add_task("importing", total=None, rows="")

            def show(report: ImportReport) -> None:
                bars.update(bar, completed=report.bytes, total=report.total_bytes, rows=f"{report.spans:,} spans")

            with SegmentStore(store, cluster=cluster) as opened:
                report = import_files(files, opened, cluster, show)
    except InvalidRequest as exc:
        raise click.UsageError(exc.message) from None
    except FederationError as exc:
        raise click.ClickException(exc.message) from None
    _say(report)
    if report.rejected:
        raise click.exceptions.Exit(INCOMPLETE)


def _say(report: ImportReport) -> None:
    for rejection in report.rejections:
        click.echo(printable(str(rejection)), err=True)
    if report.rejected:
        click.echo(
            f"rejected: {report.rejected:,} records, the first {len(report.rejections):,} reasons above", err=True
        )
    for file in report.already_imported:
        click.echo(f"already in the store: {file}", err=True)
    kept = f"{report.spans:,} spans, {report.logs:,} log lines, {report.samples:,} samples"
    twice = f"; {report.duplicates:,} spans came twice and count once" if report.duplicates else ""
    click.echo(f"{report.lines:,} lines: {kept}{twice}")
