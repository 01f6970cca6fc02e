"""Reading the configuration for a command: the option, the faults in words, and what each role needs of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from federation_core.config import Settings
from federation_core.connectors import require_known
from federation_core.connectors.files import load
from federation_core.errors import InvalidConfig

F = TypeVar("F", bound=Callable[..., Any])


class WrongConfiguration(click.ClickException):
    """The configuration is wrong; the command line itself was right, so its usage is not shown."""

    exit_code = 2


def config_option(command: F) -> F:
    """Add `--config`."""
    return click.option(
        "--config",
        metavar="DIR",
        help="The folder with clusters.yaml, or that file (APPSENTRY_CONFIG, CLUSTER_CONFIG).",
    )(command)


def load_or_fail(
    config: str | None, only: tuple[str, ...] = (), environ: Mapping[str, str] = os.environ
) -> tuple[Path, Settings]:
    """Return the absolute place of the configuration and what it says; `only` names the clusters to keep.

    Raises WrongConfiguration: it is wrong, with file, line and what would be right.
    """
    try:
        settings = load(environ, config, only)
        for cluster in settings.clusters:
            for backend in cluster.backends:
                require_known(backend)
    except InvalidConfig as exc:
        raise WrongConfiguration(exc.message) from None
    place = config or environ.get("APPSENTRY_CONFIG") or environ["CLUSTER_CONFIG"]
    return Path(place).absolute(), settings


def require_fit_for(settings: Settings, host: str) -> None:
    """Refuse to serve where tokens cannot be verified, or where everybody would be let in from elsewhere.

    Raises WrongConfiguration: with what to set.
    """
    try:
        settings.auth.require_key()
    except InvalidConfig as exc:
        raise WrongConfiguration(exc.message) from None
    if not settings.auth.enabled and host not in ("127.0.0.1", "::1", "localhost"):
        raise WrongConfiguration(
            f"AUTH_ENABLED=false opens everything to everybody, and {host} is not loopback:"
            " set AUTH_ENABLED=true and a JWT_KEY, or leave --host out"
        )
