"""The contract of a signal (metrics, traces, logs, …) and the registry of those that exist.

Rule: a signal is a record of functions, found by scanning this folder: each package here exports one `KIND`.
Whatever runs a query knows signals only through this record, so a new folder is a new signal and nothing else
changes.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import Any, Protocol, TypeAlias

from federation_core.connectors import Connector, Fetched
from federation_core.errors import InvalidRequest
from federation_core.labels import Selector
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, Query
from federation_core.tenancy import Limits, Scope


@dataclass(frozen=True, slots=True)
class Split:
    """What every cluster is asked and what is left to do.

    `leaves` has a cluster only where there is something to ask; a cluster whose leaves fold away is in
    `pruned` with the proof in words. `root` is the signal's own text, understood by its `merge`.
    """

    leaves: Mapping[str, tuple[Leaf, ...]]
    root: str
    pruned: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """What whoever reads a plan should know of a query, and what must be said with its answer too."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """The leaves of a cluster that can be answered without anything older than it keeps.

    `from_ms`: the moment from which on they answer the query; None where they never do, and then there are none.
    """

    leaves: tuple[Leaf, ...]
    from_ms: int | None


def kept_since(root: str, query: Query, leaves: Sequence[Leaf], oldest_ms: int) -> Kept:
    """Return leaves whose answer is what lies in their time range: they begin no earlier than what is kept.

    A query that begins with the beginning of time, as Prometheus' API has it where none is named, asks for what there
    is: nobody misses what was before. One that also ends before anything is kept asks for what was.
    """
    if query.time_range.start_ms <= 0 and query.time_range.end_ms >= oldest_ms:
        return Kept(tuple(leaves), query.time_range.start_ms)
    parts = tuple(
        leaf
        if leaf.time_range.start_ms >= oldest_ms
        else replace(leaf, time_range=replace(leaf.time_range, start_ms=oldest_ms))
        for leaf in leaves
        if leaf.time_range.end_ms >= oldest_ms
    )
    return Kept(parts, min((leaf.time_range.start_ms for leaf in parts), default=None))


@dataclass(frozen=True, slots=True)
class Silent:
    """The leaves that a cluster has not answered; with `until_ms`, has not answered before that moment alone."""

    leaves: frozenset[str]
    until_ms: int | None = None


#: Cluster → what it has not answered.
Silence: TypeAlias = Mapping[str, Silent]


def _go_on() -> None:
    """Somebody waits."""


@dataclass(frozen=True, slots=True)
class Room:
    """What putting parts together may take: the scope's limits, and `check`, which raises once nobody waits."""

    limits: Limits = field(default_factory=Limits)
    check: Callable[[], None] = _go_on


#: The room of a scope without limits of its own, for as long as it takes.
ROOM = Room()


class Merge(Protocol):
    """Puts the parts of a query together; see `SignalKind`."""

    def __call__(
        self,
        root: str,
        query: Query,
        parts: Mapping[str, Mapping[str, Any]],
        silent: Silence,
        room: Room = ...,
    ) -> tuple[Any, tuple[str, ...]]:
        """Return the payload and what must be said with it."""
        ...


def _no_engine(connector: Connector, deadline: Deadline) -> str:
    """Nothing in the clusters evaluates this signal but the connector."""
    return ""


def _no_notes(root: str, shards: Sequence[Shard], engines: Mapping[str, str]) -> tuple[str, ...]:
    """There is nothing to say about engines."""
    return ()


def _no_advice(expr: Any, query: Query, intervals_ms: Mapping[str, int]) -> Advice:
    """There is nothing to say about how often the clusters are scraped."""
    return Advice()


def never_suffices(payload: Any, query: Query) -> bool:
    """Whatever there is, older too, may be in the answer."""
    return False


@dataclass(frozen=True, slots=True)
class SignalKind:
    """One signal's functions. `Expr` and `Payload` below are the signal's own immutable types.

    parse(text) → Expr. Raises QuerySyntaxError, UnsupportedQuery, QueryTooLarge. Cached by the signal.
    print(Expr) → text that `parse` reads to an equal Expr.
    map_selectors(Expr, fn) → Expr with `fn` applied to every selector. Raises on a node it does not know.
    split(Expr, Query, clusters) → Split, for the given cluster names (sorted).
    run(Connector, Shard, Deadline) → leaf id → Fetched(payload, …). Raises FederationError.
    merge(root, Query, parts, silent, room) → (Payload, warnings): `parts` is cluster → leaf id → payload of the
        clusters that answered, `silent` says which leaves of the others are missing, or were until when.
    redact(payload, Scope, cluster) → (payload, hidden): drops what the scope does not show, counts it.
    size(payload) → (series, rows).
    encode(payload) → bytes, decode(bytes) → payload; to_json(payload, Query) → the native JSON answer.
    engine_of(Connector, Deadline) → a word of at most 80 characters for what evaluates in the cluster, "" where it is
        always the same. Raises ClusterError, QueryCanceled. A worker sends it along with its sign of life.
    engine_notes(root, shards, cluster → word) → what a reader of the plan should know about who evaluates what.
    advise(Expr, Query, cluster → ms) → Advice: what does not fit how often the clusters have samples, where known.
    keep(root, Query, leaves, oldest_ms) → Kept: what to ask of a cluster that has nothing older, so that no answer
        rests on less than it says. Leaves that reach back no further are returned as they are.
    suffices(payload, Query) → whether nothing older of its cluster could be in the answer, as what is newer fills it.
    """

    name: str
    parse: Callable[[str], Any]
    print: Callable[[Any], str]
    map_selectors: Callable[[Any, Callable[[Selector], Selector]], Any]
    split: Callable[[Any, Query, Sequence[str]], Split]
    run: Callable[[Connector, Shard, Deadline], Mapping[str, Fetched]]
    merge: Merge
    redact: Callable[[Any, Scope, str], tuple[Any, int]]
    size: Callable[[Any], tuple[int, int]]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    to_json: Callable[[Any, Query], dict[str, Any]]
    engine_of: Callable[[Connector, Deadline], str] = _no_engine
    engine_notes: Callable[[str, Sequence[Shard], Mapping[str, str]], tuple[str, ...]] = _no_notes
    advise: Callable[[Any, Query, Mapping[str, int]], Advice] = _no_advice
    keep: Callable[[str, Query, Sequence[Leaf], int], Kept] = kept_since
    suffices: Callable[[Any, Query], bool] = never_suffices


@cache
def kinds() -> Mapping[str, SignalKind]:
    """Return every signal of this folder by name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        kind = getattr(import_module(f"{__name__}.{module.name}"), "KIND", None)
        if isinstance(kind, SignalKind):
            found[kind.name] = kind
    return found


def kind_named(name: str) -> SignalKind:
    """Return one signal.

    Raises InvalidRequest: there is no such signal; names those that exist.
    """
    known = kinds()
    if name not in known:
        raise InvalidRequest(
            f"there is no signal {name!r}", field="signal", got=name, expected=" or ".join(sorted(known))
        )
    return known[name]
