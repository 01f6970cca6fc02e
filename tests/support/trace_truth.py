"""What the recorded trace servers hold, as `truth.json` says it, and the same facts of an answer of ours.

The file was written beside the recordings by who sent the spans: see its `error_meaning` and the notes of each trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from federation_core.signals.traces.payload import Span, SpanStatus, Trace

FOLDER = Path(__file__).parents[1] / "fixtures" / "backends"
CLUSTERS = ("prod", "app-prod", "shared-services")
TRUTH: dict[str, Any] = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))
TRACES: dict[str, Any] = TRUTH["traces"]
WINDOW_MS = (TRUTH["base_unix_s"] * 1000, (TRUTH["base_unix_s"] + TRUTH["window_s"]) * 1000)


def expected_part(trace_id: str, cluster: str, *, unit_ns: int = 1) -> dict[str, Any]:
    """Return what one cluster holds of a trace; times are cut off to `unit_ns`."""
    held = TRACES[trace_id]["clusters"][cluster]
    return {
        "spans": held["spans"],
        "services": held["services"],
        "start_ns": int(held["start_ns"]) // unit_ns * unit_ns,
        "errors": held["errors"],
    }


def part_of(spans: Iterable[Span]) -> dict[str, Any]:
    """Return the same of the spans that a connector found."""
    found = list(spans)
    return {
        "spans": len({span.key for span in found}),
        "services": sorted({span.service for span in found}),
        "start_ns": min(span.start_ns for span in found),
        "errors": len({span.key for span in found if span.status is SpanStatus.ERROR}),
    }


def expected_trace(trace_id: str) -> dict[str, Any]:
    """Return what is true of a whole trace."""
    held = TRACES[trace_id]
    root = held["root"]
    return {
        "clusters": sorted(held["clusters"]),
        "spans": held["span_count"],
        "root": (root["service"], root["name"], root["cluster"], root["span_id"]) if root else None,
        "error": held["error"],
        "missing_parents": held["missing_parents"],
        "service_edges": [tuple(edge) for edge in held["service_edges"]],
        "links": held["links"],
    }


def facts_of(trace: Trace) -> dict[str, Any]:
    """Return the same of a stitched trace."""
    root, by_id = trace.root_span, {span.span_id: span for span in trace.spans}
    calls = {
        (by_id[span.parent_id].service, span.service)
        for span in trace.spans
        if span.parent_id in by_id and by_id[span.parent_id].service != span.service
    }
    orphans = set(trace.orphans)
    return {
        "clusters": sorted(trace.clusters),
        "spans": len(trace.spans),
        "root": (root.service, root.operation, root.cluster, root.span_id) if root else None,
        "error": any(span.status is SpanStatus.ERROR for span in trace.spans),
        "missing_parents": sorted({span.parent_id for span in trace.spans if span.key in orphans}),
        "service_edges": sorted(calls),
        "links": sum(len(span.links) for span in trace.spans),
    }
