"""The command line `appsentry`: the group of its commands, each loaded only when it is called.

Rule: this module imports neither what renders nor what talks to the network, so that `--version` and a typing
mistake are answered at once. Commands ask over HTTP; only the roles and the stack start processes.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper

import click

DISTRIBUTION = "appsentry-federation"
EXIT_CODES = """\b
Exit codes:
  0  the answer is complete
  1  no answer: the server is not there, or refuses, or the query failed
  2  the command line, the query or the configuration is wrong
  3  the answer is there and incomplete (also: an import rejected records,
     or the cluster that is shown is not healthy)
"""

#: Where each command lives: name → (module, attribute, the help line of the overview).
COMMANDS = {
    "query": ("webapp.cli.metrics", "query", "Ask for metrics in PromQL."),
    "trace": ("webapp.cli.traces", "trace", "Show one trace, put together from all clusters."),
    "traces": ("webapp.cli.traces", "traces", "Search for traces."),
    "logs": ("webapp.cli.logs", "logs", "Search for log lines."),
    "jobs": ("webapp.cli.jobs", "jobs", "List, follow and cancel queries."),
    "clusters": ("webapp.cli.clusters", "clusters", "List the clusters and how they are, or show one."),
    "demo": ("webapp.cli.demo.command", "demo", "Run six clusters of a simulated shop on this machine."),
    "serve": ("webapp.cli.serve", "serve", "Run the whole stack on this machine."),
    "web": ("webapp.cli.roles", "web", "Run the HTTP API alone."),
    "worker": ("webapp.cli.roles", "worker", "Run the worker of some clusters, or the merge worker."),
    "beat": ("webapp.cli.roles", "beat", "Run the scheduler alone."),
    "health": ("webapp.cli.health", "health", "Say whether a role of this machine is well."),
    "check": ("webapp.cli.check", "check", "Check a configuration."),
    "import": ("webapp.cli.imports", "import_telemetry", "Bring recorded telemetry into a store."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, and none to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a user's first hour, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, _, short) in COMMANDS.items()])


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"appsentry {version(DISTRIBUTION)}")
        except PackageNotFoundError:
            click.echo("appsentry, from a checkout that is not installed")
        ctx.exit()


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def appsentry() -> None:
    """Ask six clusters as if they were one, and see which of them the answer rests on."""


def main() -> None:
    """Run the command line; the console script `appsentry`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that cannot show a character gets a question mark instead of a traceback.
            stream.reconfigure(errors="replace")
    appsentry.main(prog_name="appsentry")
