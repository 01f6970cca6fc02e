"""`appsentry check`: is this configuration right?"""

from __future__ import annotations

import click

from webapp.cli.configuration import config_option, load_or_fail


@click.command()
@config_option
def check(config: str | None) -> None:
    """Check a configuration and say file, line and what would be right; exit code 2 if it is wrong."""
    place, settings = load_or_fail(config)
    click.echo(f"{place}: {len(settings.clusters)} clusters")
    for cluster in settings.clusters:
        kinds = ", ".join(f"{backend.signal}: {backend.kind}" for backend in cluster.backends)
        click.echo(f"  {cluster.name} ({cluster.environment}) {kinds}")
