"""The signal of discovery: which series, label names, label values and metrics the clusters have.

Rule: the answer is what one Prometheus would list that held every cluster's series, each with its label `cluster`. It
is asked of the backends of metrics, through the same plan, scope and ledger as any other query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from federation_core.errors import Malformed
from federation_core.labels import CLUSTER, Labels, Selector
from federation_core.query import Query
from federation_core.signals import ROOM, Room, SignalKind, Silence
from federation_core.signals.series import payload as found
from federation_core.signals.series.distribute import LEAF_ID, split
from federation_core.signals.series.expr import Discovery, Question, map_selectors, to_text
from federation_core.signals.series.language import parse
from federation_core.signals.series.payload import Found, Row, decode, encode, first_rows, size
from federation_core.signals.series.run import run
from federation_core.tenancy import Scope

#: As Prometheus says it.
TRUNCATED = "results truncated due to limit"


def merge(
    root: str,
    query: Query,
    parts: Mapping[str, Mapping[str, Any]],
    silent: Silence,
    room: Room = ROOM,
) -> tuple[Found, tuple[str, ...]]:
    """Unite the rows of the clusters that answered; the coverage ledger names those that did not.

    Raises Malformed: a part answers another question.
    """
    expr = parse(root)
    rows: list[Row] = []
    more = False
    for cluster in sorted(parts):
        room.check()
        part = parts[cluster][LEAF_ID]
        if not isinstance(part, Found) or part.question is not expr.question:
            raise Malformed(f"{expr.question.value} came as {type(part).__name__}", cluster=cluster)
        rows += _of_cluster(expr, part, cluster)
        more = more or part.more
    united = first_rows(expr.question, rows, query.limit, more=more)
    return united, (TRUNCATED,) if united.more else ()


def _of_cluster(expr: Discovery, part: Found, cluster: str) -> list[Row]:
    """Return a part's rows, which say of no other cluster that it has something."""
    if expr.label == CLUSTER:
        return [cluster] if part.rows else []
    return [row.with_label(CLUSTER, cluster) if isinstance(row, Labels) else row for row in part.rows]


def redact(payload: Found, scope: Scope, cluster: str) -> tuple[Found, int]:
    """Drop the series outside the scope, whatever the backend made of the conditions; names and values show none."""
    if payload.question is not Question.SERIES:
        return payload, 0
    allowed = Selector(scope.conditions(cluster))
    kept = tuple(row for row in payload.rows if isinstance(row, Labels) and allowed.matches(row))
    return replace(payload, rows=kept), len(payload.rows) - len(kept)


def to_json(payload: Found, query: Query) -> dict[str, Any]:
    """Return the native JSON answer."""
    return found.to_json(payload)


KIND = SignalKind(
    name="series",
    parse=parse,
    print=to_text,
    map_selectors=map_selectors,
    split=split,
    run=run,
    merge=merge,
    redact=redact,
    size=size,
    encode=encode,
    decode=decode,
    to_json=to_json,
)
