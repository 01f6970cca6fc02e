"""`appsentry serve`: the whole stack on this machine, on any configuration."""

from __future__ import annotations

import os
from pathlib import Path

import click

from federation_core.errors import FederationError
from webapp.cli.configuration import config_option, load_or_fail, require_fit_for


@click.command()
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="The API's port.  [default: 8080, or the next free one]")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Keep the log of all roles in this file.")
def serve(config: str | None, host: str, port: int | None, log: Path | None) -> None:
    """Run the whole stack on this machine: API, workers, scheduler, and a Redis unless REDIS_URL names one.

    Ends with Ctrl-C or SIGTERM, and leaves no process behind.
    """
    from webapp.cli.stack.run import Run, run
    from webapp.cli.stack.scratch import Scratch

    place, settings = load_or_fail(config)
    require_fit_for(settings, host)
    with Scratch() as scratch:
        try:
            code = run(Run("Starting the stack …", settings, place, host, port, log, os.environ, _say_ready), scratch)
        except FederationError as exc:
            raise click.ClickException(exc.message) from None
    raise click.exceptions.Exit(code)


def _say_ready(url: str, log: Path) -> None:
    click.echo(f"AppSentry Federation answers at {url}")
    click.echo(f"The log of all roles is {log}. Ctrl-C ends them.")
