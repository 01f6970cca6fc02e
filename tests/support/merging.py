"""One merge in a process of its own, as the merge worker does it, with the peak of its memory.

`write_parts` stores six clusters' parts as files of sealed bytes; the process that `merged_apart` starts opens them,
merges them and seals the result, or is refused by a limit. What it had resident before it began is in the peak.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from federation_core.connectors.stores.sealed import seal, unseal
from federation_core.errors import FederationError
from federation_core.labels import Labels
from federation_core.outcome import Coverage, Partial, Result
from federation_core.query import Query, TimeRange
from federation_core.signals import Room
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.tenancy import Limits
from federation_core.wire import decode_partial, encode_partial, encode_result
from tests.support.peak_memory import peak_bytes
from tests.support.stack import CLUSTERS

STEP_MS, START_MS = 60_000, 1_790_000_000_000
#: The id of a plan's first leaf.
LEAF = "a"


@dataclass(frozen=True)
class Merged:
    """How a merge went; `refused` is empty where it was done."""

    took_ms: float
    peak_bytes: int
    before_bytes: int
    refused: str = ""
    limit: str = ""


def query_of(text: str, steps: int) -> Query:
    """Return the query on the grid that the parts are on."""
    return Query("metrics", text, TimeRange(START_MS, START_MS + (steps - 1) * STEP_MS, STEP_MS), tenant_id="bench")


def write_parts(folder: Path, series: int, steps: int) -> int:
    """Write what each cluster sends for the one leaf of a query: so many series of random values; return all bytes."""
    grid, rng, written = Grid.of(query_of("x", steps).time_range), np.random.default_rng(2), 0
    for cluster in CLUSTERS:
        labels = tuple(Labels.of({"pod": f"{cluster}-{i}", "service": f"s{i // 100}"}) for i in range(series))
        values = rng.random((series, steps))
        frame = Frame(labels, grid, values, np.ones(values.shape, dtype=np.bool_)).sorted_by_labels()
        sealed = seal(encode_partial(Partial("q", cluster, payloads={LEAF: frame}), KIND.encode))
        (folder / cluster).write_bytes(sealed)
        written += len(sealed)
    return written


def merged_apart(folder: Path, text: str, steps: int, max_values: int = Limits().max_values) -> Merged:
    """Merge the parts in a new process; a token that says nothing of limits has the default one."""
    arguments = [str(folder), text, str(steps), str(max_values)]
    command = [sys.executable, "-m", "tests.support.merging", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=True, timeout=120)
    return Merged(**json.loads(done.stdout))


def _merge(folder: Path, query: Query, limits: Limits) -> dict[str, Any]:
    split = KIND.split(KIND.parse(query.text), query, CLUSTERS)
    assert {leaf.id for leaves in split.leaves.values() for leaf in leaves} == {LEAF}
    before_bytes, started_s, refused = peak_bytes(), perf_counter(), {}
    partials = [decode_partial(unseal((folder / cluster).read_bytes()), KIND.decode) for cluster in CLUSTERS]
    parts = {partial.cluster_id: partial.payloads for partial in partials if partial.payloads is not None}
    try:
        payload, warnings = KIND.merge(split.root, query, parts, {}, Room(limits))
        seal(encode_result(Result("q", "complete", Coverage(), payload=payload, warnings=warnings), KIND.encode))
    except FederationError as exc:
        refused = {"refused": exc.message, "limit": str(exc.details.get("limit", type(exc).__name__))}
    took_ms = (perf_counter() - started_s) * 1000
    return {"took_ms": took_ms, "peak_bytes": peak_bytes(), "before_bytes": before_bytes, **refused}


if __name__ == "__main__":
    _folder, _text, _steps, _max_values = sys.argv[1:]
    print(json.dumps(_merge(Path(_folder), query_of(_text, int(_steps)), Limits(max_values=int(_max_values)))))
