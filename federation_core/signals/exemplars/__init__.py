"""The signal of exemplars: from a metric to the traces in which it was measured.

Rule: the answer is that of one Prometheus which holds every cluster's series, each with its label `cluster`. Exemplars
are asked of the backends of metrics; one that keeps none says so, and its cluster has answered in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from federation_core.errors import Malformed
from federation_core.labels import CLUSTER, Selector
from federation_core.query import Query
from federation_core.signals import ROOM, Room, SignalKind, Silence
from federation_core.signals.exemplars import payload as exemplars
from federation_core.signals.exemplars.distribute import LEAF_ID, split
from federation_core.signals.exemplars.expr import map_selectors, to_text
from federation_core.signals.exemplars.language import parse
from federation_core.signals.exemplars.payload import Exemplars, Exemplified, decode, encode, size, unite
from federation_core.signals.exemplars.run import run
from federation_core.tenancy import Scope


def merge(
    root: str,
    query: Query,
    parts: Mapping[str, Mapping[str, Any]],
    silent: Silence,
    room: Room = ROOM,
) -> tuple[Exemplars, tuple[str, ...]]:
    """Unite what the clusters that answered have; the coverage ledger names those that did not.

    Raises Malformed: a part holds something else.
    """
    rows: list[Exemplified] = []
    for cluster in sorted(parts):
        room.check()
        part = parts[cluster][LEAF_ID]
        if not isinstance(part, Exemplars):
            raise Malformed(f"exemplars came as {type(part).__name__}", cluster=cluster)
        # No part says of another cluster that it has something.
        rows += (Exemplified(row.labels.with_label(CLUSTER, cluster), row.exemplars) for row in part.series)
    return unite(rows), ()


def redact(payload: Exemplars, scope: Scope, cluster: str) -> tuple[Exemplars, int]:
    """Drop the exemplars of series outside the scope, whatever the backend made of the conditions."""
    allowed = Selector(scope.conditions(cluster))
    kept = replace(payload, series=tuple(row for row in payload.series if allowed.matches(row.labels)))
    return kept, size(payload)[1] - size(kept)[1]


def to_json(payload: Exemplars, query: Query) -> dict[str, Any]:
    """Return the native JSON answer."""
    return exemplars.to_json(payload)


KIND = SignalKind(
    name="exemplars",
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
