"""Cutting a time range into slices along a store's segments, so that a limited search need not read them all.

Rule: slices are disjoint, cover the range, and come in the direction asked; the first that satisfy the limit end
the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from federation_core.connectors.stores.segments_layout import Segment
from federation_core.query import Direction

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows in [start_ns, end_ns) lie in these segments and no others."""

    start_ns: int
    end_ns: int
    segments: tuple[Segment, ...]


def slices(segments: tuple[Segment, ...], start_ns: int, end_ns: int, direction: Direction) -> Iterator[Slice]:
    """Yield the slices of [start_ns, end_ns) that can hold rows, cut where segments begin."""
    starts = {segment.min_ms * NS_PER_MS for segment in segments}
    cuts = sorted({start_ns, end_ns, *(cut for cut in starts if start_ns < cut < end_ns)})
    pairs = list(pairwise(cuts))
    for low_ns, high_ns in reversed(pairs) if direction == "backward" else pairs:
        inside = tuple(s for s in segments if s.overlaps(low_ns // NS_PER_MS, (high_ns - 1) // NS_PER_MS))
        if inside:
            yield Slice(low_ns, high_ns, inside)
