"""One trace in the terminal: its spans as a tree, each with its cluster and its place on the time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from webapp.cli import moments
from webapp.cli.terminal import colours, plain

_BAR_CELLS = 32
#: Spans with less than this share of a cell are still drawn, as a thin mark.
_FULL, _THIN = "━", "╸"


def show(answer: Mapping[str, Any], console: Console) -> None:
    """Print a trace: its head, then a row per span in tree order."""
    spans: Sequence[Mapping[str, Any]] = answer.get("spans") or []
    if not spans:
        console.print(plain("no spans in the clusters that answered", "yellow"))
        return
    _head(answer, spans, console)
    clusters = colours(sorted({str(span.get("cluster", "")) for span in spans}))
    depths = _depths(spans)
    orphans = {_span_id(orphan) for orphan in answer.get("orphans") or ()}
    first_ns, last_ns = min(map(_start_ns, spans)), max(_start_ns(span) + _length_ns(span) for span in spans)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("cluster", no_wrap=True)
    table.add_column("service  operation", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("", no_wrap=True, width=_BAR_CELLS)
    table.add_column("took", justify="right", no_wrap=True)
    for span, depth in zip(spans, depths, strict=True):
        cluster = str(span.get("cluster", ""))
        failed = span.get("status") == "error"
        mark = "⤷ " if span.get("spanId") in orphans else ""
        name = Text.assemble(
            "  " * min(depth, 20) + mark, plain(span.get("service", ""), "bold red" if failed else "bold"), "  ",
            plain(span.get("operation", ""), "red" if failed else ""),
        )  # fmt: skip
        bar = _bar(_start_ns(span) - first_ns, _length_ns(span), last_ns - first_ns)
        style = "red" if failed else clusters[cluster]
        table.add_row(
            Text(cluster, style=clusters[cluster]), name, Text(bar, style=style), moments.duration(_length_ns(span))
        )
    console.print(table)
    if orphans:
        console.print(plain(f"⤷ {len(orphans)} spans whose parent is in no answering cluster", "yellow"))


def _head(answer: Mapping[str, Any], spans: Sequence[Mapping[str, Any]], console: Console) -> None:
    errors = sum(span.get("status") == "error" for span in spans)
    start_ms = int(answer.get("startTimeUnixNano") or min(int(span["startTimeUnixNano"]) for span in spans)) / 1e6
    root = (
        f"{answer.get('rootService')}  {answer.get('rootOperation')}" if answer.get("rootService") else "root not found"
    )
    across = ", ".join(map(str, answer.get("clusters") or ()))
    facts = [
        moments.duration(int(answer.get("durationNano") or 0)),
        f"{len(spans)} spans",
        f"{errors} errors" if errors else "",
        f"{moments.moment(start_ms, milliseconds=True)} {moments.zone(start_ms)}",
    ]
    console.print(Text.assemble(plain(root, "bold"), "  ", plain(answer.get("traceId", ""), "dim")))
    console.print(plain(" · ".join(fact for fact in facts if fact)))
    console.print(plain(f"in {len(answer.get('clusters') or ())} clusters: {across}"))
    skewed = {
        str(span.get("cluster")): int(span.get("skewNano") or 0) for span in spans if int(span.get("skewNano") or 0)
    }
    for cluster, skew_ns in sorted(skewed.items()):
        console.print(plain(f"clock of {cluster} corrected by {moments.duration(skew_ns)}", "dim"))


def _depths(spans: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the depth of each span; the spans are in tree order, parents before children."""
    known: dict[str, int] = {}
    depths = []
    for span in spans:
        parent = str(span.get("parentSpanId") or "")
        depth = known[parent] + 1 if parent in known else 0
        known[str(span.get("spanId"))] = depth
        depths.append(depth)
    return depths


def _bar(offset_ns: int, length_ns: int, whole_ns: int) -> str:
    if whole_ns <= 0:
        return _FULL * _BAR_CELLS
    before = min(int(offset_ns / whole_ns * _BAR_CELLS), _BAR_CELLS - 1)
    cells = round(length_ns / whole_ns * _BAR_CELLS)
    return " " * before + (_FULL * min(cells, _BAR_CELLS - before) if cells else _THIN)


def _span_id(orphan: Any) -> str:
    return str(orphan.get("spanId", "")) if isinstance(orphan, Mapping) else str(orphan)


def _start_ns(span: Mapping[str, Any]) -> int:
    """Return a span's start on the clock of the root's cluster."""
    return int(span["startTimeUnixNano"]) + int(span.get("skewNano") or 0)


def _length_ns(span: Mapping[str, Any]) -> int:
    return int(span["durationNano"])
