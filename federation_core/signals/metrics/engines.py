"""Which engine evaluates a query in each cluster, in words for whoever reads a plan.

Rule: what is said is what `rungs` will do, by the same decision. Engines that take windows differently are named
together where a window is taken by both. An engine that is not known is said to be unknown, never guessed.
Source: Prometheus documentation, "Prometheus 3.0 migration guide / PromQL", for the older end of windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from federation_core.connectors import Connector
from federation_core.plan import Shard
from federation_core.query import Deadline
from federation_core.signals.metrics.dialect import Dialect, read_word
from federation_core.signals.metrics.expr import Expr, MatrixSelector, Subquery, children
from federation_core.signals.metrics.parse import parse_root
from federation_core.signals.metrics.run import tree_of
from federation_core.signals.metrics.rungs import Engine, Replicated, given_to

#: The word for a store without an engine, beside which ours evaluates.
OURS = "ours"
#: What is added to the word of an engine whose backend holds replicas side by side; of engines it says nothing.
_REPLICATED = "r"
#: Those that evaluate with Prometheus' own engine, of a release that only Prometheus itself tells.
_BUILT_ON_PROMETHEUS = frozenset({"Prometheus", "Thanos", "Mimir"})
#: Where a sample is that lies exactly at the older end of a window.
_Edge: TypeAlias = Literal["inside", "outside", "not told"]


def engine_of(connector: Connector, deadline: Deadline) -> str:
    """Return in a word what evaluates behind a connector; "" where one has an engine and does not tell which.

    Raises Unreachable, TimedOut, QueryCanceled: it cannot be asked now.
    """
    if isinstance(connector, Engine):
        replicated = isinstance(connector, Replicated) and connector.replica_labels
        return connector.dialect(deadline).word + (_REPLICATED if replicated else "")
    return "" if connector.pushes_down else OURS


def engine_notes(root: str, shards: Sequence[Shard], engines: Mapping[str, str]) -> tuple[str, ...]:
    """Say who evaluates what in the clusters of a plan, and where windows are taken differently.

    `engines` is cluster → word, as far as the clusters' workers have said it.
    """
    shares = [_Share.of(shard, engines.get(shard.cluster_name, "")) for shard in shards]
    by_saying: dict[str, list[str]] = {}
    for share in shares:
        by_saying.setdefault(share.said, []).append(share.cluster)
    notes = [f"engine of {', '.join(clusters)}: {said}" for said, clusters in by_saying.items()]
    return (*notes, *_mixed(root, shares))


@dataclass(frozen=True, slots=True)
class _Share:
    """What one cluster is asked, divided among the backend's engine (`given`) and ours; `beside` has no raw samples."""

    cluster: str
    word: str
    dialect: Dialect | None
    given: Mapping[str, Expr]
    beside: Mapping[str, Expr]
    raw: tuple[str, ...]

    @classmethod
    def of(cls, shard: Shard, word: str) -> _Share:
        trees = {leaf.id: tree_of(leaf) for leaf in shard.leaves}
        dialect = read_word(word)
        given = {name: tree for name, tree in trees.items() if dialect and given_to(dialect, tree) is not None}
        raw = tuple(name for name, tree in trees.items() if isinstance(tree, MatrixSelector))
        beside = {name: tree for name, tree in trees.items() if name not in given and name not in raw}
        return cls(shard.cluster_name, word, dialect, given, beside, raw)

    @property
    def name(self) -> str:
        """The engine's name, with a release if it is one of Prometheus'."""
        if self.word == OURS:
            return "our engine"
        if self.dialect is None or self.dialect.engine == "unknown":
            return "unknown"
        major, minor = self.dialect.version
        return f"Prometheus {major}.{minor}" if self.dialect.engine == "Prometheus" else self.dialect.engine

    @property
    def said(self) -> str:
        if self.word == OURS:
            return "ours, on the samples of the store beside it"
        if self.dialect is None:
            # A worker of another release may say what this one does not read.
            told = f" (its worker says {self.word!r}, which this release does not read)" if self.word else " yet"
            return f"not known{told}; its worker gives it only what is exact there"
        parts = [f"{self.name}{self._why_not_trusted()}"]
        if self.given:
            how = " by its own rules (pushdown: approximate), so the answer is approximate" if self._bends() else ""
            unless = ", unless series it selects are replicas' (then our engine does)" if self._is_replicated() else ""
            parts.append(f"evaluates {_leaves(self.given)}{how}{unless}")
        if self.beside:
            on = "plain selectors and raw samples" if self.dialect.on_grids else "raw samples"
            parts.append(f"is asked for {on}, on which our engine evaluates {_leaves(self.beside)}")
        if self.raw:
            parts.append(f"sends the raw samples of {_leaves(self.raw)}")
        return ", ".join(parts)

    def _bends(self) -> bool:
        return self.dialect is not None and self.dialect.approximate

    def _is_replicated(self) -> bool:
        return self.word.endswith(_REPLICATED)

    def _why_not_trusted(self) -> str:
        if self.dialect is None or self.dialect.exact or self._bends():
            return ""
        if self.dialect.engine in _BUILT_ON_PROMETHEUS:
            return " (given no whole leaves: pushdown: off)"
        if self.dialect.engine == "unknown":
            return " (it does not say what it is, so it is given no whole leaves)"
        return " (has rules of its own, so it is given no whole leaves)"

    def edges(self) -> Iterator[tuple[_Edge, str]]:
        """Yield how the windows of this share are taken, with the name of the engine that takes them."""
        if self.dialect is not None and any(map(_has_windows, self.given.values())):
            yield _edge_of(self.dialect), self.name
        if (self.dialect is not None or self.word == OURS) and any(map(_has_windows, self.beside.values())):
            yield "outside", "our engine"


def _mixed(root: str, shares: Sequence[_Share]) -> Iterator[str]:
    found: dict[_Edge, dict[str, list[str]]] = {}
    for share in shares:
        for edge, engine in share.edges():
            found.setdefault(edge, {}).setdefault(engine, []).append(share.cluster)
    if _has_windows(parse_root(root)):
        found.setdefault("outside", {}).setdefault("our engine", []).append("the centre")
    named = {
        edge: " and ".join(f"{engine} ({', '.join(places)})" for engine, places in engines.items())
        for edge, engines in found.items()
    }
    if "inside" in named and "outside" in named:
        yield (
            "windows differ: a sample that lies exactly at the older end of a range such as [5m] is inside for"
            f" {named['inside']} and outside for {named['outside']}; where samples lie on the steps, rates, counts and"
            " sums differ by that one sample. `pushdown: off` for the older Prometheus makes all windows alike"
        )
    if "not told" in named and len(named) > 1:
        yield (
            f"windows may differ: {named['not told']} does not tell which release of Prometheus it is built on, and so"
            " not whether a range such as [5m] has the sample that lies exactly at its older end"
        )


def _edge_of(dialect: Dialect) -> _Edge:
    if dialect.engine != "Prometheus":
        return "not told"
    return "inside" if dialect.version < (3, 0) else "outside"


def _has_windows(expr: Expr) -> bool:
    return isinstance(expr, MatrixSelector | Subquery) or any(map(_has_windows, children(expr)))


def _leaves(names: Mapping[str, Expr] | Sequence[str]) -> str:
    return f"leaf {', '.join(names)}" if len(names) == 1 else f"leaves {', '.join(names)}"
