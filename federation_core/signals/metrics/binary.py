"""Binary operators between scalars and vectors.

Rule: a filter between a vector and a scalar keeps the vector's samples, on whichever side it stands. What is
not a filter drops the metric name.
Source: Prometheus documentation, "Operators / Binary operators".
"""

from __future__ import annotations

from dataclasses import replace

from federation_core.signals.metrics.expr import SET_OPERATORS, Binary
from federation_core.signals.metrics.frame import Frame
from federation_core.signals.metrics.joins import join
from federation_core.signals.metrics.operations import filters, operate
from federation_core.signals.metrics.series import drop_name
from federation_core.signals.metrics.session import Session
from federation_core.signals.metrics.set_operators import combine_sets


def apply_binary(node: Binary, left: Frame, right: Frame, session: Session) -> Frame:
    """Apply the node's operator to its evaluated operands.

    Raises QueryExecutionError: series match more partners than is written, or have the same labels afterwards.
    QueryTooLarge.
    """
    if node.operator in SET_OPERATORS:
        return combine_sets(node, left, right, session)
    if left.kind == "vector" and right.kind == "vector":
        return join(node, left, right, session)
    vector = right if right.kind == "vector" else left
    values, kept = operate(node, left.values, right.values, vector.values)
    result = replace(vector, values=values, present=vector.present if kept is None else vector.present & kept)
    if vector.kind == "scalar":
        return result
    return result.pruned() if filters(node) else drop_name(result)
