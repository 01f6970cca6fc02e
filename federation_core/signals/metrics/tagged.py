"""Several expressions on one grid in one request, each series marked with the expression it is of.

Rule: one request sees one state of the backend. Two at the live edge see different scrapes, and a quotient of them
would be a number that never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

import numpy as np

from federation_core.errors import Malformed
from federation_core.signals.metrics.dialect import labels_of
from federation_core.signals.metrics.expr import Binary, Call, Expr, StringLiteral
from federation_core.signals.metrics.frame import Frame

#: Names that begin so are internal to Prometheus: no scraped series carries this label.
_TAG = "__part"


def tag_for(exprs: Iterable[Expr]) -> str:
    """Return a label to tag with that none of the expressions names, for what it says it makes or asks for."""
    named = {label for expr in exprs for label in labels_of(expr)}
    name = _TAG
    while name in named:
        name += "_"
    return name


def tag(parts: Mapping[str, Expr], name: str) -> Expr:
    """Return one expression that has the series of all parts, each with the label `name`; of a single one, that one.

    Set operators compare all labels but the metric's name, so the tag keeps the series of different parts apart.
    """
    if len(parts) == 1:
        return next(iter(parts.values()))
    marked: list[Expr] = [
        Call("label_replace", (expr, *map(StringLiteral, (name, part, "", "")))) for part, expr in sorted(parts.items())
    ]
    return reduce(lambda left, right: Binary("or", left, right), marked)


def untag(frame: Frame, parts: Mapping[str, Expr], name: str, cluster: str) -> dict[str, Frame]:
    """Return the series of every part, without the tag.

    Raises Malformed: a series has a tag that was not given.
    """
    if len(parts) == 1:
        return dict.fromkeys(parts, frame)
    tags = [labels.get(name) for labels in frame.labels]
    strange = set(tags) - parts.keys()
    if strange:
        raise Malformed(
            f"the backend answered series of no part that was asked for: {sorted(strange)}", cluster=cluster
        )
    rows: dict[str, list[int]] = {part: [] for part in parts}
    for row, part in enumerate(tags):
        rows[part].append(row)
    found = {}
    for part, of_part in rows.items():
        index = np.array(of_part, dtype=np.int64)
        labels = tuple(frame.labels[row].without((name,)) for row in of_part)
        found[part] = Frame(labels, frame.grid, frame.values[index], frame.present[index]).pruned()
    return found
