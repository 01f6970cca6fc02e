"""What an answer rests on, on standard error: the verdict of every cluster, the warnings, and the exit code.

Rule: whoever reads only the answer's end, or only the exit code, still learns that a cluster is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from webapp.cli.terminal import plain

COMPLETE, FAILED, WRONG, INCOMPLETE = 0, 1, 2, 3
_STYLES = {"ok": "green", "cached": "green", "pruned": "dim", "denied": "dim", "queued": "dim", "running": "yellow"}
_MARKS = {"ok": "✓", "cached": "✓", "pruned": "·", "denied": "·", "queued": "…", "running": "…", "partial": "~"}


def verdict(name: str) -> Text:
    """Return a verdict, or a state on the way to it, with its mark and colour."""
    return Text(f"{_MARKS.get(name, '✗')} {name}", style=_STYLES.get(name, "red"))


def table(rows: list[Mapping[str, Any]]) -> Table:
    """Return the ledger: a row per cluster. `rows` are those of the API's coverage, or of a job's progress."""
    ledger = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    ledger.add_column("cluster", no_wrap=True)
    ledger.add_column("verdict", no_wrap=True)
    for column in ("ms", "rows", "bytes"):
        ledger.add_column(column, justify="right", no_wrap=True)
    ledger.add_column("reason", overflow="fold")
    for row in rows:
        state = str(row.get("verdict") or row.get("state") or "")
        ledger.add_row(
            plain(row.get("cluster", "")), verdict(state), _count(row.get("elapsedMs")), _count(row.get("rows")),
            _count(row.get("bytes")), plain(row.get("reason") or ""),
        )  # fmt: skip
    return ledger


def show(answer: Mapping[str, Any], console: Console) -> int:
    """Print what an answer, or a refusal, rests on; return the exit code that an answer deserves."""
    coverage = answer.get("coverage") or {}
    rows = list(coverage.get("clusters") or ())
    complete = bool(coverage.get("complete", True))
    if rows:
        console.print(table(rows))
        took = f" in {answer['elapsedMs']} ms" if answer.get("elapsedMs") is not None else ""
        said = f"{len(coverage.get('answered') or ())} of {len(coverage.get('asked') or ())} clusters answered{took}"
        console.print(Text(said, "green") if complete else Text(f"INCOMPLETE: {said}", "bold red"))
    for warning in answer.get("warnings") or ():
        console.print(Text.assemble(("warning: ", "yellow"), plain(warning)))
    return COMPLETE if complete else INCOMPLETE


def _count(value: Any) -> Text:
    return Text("" if value is None else f"{int(value):,}")
