"""The lab's samples with counters that begin high, and fall to a lower but still high value where they start again.

Prometheus 2.42 and 3 look at the way to a counter's zero at different points of `rate`. Where a counter is far above
its growth in any window, that way is long and both give one answer. Counters near zero have the scripts and unit tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from federation_core.labels import Labels
from tests.oracle.lab_data import BOUNDS
from tests.support.sample_store import Series

#: What the counters of a target begin with, before and after each of its restarts.
STARTS = (1e7, 1e6, 1e5)
_SUFFIXES = ("_total", "_bucket", "_sum", "_count")


def lifted(stores: Mapping[str, Sequence[Series]]) -> dict[str, list[Series]]:
    """Return the same series, their counters lifted."""
    return {cluster: list(_lifted(rows)) for cluster, rows in stores.items()}


def _lifted(rows: Sequence[Series]) -> Iterable[Series]:
    restarts: dict[Labels, set[int]] = {}
    for labels, times, values in rows:
        if _is_counter(labels):
            falls = {times[i] for i in range(1, len(values)) if values[i] < values[i - 1]}
            restarts.setdefault(_target(labels), set()).update(falls)
    for labels, times, values in rows:
        if not _is_counter(labels):
            yield labels, times, values
            continue
        begins = sorted(restarts[_target(labels)])
        # A bucket holds those below it, so its count begins higher than theirs.
        factor = 1 + BOUNDS.index(labels.get("le")) if labels.get("le") else 1
        factor = len(BOUNDS) if labels.get("__name__").endswith("_count") else factor
        starts = [STARTS[sum(begin <= at for begin in begins)] * factor for at in times]
        yield labels, times, [start + value for start, value in zip(starts, values, strict=True)]


def _is_counter(labels: Labels) -> bool:
    return labels.get("__name__").endswith(_SUFFIXES)


def _target(labels: Labels) -> Labels:
    return labels.without(("__name__", "le", "code", "method"))
