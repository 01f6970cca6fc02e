"""The inventory of a cluster from its own Kubernetes API: workloads, pods, services and their endpoints, nodes.

Rule: an inventory is as of now, and what could not be read is in its `missing`. A kind of few objects is listed each
time; of one with many what was read is kept, and the next inventory asks for what has changed. Configured as
`{kind: kubernetes, url: URL}` under `inventory`.
Source: Kubernetes documentation, "Kubernetes API Concepts".
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.backends.kubernetes_api import KINDS, Expired, Kind, KubernetesApi, Listed, NotServed
from federation_core.connectors.backends.kubernetes_assembly import assemble
from federation_core.connectors.http import open_client
from federation_core.errors import ClusterError, InvalidConfig, Malformed, QueryExecutionError, Rejected
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.tenancy import Scope

#: How many kinds are listed at once.
_AT_ONCE: Final = 4
#: Of how many objects a kind is listed each time. What has changed takes a server a second to tell, however few they
#: are; a thousand objects are listed and read in a quarter of that, five thousand pods in three.
FEW: Final = 500


class Kubernetes:
    """The objects of one cluster; safe to use from several threads."""

    kind = "kubernetes"
    pushes_down: frozenset[str] = frozenset()

    def __init__(self, cluster: str, api: KubernetesApi) -> None:
        self._cluster, self._api = cluster, api
        #: Plural of a kind of many objects → these. Values never change: whoever lists puts a new one in its place.
        self._known: dict[str, Listed] = {}

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Refuse: there is an inventory and nothing to query.

        Raises QueryExecutionError.
        """
        raise QueryExecutionError("a kubernetes backend has an inventory and answers no queries", cluster=self._cluster)

    def inventory(self, deadline: Deadline) -> Inventory:
        """List what the cluster has; kinds that cannot be listed are in `missing`.

        Raises Rejected (nothing can be listed), ClusterError, QueryCanceled.
        """
        objects, unserved = {}, {}
        threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="kubernetes")
        try:
            asked = {threads.submit(self._list, kind, deadline): kind.plural for kind in KINDS}
            for answered in as_completed(asked):
                try:
                    objects[asked[answered]] = answered.result().objects
                except NotServed as exc:
                    unserved[asked[answered]] = exc
        finally:
            # Where one kind has failed nobody waits for the others: the deadline ends them.
            threads.shutdown(wait=False, cancel_futures=True)
        if not objects:
            raise self._nothing(unserved)
        return assemble(objects, {k.plural: str(unserved[k.plural]) for k in KINDS if k.plural in unserved})

    def _list(self, kind: Kind, deadline: Deadline) -> Listed:
        known = self._known.get(kind.plural)
        try:
            found = self._api.list(kind, deadline) if known is None else self._api.changed(kind, known, deadline)
        except Expired:
            found = self._api.list(kind, deadline)
        if len(found.objects) > FEW and found.version:
            self._known[kind.plural] = found
        else:
            self._known.pop(kind.plural, None)
        return found

    def ping(self, deadline: Deadline) -> None:
        """Return if something can be listed; raise the ClusterError that explains why not otherwise."""
        unserved = {}
        for kind in KINDS:
            try:
                return self._api.may_list(kind, deadline)
            except NotServed as exc:
                unserved[kind.plural] = exc
        raise self._nothing(unserved)

    def about(self, deadline: Deadline) -> About:
        """Return the version of Kubernetes; an inventory is as of now and has no newest data."""
        release = self._api.release(deadline)
        return About(f"Kubernetes {release.removeprefix('v')}" if release else "")

    def _nothing(self, unserved: Mapping[str, NotServed]) -> ClusterError:
        forbidden = [kind.plural for kind in KINDS if kind.plural in unserved and unserved[kind.plural].forbidden]
        if not forbidden:
            return Malformed(
                "nothing of Kubernetes' API is under this URL (404): is it the address of an API server?",
                cluster=self._cluster,
            )
        return Rejected(
            f"we may not list {', '.join(forbidden)} (403): no ClusterRole that is bound to us allows get, list and"
            " watch on them",
            cluster=self._cluster,
        )


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the connector to a backend; nothing is connected before the first inventory.

    Raises InvalidConfig: the backend has no URL, another signal than inventory, an option of metrics, or certificates
    that cannot be used.
    """
    if not backend.url:
        raise InvalidConfig(f"{backend.origin}: a kubernetes backend needs `url`, the address of the API server")
    if backend.signal != "inventory":
        raise InvalidConfig(f"{backend.origin}: a kubernetes backend holds no {backend.signal}, only an inventory")
    if backend.pushdown != "exact":
        raise InvalidConfig(f"{backend.origin}: `pushdown` is for metrics, and this backend serves the inventory")
    return Kubernetes(cluster.name, KubernetesApi(open_client(cluster, backend)))
