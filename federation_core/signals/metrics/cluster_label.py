"""The label `cluster` on its way up: attached to what a cluster sent, its own label of that name moved aside.

Rule: after this every series says which cluster it is from, and no two series of one cluster became one. A backend's
own `cluster` is the same label if its value is the cluster's name, else it is shown as `exported_cluster`, the
convention of Prometheus for labels in conflict (Prometheus documentation, "Configuration / honor_labels").
"""

from __future__ import annotations

from collections.abc import Iterable

from federation_core.errors import MergeConflict
from federation_core.labels import CLUSTER, Labels

EXPORTED_PREFIX = "exported_"
#: Where a backend's own, different `cluster` label is shown.
EXPORTED_CLUSTER = EXPORTED_PREFIX + CLUSTER


def set_aside(labels: Labels, cluster: str) -> Labels:
    """Return a series' labels without a label `cluster`: dropped if it names this cluster, else renamed."""
    own = labels.get(CLUSTER)
    if not own:
        return labels
    rest = labels.without((CLUSTER,))
    if own == cluster:
        return rest
    taken, name = set(rest.names()), EXPORTED_CLUSTER
    while name in taken:
        name = EXPORTED_PREFIX + name
    return rest.with_label(name, own)


def attach(labels: Iterable[Labels], cluster: str) -> tuple[Labels, ...]:
    """Return the labels of one cluster's series with its name as `cluster`.

    Raises MergeConflict: two series differ only in whether they already had it.
    """
    attached = tuple(set_aside(series, cluster).with_label(CLUSTER, cluster) for series in labels)
    require_distinct(attached, cluster)
    return attached


def require_distinct(labels: tuple[Labels, ...], cluster: str) -> None:
    """Raise MergeConflict if a label set occurs twice."""
    if len(set(labels)) == len(labels):
        return
    seen: set[Labels] = set()
    for series in labels:
        if series in seen:
            raise MergeConflict(
                f"cluster {cluster} holds a series both with and without its label cluster: {dict(series)}",
                labels=dict(series),
            )
        seen.add(series)
