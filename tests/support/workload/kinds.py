"""What becomes of an expression over clusters, in one word: read off its plan.

`local`: pushed whole, the answers united. `split`: one aggregation, a part of it in each cluster. `root over parts`:
the root combines what clusters have aggregated. `root over series`: it needs their series as they are. `raw`: it needs
samples. `constant`: no cluster is asked.
"""

from __future__ import annotations

from federation_core.signals import Split
from federation_core.signals.metrics.distribute import LEAF_PREFIX
from federation_core.signals.metrics.distributive import is_splittable
from federation_core.signals.metrics.expr import Aggregate, Expr, MatrixSelector, VectorSelector, selectors
from federation_core.signals.metrics.parse import parse, parse_root

KINDS = ("local", "split", "root over parts", "root over series", "raw", "constant")


def kind_of(expr: Expr, split: Split) -> str:
    """Return one of KINDS."""
    root = parse_root(split.root)
    leaves = [node for node in selectors(root) if node.selector.name.startswith(LEAF_PREFIX)]
    if not leaves:
        return "constant"
    if any(isinstance(node, MatrixSelector) for node in leaves):
        return "raw"
    if isinstance(root, VectorSelector):
        return "local"
    if is_splittable(expr):
        return "split"
    asked = {leaf.text for parts in split.leaves.values() for leaf in parts}
    aggregated = all(isinstance(parse(text), Aggregate) for text in asked)
    return "root over parts" if aggregated else "root over series"
