"""Six lines of series in three clusters, and one way to ask about them: split, run, over the wire, merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from federation_core import tenancy
from federation_core.labels import Labels
from federation_core.plan import Leaf, Shard
from federation_core.query import Query, TimeRange
from federation_core.signals.series import KIND
from federation_core.signals.series.payload import Found
from tests.support.sample_store import FAR_DEADLINE, labels, scope_of
from tests.support.series_store import SeriesStore

SPAN = TimeRange(0, 1000)


def rows_of(*texts: str) -> list[Labels]:
    return [labels(text) for text in texts]


def query_of(text: str, limit: int = 0) -> Query:
    return Query("series", text, SPAN, "tenant", limit=limit)


def answered(text: str, stores: Mapping[str, Any], *, limit: int = 0, order: Sequence[str] = ()) -> Found:
    return told(text, stores, limit=limit, order=order)[0]


def told(
    text: str, stores: Mapping[str, Any], *, limit: int = 0, order: Iterable[str] = ()
) -> tuple[Found, tuple[str, ...]]:
    """Ask stores, or the series that one is to hold, and return the merged answer with its warnings."""
    query = query_of(text, limit)
    split = KIND.split(KIND.parse(text), query, sorted(stores))
    parts = {}
    for cluster in order or sorted(split.leaves):
        store = stores[cluster]
        connector = store if isinstance(store, SeriesStore) else SeriesStore(store)
        parts[cluster] = {
            leaf: KIND.decode(KIND.encode(found)) for leaf, found in run(connector, cluster, split).items()
        }
    return KIND.merge(split.root, query, parts, {})


def run(connector: SeriesStore, cluster: str, split: Any) -> dict[str, Found]:
    scope = scope_of([cluster])
    leaves = tuple(
        Leaf(leaf.id, tenancy.enforce(KIND, leaf.text, scope, cluster), leaf.time_range, leaf.limit)
        for leaf in split.leaves[cluster]
    )
    shard = Shard("q", cluster, "series", leaves, scope, FAR_DEADLINE.at_ms)
    return {leaf: fetched.payload for leaf, fetched in KIND.run(connector, shard, FAR_DEADLINE).items()}
