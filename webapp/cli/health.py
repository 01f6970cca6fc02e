"""`appsentry health`: is a role on this machine well? What a container's health check runs.

Rule: exit code 0 or 1 within seconds, and one line that says what is wrong.
"""

from __future__ import annotations

import http.client
import os
import time

import click

from federation_core.errors import FederationError
from webapp.cli.options import Names
from webapp.cli.stack.ports import DEFAULT_PORT

_TIMEOUT_S = 3.0


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="The API's port.")
@click.option("--clusters", type=Names(), metavar="a,b", help="Ask whether a worker serves these, instead of the API.")
def health(port: int, clusters: tuple[str, ...] | None) -> None:
    """Exit with 0 if the API on this machine takes queries, or if a worker serves the clusters; else with 1.

    With --clusters it needs REDIS_URL.
    """
    wrong = _unserved(clusters) if clusters else _unready(port)
    if wrong:
        raise click.ClickException(wrong)


def _unready(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return f"port {port}: the API does not answer: {exc}"
    finally:
        connection.close()
    return "" if status == 200 else f"port {port}: the API is not ready (HTTP {status})"


def _unserved(clusters: tuple[str, ...]) -> str:
    from federation_core.connectors.stores.jobs_beats import Heartbeats

    url = os.environ.get("REDIS_URL", "")
    if not url:
        raise click.UsageError("REDIS_URL is not set; the workers' signs of life are there")
    try:
        beats = Heartbeats(url).latest(clusters, time.time_ns() // 1_000_000)
    except FederationError as exc:
        return exc.message
    missing = [name for name in clusters if name not in beats or not beats[name].alive]
    return f"no worker serves {', '.join(missing)}" if missing else ""
