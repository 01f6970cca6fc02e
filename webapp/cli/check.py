"""`appsentry check`: is this configuration right?"""

from __future__ import annotations

import click

from federation_core.config import Settings
from federation_core.connectors import connect
from federation_core.errors import InvalidConfig
from webapp.cli.configuration import WrongConfiguration, config_option, load_or_fail
from webapp.cli.options import Names


@click.command()
@config_option
@click.option("--clusters", type=Names(), metavar="a,b", help="Check these; no other cluster's file is read.")
def check(config: str | None, clusters: tuple[str, ...] | None) -> None:
    """Check a configuration and say file, line and what would be right; exit code 2 if it is wrong.

    No backend is asked anything. Certificates are read, so check where the workers run, each with its own clusters.
    """
    place, settings = load_or_fail(config, tuple(clusters or ()))
    _require_fit_backends(settings)
    click.echo(f"{place}: {len(settings.clusters)} clusters")
    for cluster in settings.clusters:
        kinds = ", ".join(f"{backend.signal}: {backend.kind}" for backend in cluster.backends)
        click.echo(f"  {cluster.name} ({cluster.environment}) {kinds}")


def _require_fit_backends(settings: Settings) -> None:
    """Refuse what a worker would find out with the first query: opening a connector connects to nothing."""
    wrong = []
    for cluster in settings.clusters:
        for backend in cluster.backends:
            try:
                connect(cluster, backend)
            except InvalidConfig as exc:
                wrong.append(exc.message)
    if wrong:
        raise WrongConfiguration("\n".join(wrong))
