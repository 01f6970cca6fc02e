"""The roles, each alone: `appsentry web`, `worker` and `beat` check what they are given and become that role.

Rule: the process is replaced, not parented, so that a supervisor's signals and exit codes reach the role itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from federation_core.config import Settings
from webapp.cli.configuration import WrongConfiguration, config_option, load_or_fail, require_fit_for
from webapp.cli.options import Names
from webapp.cli.stack import commands
from webapp.cli.stack.ports import DEFAULT_PORT, PortBusy, listen


@click.command()
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="The port of the API."
)
def web(config: str | None, host: str, port: int) -> None:
    """Run the HTTP API alone. Needs REDIS_URL."""
    place, settings = _load(config)
    require_fit_for(settings, host)
    try:
        listener = listen(host, port)
    except PortBusy as exc:
        raise click.ClickException(str(exc)) from None
    except OSError as exc:
        raise click.ClickException(f"--host: cannot listen on {host!r}: {exc.strerror}") from None
    listener.set_inheritable(True)
    _become(commands.web(f"fd://{listener.fileno()}"), place)


@click.command()
@config_option
@click.option("--clusters", type=Names(), metavar="a,b", help="Serve these; no other cluster's file is read.")
@click.option("--merge", is_flag=True, help="Combine what the clusters answer.")
@click.option("--events", is_flag=True, help="Tell Flower of every task; without Flower it only costs time.")
def worker(config: str | None, clusters: tuple[str, ...] | None, merge: bool, events: bool) -> None:
    """Run the worker near some clusters, or the merge worker. Needs REDIS_URL."""
    if bool(clusters) == merge:
        raise click.UsageError("give --clusters a,b or --merge, one of them")
    place, settings = _load(config, tuple(clusters or ()))
    if merge:
        _become(commands.merge_worker(events=events), place)
    names = [cluster.name for cluster in settings.clusters]
    _become(commands.cluster_worker(names, events=events), place, APPSENTRY_CLUSTERS=",".join(names))


@click.command()
@config_option
def beat(config: str | None) -> None:
    """Run the scheduler alone, once in the whole installation. Needs REDIS_URL."""
    place, _ = _load(config)
    _become(commands.beat(), place)


def _load(config: str | None, only: tuple[str, ...] = ()) -> tuple[Path, Settings]:
    place, settings = load_or_fail(config, only)
    if not settings.redis_url:
        raise WrongConfiguration("REDIS_URL is not set; a role alone needs the Redis that it shares with the others")
    return place, settings


def _become(argv: list[str], config: Path, **given: str) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(argv[0], argv, commands.environment(os.environ, APPSENTRY_CONFIG=str(config), **given))
