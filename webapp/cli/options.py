"""The options that all asking commands share, and the question they make together.

Rule: times are read here, on the asker's clock, and sent as instants, so that what is printed is what was asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from federation_core.errors import InvalidRequest
from federation_core.times import format_time, parse_duration_ms, parse_time_ms

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_TIMEOUT_MS = 30_000


class Instant(click.ParamType[int]):
    """An instant of the command line, as milliseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read RFC 3339, unix seconds, `now` or `-1h`."""
        try:
            return value if isinstance(value, int) else parse_time_ms(value, int(time.time() * 1000))
        except InvalidRequest as exc:
            self.fail(f"{value!r} is not an instant; give {exc.expected}", param, ctx)


class Duration(click.ParamType[int]):
    """A duration of the command line, in milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `30s`, `1h30m` or a number of seconds."""
        try:
            return value if isinstance(value, int) else parse_duration_ms(value)
        except InvalidRequest as exc:
            self.fail(f"{value!r} is not a duration; give {exc.expected}", param, ctx)


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas."""

    name = "a,b"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split and drop blanks."""
        return value if isinstance(value, tuple) else tuple(part.strip() for part in value.split(",") if part.strip())


@dataclass(frozen=True, slots=True)
class Asking:
    """What the shared options say."""

    server: str
    token: str
    json: bool
    explain: bool
    clusters: tuple[str, ...]
    environments: tuple[str, ...]
    require: str | None
    timeout_ms: int

    def question(self, signal: str, query: str, **more: Any) -> dict[str, Any]:
        """Return the body of a submission; what was not given is left to the server's defaults."""
        body: dict[str, Any] = {"signal": signal, "query": query, "timeout": f"{self.timeout_ms}ms"}
        optional = {
            "clusters": list(self.clusters),
            "environments": list(self.environments),
            "require": self.require,
            **more,
        }
        return body | {name: value for name, value in optional.items() if value not in (None, [], "")}


def server_options(command: F) -> F:
    """Add where to ask."""
    from webapp.cli.client import DEFAULT_SERVER

    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the API's JSON, nothing else, on standard output."),
        click.option("--server", envvar="APPSENTRY_URL", default=DEFAULT_SERVER, show_default=True, metavar="URL",
                     help="The server to ask (APPSENTRY_URL); the token comes from APPSENTRY_TOKEN."),
        click.option("--token", envvar="APPSENTRY_TOKEN", default="", hidden=True),
    ):  # fmt: skip
        command = option(command)
    return command


def asking_options(command: F) -> F:
    """Add which clusters to ask, what coverage is needed and how long it may take."""
    for option in (
        click.option("--explain", is_flag=True, help="Print the plan; ask no cluster."),
        click.option("--timeout", type=Duration(), default=DEFAULT_TIMEOUT_MS, metavar="DURATION",
                     help="Answer by then with what there is.  [default: 30s]"),
        click.option("--require", metavar="NEED",
                     help="What the answer needs: best_effort, all, quorum:K, quorum:0.8 (of weight) or critical:a,b."),
        click.option("--environments", type=Names(), default=(), metavar="a,b", help="Only these environments."),
        click.option("--clusters", type=Names(), default=(), metavar="a,b", help="Only these clusters."),
    ):  # fmt: skip
        command = option(command)
    return server_options(command)


def range_options(command: F) -> F:
    """Add from when to when."""
    for option in (
        click.option("--to", "end_ms", type=Instant(), default="now", show_default=True, metavar="TIME",
                     help="Until when."),
        click.option("--from", "start_ms", type=Instant(), default="-1h", show_default=True, metavar="TIME",
                     help="Since when: RFC 3339, unix seconds or relative (-30m)."),
    ):  # fmt: skip
        command = option(command)
    return command


def asking(options: dict[str, Any]) -> Asking:
    """Take the shared options out of a command's keyword arguments."""
    return Asking(
        server=options.pop("server"),
        token=options.pop("token"),
        json=options.pop("as_json"),
        explain=options.pop("explain"),
        clusters=options.pop("clusters"),
        environments=options.pop("environments"),
        require=options.pop("require"),
        timeout_ms=options.pop("timeout"),
    )


def named_values(given: Sequence[str], option: str) -> dict[str, str]:
    """Read repeated `NAME=VALUE`.

    Raises click.BadParameter: one of them is not.
    """
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=f"'{option}'")
        pairs[name] = value
    return pairs


def instants(start_ms: int, end_ms: int) -> dict[str, str]:
    """Return a time range as the API takes it.

    Raises click.BadParameter: it ends before it starts.
    """
    if end_ms < start_ms:
        raise click.BadParameter(
            f"{format_time(end_ms)} is before --from ({format_time(start_ms)})", param_hint="'--to'"
        )
    return {"start": format_time(start_ms), "end": format_time(end_ms)}
