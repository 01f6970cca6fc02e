"""The label `cluster` on its way up: attached to what a cluster sent, its own label of that name moved aside.

Rule: after this every series says which cluster it is from, and no two series of one cluster became one. A backend's
own `cluster` is the same label if its value is the cluster's name, else it is shown as `exported_cluster`, the
convention of Prometheus for labels in conflict (Prometheus documentation, "Configuration / honor_labels").
"""

from __future__ import annotations

from collections.abc import Iterable

from federation_core.errors import MergeConflict
from federation_core.labels import CLUSTER, EXPORTED_CLUSTER, Labels, Selector, backend_accepts, set_aside

__all__ = ["EXPORTED_CLUSTER", "as_backend_has", "attach", "labels_above", "require_distinct", "set_aside"]


def attach(labels: Iterable[Labels], cluster: str) -> tuple[Labels, ...]:
    """Return the labels of one cluster's series with its name as `cluster`.

    Raises MergeConflict: two series differ only in whether they already had it.
    """
    attached = tuple(set_aside(series, cluster).with_label(CLUSTER, cluster) for series in labels)
    require_distinct(attached, cluster)
    return attached


def is_made_here(label: str) -> bool:
    """Tell whether the label may have been made here, out of a backend's own `cluster`.

    >>> is_made_here("exported_cluster"), is_made_here("exported_exported_cluster"), is_made_here("exported_job")
    (True, True, False)
    """
    return label.endswith(EXPORTED_CLUSTER) and label.replace("exported_", "") == CLUSTER


def as_backend_has(selector: Selector, cluster: str) -> Selector | None:
    """Return the conditions that a backend can decide; None where those on the virtual label reject the cluster.

    A label that is made here is not there yet: its conditions are for `labels_above`.
    """
    on_cluster, rest = selector.split_label(CLUSTER)
    if not all(matcher.matches(cluster) for matcher in on_cluster):
        return None
    return backend_accepts(Selector(tuple(matcher for matcher in rest.matchers if not is_made_here(matcher.label))))


def labels_above(
    selector: Selector, labels: Iterable[Labels], cluster: str
) -> tuple[tuple[Labels, ...], list[int] | None]:
    """Return a cluster's label sets without its own `cluster`, and the rows that the selector means; None is all.

    Raises MergeConflict: two series became one.
    """
    above = tuple(set_aside(series, cluster) for series in labels)
    require_distinct(above, cluster)
    condition = Selector(tuple(matcher for matcher in selector.matchers if is_made_here(matcher.label)))
    if not condition.matchers:
        return above, None
    return above, [row for row, series in enumerate(above) if condition.matches(series)]


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
