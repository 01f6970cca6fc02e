"""Recorded traces of three clusters, and what is true of them.

`tests/fixtures/traces` holds spans of our own recordings of Tempo, one cluster's spans per server, with the truth
about every trace: the app-prod clock is 23.4 ms ahead, that of shared-services 29.9 ms behind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from federation_core.signals.traces.payload import Span, SpanKind, SpanStatus, TracePart

FOLDER = Path(__file__).parents[3] / "fixtures" / "traces"


@dataclass(frozen=True)
class Recorded:
    """One recorded trace: its parts by cluster and what is true of the whole."""

    trace_id: str
    parts: dict[str, TracePart]
    truth: dict[str, Any]


@cache
def recorded_traces() -> tuple[Recorded, ...]:
    """Return every recorded trace."""
    spans: dict[str, dict[str, list[Span]]] = {}
    for line in (FOLDER / "recorded_spans.jsonl").read_text().splitlines():
        row = json.loads(line)
        cluster = row.pop("cluster")
        row |= {"kind": SpanKind(row["kind"]), "status": SpanStatus(row["status"])}
        spans.setdefault(row["trace_id"], {}).setdefault(cluster, []).append(Span(**row))
    truth = json.loads((FOLDER / "recorded_truth.json").read_text())["traces"]
    return tuple(
        Recorded(
            trace_id,
            {cluster: TracePart(trace_id, tuple(held)) for cluster, held in spans[trace_id].items()},
            truth[trace_id],
        )
        for trace_id in sorted(truth)
    )


@cache
def recorded_skew_ns() -> dict[str, int]:
    """Return how far each cluster's clock is ahead."""
    skew: dict[str, int] = json.loads((FOLDER / "recorded_truth.json").read_text())["clock_skew_ns"]
    return skew
