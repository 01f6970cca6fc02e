"""`appsentry demo`: a simulated shop over six clusters, and the whole stack on top of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from federation_core.errors import FederationError
from webapp.cli.configuration import load_or_fail


@click.command()
@click.option("--once", is_flag=True, help="Show an answer of each kind and end: 0 if all are complete, 3 if not.")
@click.option("--port", type=click.IntRange(1, 65535), help="The API's port.  [default: 8080, or the next free one]")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed is another shop.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Keep the log of all roles in this file.")
def demo(once: bool, port: int | None, seed: int, log: Path | None) -> None:
    """Run six clusters of a simulated shop on this machine: two hours of history, then live.

    Everything lies in a temporary folder and is gone at the end. Anyone on this machine may ask it.
    """
    from webapp.cli.demo.announcement import announce
    from webapp.cli.demo.configuration import HISTORY_DONE, write_config
    from webapp.cli.stack import commands
    from webapp.cli.stack.process import Role
    from webapp.cli.stack.run import Run, run
    from webapp.cli.stack.scratch import Scratch

    with Scratch() as scratch:
        folder = scratch.path / "shop"
        config = write_config(folder)
        # The demo is a world of its own: the caller's Redis, clusters and keys are not touched.
        environ = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
        environ["AUTH_ENABLED"] = "false"
        _, settings = load_or_fail(str(config), environ=environ)
        feeder = Role(
            "feeder", commands.python("webapp.cli.demo.feeder", str(folder), str(seed)), commands.environment(environ)
        )
        started_s = time.monotonic()

        def show(url: str, journal: Path) -> int | None:
            click.echo(f"Ready after {time.monotonic() - started_s:.1f} s.", err=True)
            if once:
                # Only this needs what renders and what asks; a demo that stays up does without their memory.
                from webapp.cli.demo.tour import show_each_kind

                return show_each_kind(url)
            announce(url, journal)
            return None

        wanted = Run(
            "Starting six clusters of a simulated shop …",
            settings, config, "127.0.0.1", port, log, environ, show,
            companions=(feeder,), also=(folder / HISTORY_DONE).exists,
        )  # fmt: skip
        try:
            code = run(wanted, scratch)
        except FederationError as exc:
            raise click.ClickException(exc.message) from None
    raise click.exceptions.Exit(code)


_NOT_OURS = frozenset(
    {"REDIS_URL", "APPSENTRY_CONFIG", "CLUSTER_CONFIG", "APPSENTRY_CLUSTERS", "APPSENTRY_URL", "APPSENTRY_TOKEN"}
    | {"JWT_KEY", "JWT_KEY_FILE", "JWT_ALGORITHM", "JWT_ISSUER", "JWT_AUDIENCE", "REGION"}
)
