"""What `appsentry demo` says when it is up: its address, what to try, and what there is to find."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Final

import click

from webapp.cli import moments
from webapp.cli.demo.incidents import incidents

RATE: Final = "sum by (cluster) (rate(http_requests_total[5m]))"
FAILED_PAYMENTS: Final = '{service="payments", level="error"}'
_HOUR_MS: Final = 3_600_000


def announce(url: str, log: Path) -> None:
    """Say where the demo is and what there is to find."""
    option = "" if url.endswith(":8080") else f" --server {url}"
    now_ms = time.time() * 1000
    click.echo(f"\nSix clusters of a simulated shop answer at {url}   (API: {url}/api/openapi.json)\n")
    click.echo("In another terminal:")
    slow = "traces --service stock --min-duration 300ms"
    for line in (f"query '{RATE}'", f"logs '{FAILED_PAYMENTS}'", slow, "clusters"):
        click.echo(f"  {_program()} {line}{option}")
    click.echo(f"\nWhat went wrong in the shop in the last two hours (times in {moments.zone(now_ms)}):")
    for incident in incidents(int(now_ms) - 2 * _HOUR_MS, int(now_ms)):
        running = "  ← now" if incident.end_ms > now_ms else ""
        span = f"{moments.clock(incident.start_ms, seconds=False)}–{moments.clock(incident.end_ms, seconds=False)}"
        click.echo(f"  {span}  {incident.cluster:<15} {incident.summary}{running}")
    click.echo(f"\nThe log of all roles is {log}. Ctrl-C ends the demo and removes everything.")


def _program() -> str:
    """Return how the reader called us, from where they are."""
    called = Path(sys.argv[0])
    if called.name != "appsentry" or shutil.which("appsentry"):
        return "appsentry"
    return str(called.relative_to(Path.cwd())) if called.is_relative_to(Path.cwd()) else str(called)
