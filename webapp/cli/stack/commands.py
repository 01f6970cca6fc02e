"""How each role is started: its command line and environment, the same for a role alone and for the whole stack.

Rule: no role is imported here. What a role needs arrives in its environment, and nothing secret on a command line.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: The folder that holds our packages: a checkout, or site-packages.
_ROOT = Path(__file__).parents[3]


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line of a module of ours; `-P` keeps a folder of the user's from shadowing our packages."""
    return [sys.executable, "-P", "-m", module, *arguments]


def web(bind: str) -> list[str]:
    """Return the command line of the API; `bind` is `host:port` or `fd://N` of a listening socket."""
    return python("gunicorn", "-c", "python:webapp.cli.gunicorn_config", "-b", bind)


def cluster_worker(clusters: Sequence[str], *, events: bool = False) -> list[str]:
    """Return the command line of the worker that serves the named clusters; `events` tells Flower what it does."""
    return python("workers", "cluster", "--clusters", ",".join(clusters), *(["--events"] if events else []))


def merge_worker(*, with_beat: bool = False, events: bool = False) -> list[str]:
    """Return the command line of the worker that combines; `with_beat` has it run the schedule too."""
    given = {"--with-beat": with_beat, "--events": events}
    return python("workers", "merge", *(option for option, on in given.items() if on))


def beat() -> list[str]:
    """Return the command line of the scheduler."""
    return python("workers", "beat")


def environment(environ: Mapping[str, str], **given: str) -> dict[str, str]:
    """Return a role's environment: that of the caller, what is given, and what makes our packages found."""
    merged = {**environ, **given}
    # Threads that allocate in arenas of their own hold on to memory that others could use.
    merged.setdefault("MALLOC_ARENA_MAX", "2")
    if _ROOT.name != "site-packages":
        merged["PYTHONPATH"] = ":".join(filter(None, (str(_ROOT), environ.get("PYTHONPATH", ""))))
    return merged
