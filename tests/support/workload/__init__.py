"""Expressions of public dashboards and rules, and six clusters' series that give them something to answer with.

Rule: nothing of the expressions is written down here. Labels, values and thresholds are read off whatever list of
expressions is given, so that another list is served as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation_core.signals.metrics.expr import Expr
from federation_core.signals.metrics.parse import parse
from tests.support.workload.series import Metric


@dataclass(frozen=True)
class Workload:
    """The expressions, as written and as read, and what is known of their metrics."""

    texts: Sequence[str]
    exprs: Sequence[Expr]
    metrics: Sequence[Metric]

    @classmethod
    def read(cls, folder: Path) -> Workload:
        """Read the lists of a folder: `queries.jsonl` and `metrics.jsonl`."""
        texts = [str(row["expr"]) for row in _rows(folder / "queries.jsonl")]
        metrics = [
            Metric(str(row["metric"]), frozenset(row["labels"]), frozenset(row["functions"]))
            for row in _rows(folder / "metrics.jsonl")
        ]
        return cls(texts, [parse(text) for text in texts], metrics)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
