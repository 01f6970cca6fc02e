"""One cluster's share: the exemplars of its backend, in the labels that the rest of the federation knows.

Rule: every series has the label `cluster`, with this cluster's name; a backend's own, different label of that name is
shown as `exported_cluster`, and conditions on that are decided here, because no backend knows it.
"""

from __future__ import annotations

from dataclasses import replace

from federation_core.connectors import Connector, Fetched
from federation_core.errors import Malformed
from federation_core.labels import CLUSTER, EXPORTED_CLUSTER, Selector, backend_accepts, set_aside
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline
from federation_core.signals.exemplars.expr import map_selectors, to_text
from federation_core.signals.exemplars.language import parse
from federation_core.signals.exemplars.payload import Exemplars, Exemplified, unite


def run(connector: Connector, shard: Shard, deadline: Deadline) -> dict[str, Fetched]:
    """Answer every leaf of a shard.

    Raises Malformed: the connector returned something else than exemplars. TimedOut, QueryCanceled.
    """
    return {leaf.id: _answer(connector, shard, leaf, deadline) for leaf in shard.leaves}


def _answer(connector: Connector, shard: Shard, leaf: Leaf, deadline: Deadline) -> Fetched:
    cluster, expr = shard.cluster_name, parse(leaf.text)
    deadline.check_clock(cluster)
    wider = map_selectors(expr, _for_backend)
    fetched = connector.fetch(replace(leaf, text=to_text(wider)), shard.scope, deadline)
    found = fetched.payload
    if not isinstance(found, Exemplars):
        raise Malformed(f"the connector's exemplars came as {type(found).__name__}", cluster=cluster)
    rows = [Exemplified(set_aside(labels, cluster), exemplars) for labels, exemplars in found.series]
    if wider != expr:
        rows = [row for row in rows if any(selector.matches(row.labels) for selector in expr.selectors)]
    above = (Exemplified(labels.with_label(CLUSTER, cluster), exemplars) for labels, exemplars in rows)
    return replace(fetched, payload=unite(above))


def _for_backend(selector: Selector) -> Selector:
    return backend_accepts(selector.split_label(EXPORTED_CLUSTER)[1])
