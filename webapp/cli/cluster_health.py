"""How one cluster is, for people: a row per backend, and below it in words what is wrong.

Rule: the words at the end are what matters at night, so they are whole and on lines of their own. Ages are the
server's: the clock of this machine is compared with none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from webapp.cli import moments
from webapp.cli.ledger import COMPLETE, INCOMPLETE
from webapp.cli.terminal import plain

#: Data older than this are shown as old.
STALE_MS: Final = 300_000
_MARKS: Final = {
    "healthy": ("✓", "green"),
    "up": ("✓", "green"),
    "degraded": ("~", "yellow"),
    "unknown": ("?", "yellow"),
    "down": ("✗", "red"),
}
_NOT_TOLD: Final = Text("–", style="dim")


def status(word: str) -> Text:
    """Return a status with its mark and colour."""
    mark, style = _MARKS.get(word, ("?", "yellow"))
    return plain(f"{mark} {word}", style)


def worker(row: Mapping[str, Any]) -> Text:
    """Return whether a worker serves a cluster, or since when and why none does."""
    if row.get("alive"):
        return Text("✓ alive", style="green")
    seen_ms = row.get("lastSeenMs")
    seen = f", last seen {moments.moment(seen_ms)} {moments.zone(seen_ms)}" if seen_ms else ""
    why = f": {row['reason']}" if row.get("reason") else ""
    return Text("✗ none", style="red").append_text(plain(seen + why, "red"))


def wrongs(lines: Iterable[tuple[str, str, str]], console: Console) -> None:
    """Print in words what is wrong: lines of (place, status, words)."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for place, word, words in lines:
        mark, style = _MARKS.get(word, _MARKS["down"])
        table.add_row(plain(f"{mark} {place}", style), plain(words))
    if table.row_count:
        console.print()
        console.print(table)


def exit_code(answer: Mapping[str, Any]) -> int:
    """Return the exit code that a cluster's health deserves: an answer of one that is not well may lack something."""
    return COMPLETE if answer.get("status") == "healthy" else INCOMPLETE


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print how a cluster is."""
    head = Text.assemble(plain(answer.get("name", ""), "bold"), plain(f" ({answer.get('environment', '')})  "))
    head.append_text(status(str(answer.get("status") or "unknown"))).append("  worker ")
    console.print(head.append_text(worker(answer.get("worker") or {})))
    backends = list(answer.get("backends") or ())
    console.print()
    console.print(_table(backends))
    wrongs(((row.get("signal", ""), row.get("status", ""), words) for row in backends for words in _said(row)), console)


def _table(backends: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("signal", "kind", "status"):
        table.add_column(column, no_wrap=True)
    table.add_column("version", overflow="fold")
    table.add_column("latency", justify="right", no_wrap=True)
    for column in ("newest", "breaker"):
        table.add_column(column, no_wrap=True)
    for row in backends:
        latency_ms, state = row.get("latencyMs"), str((row.get("breaker") or {}).get("state", ""))
        table.add_row(
            plain(row.get("signal", "")), plain(row.get("kind", "")), status(str(row.get("status") or "unknown")),
            plain(row["version"]) if row.get("version") else _NOT_TOLD,
            _NOT_TOLD if latency_ms is None else Text(f"{latency_ms} ms"), _age(row.get("newestAgeMs")),
            plain(state.replace("_", " "), "" if state == "closed" else "red"),
        )  # fmt: skip
    return table


def _age(age_ms: int | None) -> Text:
    if age_ms is None:
        return _NOT_TOLD
    return Text(moments.ago(age_ms), style="yellow" if age_ms > STALE_MS else "")


def _said(backend: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a backend, and of one that is not asked when it will be."""
    if backend.get("error"):
        yield str(backend["error"])
    breaker = backend.get("breaker") or {}
    if breaker.get("state") in ("open", "half_open"):
        since_ms, retry_ms = breaker.get("sinceMs"), breaker.get("retryInMs") or 0
        since = f" since {moments.clock(since_ms)} {moments.zone(since_ms)}" if since_ms else ""
        retry = f"in {round(retry_ms / 1000)} s" if retry_ms >= 500 else "now"
        yield f"not asked{since}; a probe tries it {retry}"
