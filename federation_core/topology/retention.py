"""What a cluster is asked of a query that reaches back behind what it keeps.

Rule: what is older than its retention is not asked of a cluster, and its row in the ledger says so, `partial`, whatever
it answers; what a leaf can be cut to is the signal's to know. Where all is older nothing is asked, and the cluster is
missing all the same: it had what it has dropped, so it is never pruned for it. Of a backend whose retention nobody has
said, everything is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import TypeAlias

from federation_core.config import Cluster
from federation_core.outcome import ANSWERED, ClusterVerdict, Verdict
from federation_core.plan import Cut, Leaf
from federation_core.signals import Kept
from federation_core.times import format_duration, format_time

#: Cluster → what it is asked.
Leaves: TypeAlias = Mapping[str, tuple[Leaf, ...]]


def cut_to_kept(
    leaves: Leaves, clusters: Iterable[Cluster], signal: str, keep: Callable[[tuple[Leaf, ...], int], Kept], now_ms: int
) -> tuple[Leaves, Mapping[str, Cut]]:
    """Return what to ask of the clusters, and what of it each is not asked; one that is asked nothing has no leaves."""
    # Clusters are mostly asked the same, and many keep as much as others.
    keep = cache(keep)
    asked: dict[str, tuple[Leaf, ...]] = {}
    cuts: dict[str, Cut] = {}
    for cluster in clusters:
        whole, kept_ms = leaves[cluster.name], cluster.kept_ms(signal)
        kept = Kept(whole, None) if kept_ms is None else keep(whole, now_ms - kept_ms)
        if kept.leaves:
            asked[cluster.name] = kept.leaves
        if kept_ms is not None and kept.leaves != whole:
            cuts[cluster.name] = Cut(_reason(kept_ms, now_ms, kept.from_ms), kept.from_ms)
    return asked, cuts


def cut_notes(cuts: Mapping[str, Cut]) -> tuple[str, ...]:
    """Say in the plan who is asked less, and why."""
    by_reason: dict[str, list[str]] = {}
    for name, cut in cuts.items():
        by_reason.setdefault(cut.reason, []).append(name)
    return tuple(f"retention of {', '.join(names)}: {reason}" for reason, names in by_reason.items())


def told_with(row: ClusterVerdict, cuts: Mapping[str, Cut]) -> ClusterVerdict:
    """Return a cluster's row, which is no whole answer where it was asked less."""
    if row.cluster not in cuts or row.verdict not in ANSWERED | {Verdict.PARTIAL}:
        return row
    reasons = (row.reason, cuts[row.cluster].reason)
    return replace(row, verdict=Verdict.PARTIAL, reason="; ".join(reason for reason in reasons if reason))


def _reason(kept_ms: int, now_ms: int, from_ms: int | None) -> str:
    nothing = f"keeps {format_duration(kept_ms)}: nothing before {format_time(now_ms - kept_ms)}"
    if from_ms is None:
        return f"{nothing}, and all that is asked for reaches further back"
    return f"{nothing}; asked from {format_time(from_ms)}"
