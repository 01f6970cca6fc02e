"""A plan in the terminal: who is asked what, who is left out and why, and what is done with the replies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from webapp.cli import ledger
from webapp.cli.terminal import plain


def print_plan(plan: Mapping[str, Any], console: Console) -> None:
    """Print the answer of `queries:explain`."""
    asked = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("cluster", "leaf", "asked there"):
        asked.add_column(column, overflow="fold")
    for shard in plan.get("shards") or ():
        for at, leaf in enumerate(shard.get("leaves") or ()):
            name = "" if at else shard.get("cluster", "")
            asked.add_row(plain(name), plain(leaf.get("id", "")), plain(leaf.get("text", "")))
    console.print(asked)
    if plan.get("root"):
        console.print(plain(f"then, here: {plan['root']}"))
    for left in plan.get("leftOut") or ():
        line = ledger.verdict(str(left.get("verdict", "")))
        console.print(plain(f"not asked: {left.get('cluster', '')} "), line, plain(f" {left.get('reason', '')}"))
    for note in plan.get("notes") or ():
        console.print(plain(f"· {note}", "dim"))
