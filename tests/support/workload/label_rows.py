"""Label sets for the selectors of an expression: such that every condition is hit and joins find their partners.

Rule: everything is read off the expressions. A label is the same for all selectors of one expression where their
conditions allow it; several rows of one expression differ in every label that is free, so that no row has two partners.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from federation_core.labels import CLUSTER, Selector
from tests.support.workload.schemas import Schemas, is_positive, named_values


def rows_of(asked: Sequence[Selector], schemas: Schemas, number: int) -> list[dict[str, str] | None]:
    """Return the labels of one row for each selector, the `number`-th of several; None for one that nothing hits."""
    labels = set[str]().union(*(schemas.labels[selector.name] for selector in asked))
    shared = {label: _most_accepted(label, asked, schemas, number) for label in sorted(labels)}
    return [_row(selector, shared, schemas, number) for selector in asked]


def _row(selector: Selector, shared: dict[str, str], schemas: Schemas, number: int) -> dict[str, str] | None:
    row = {}
    for label in schemas.labels[selector.name]:
        offered = [shared[label], *_candidates(label, [selector], schemas, number)]
        fitting = [value for value in offered if accepts(selector, label, value)]
        if not fitting:
            return None
        row[label] = fitting[0]
    return row


def _most_accepted(label: str, asked: Sequence[Selector], schemas: Schemas, number: int) -> str:
    """Return the value that most selectors accept, the first of several."""
    found = _candidates(label, asked, schemas, number)
    return max(found, key=lambda value: sum(accepts(selector, label, value) for selector in asked))


def _candidates(label: str, asked: Sequence[Selector], schemas: Schemas, number: int) -> list[str]:
    """Return values for a label: those that the conditions name, or others' conditions; free ones; none at all."""
    conditions = [m for selector in asked for m in selector.matchers if m.label == label]
    named = [value for m in conditions if is_positive(m) for value in named_values(m)]
    if not named:
        counted: Counter[str] = Counter()
        for selector in asked:
            counted.update(schemas.values.get((selector.name, label), {}))
        named = [value for value, _ in counted.most_common()]
    named = list(dict.fromkeys(named))
    free = f"{label}-{number + 1}"
    if not number:
        return [*named, free, ""]
    turned = named[number % len(named) :] + named[: number % len(named)] if named else []
    return [free, *turned, ""]


def accepts(selector: Selector, label: str, value: str) -> bool:
    """Tell whether all conditions on a label accept a value."""
    return all(matcher.matches(value) for matcher in selector.matchers if matcher.label == label)


def accepted_clusters(asked: Sequence[Selector], clusters: Sequence[str]) -> list[str]:
    """Return the clusters that every selector accepts."""
    return [name for name in clusters if all(accepts(selector, CLUSTER, name) for selector in asked)]
