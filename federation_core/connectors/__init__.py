"""The contract of a connector (our client for one backend of one cluster) and the way to open one.

Rule: everything below this folder may do I/O and nothing else in the core may. A connector turns a leaf into
payloads of its signal or raises: `ClusterError` for a fault of the cluster, `QueryExecutionError` where the
backend's engine refuses to evaluate. It never returns less than was asked without saying so in `truncated`.
A backend is one module in `backends/`, named after its kind, with `connect(cluster, backend) -> Connector`.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from federation_core.config import Backend, Cluster
from federation_core.errors import InvalidConfig
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.tenancy import Scope


@dataclass(frozen=True, slots=True)
class Fetched:
    """A leaf's payload, and what must be said with it.

    `truncated` names the limit that cut the payload short; `watermark_ms` is the newest data the store holds.
    """

    payload: Any
    warnings: tuple[str, ...] = ()
    truncated: str = ""
    watermark_ms: int | None = None


class Connector(Protocol):
    """A client for one backend; safe to use from several threads at once."""

    #: The backend kind, as written in the configuration.
    kind: str
    #: What the backend's own engine may be given beyond plain selectors; empty for a store without an engine.
    pushes_down: frozenset[str]

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        """Answer one leaf of this connector's signal.

        Metrics: `leaf.text` is a matrix selector `name{…}[window]` at the instant `leaf.time_range.end_ms`
        and the payload is the raw samples in (end - window, end], stale markers included. A backend that evaluates
        PromQL itself answers other leaves too, with a Frame, and need not have stale markers: `signals.metrics.rungs`.

        Series (a connector opened for `Backend.signal` "series", which is the entry of metrics): `leaf.text` is a
        question as `signals.series.language` reads it, such as `values "job" {…} or {…}`, about the series that have a
        sample in the closed interval `leaf.time_range`, as exactly as the backend can tell, and satisfy any of the
        selectors. The payload is `signals.series.payload.Found` with rows of that question in any order, labels as the
        backend has them. Of more than `scope.limits.max_series` rows so many are returned, and `truncated` says so.
        The facts of `metadata` are those of the metrics that such series belong to.

        Exemplars (`Backend.signal` "exemplars", again the entry of metrics): `leaf.text` is selectors as
        `signals.exemplars.language` reads them, the payload `signals.exemplars.payload.Exemplars`: those taken in the
        closed interval `leaf.time_range` in series that satisfy any of the selectors. A store without exemplars returns
        none, with a warning that says so.
        """
        ...

    def inventory(self, deadline: Deadline) -> Inventory:
        """List what the backend holds."""
        ...

    def ping(self, deadline: Deadline) -> None:
        """Return if the backend can answer; raise the ClusterError that explains why not otherwise."""
        ...

    def about(self, deadline: Deadline) -> About:
        """Return what the backend tells of itself, in few and small requests.

        What it does not tell is left out, also where it refuses.

        Raises ClusterError: it cannot be asked.
        """
        ...


def backend_kinds() -> tuple[str, ...]:
    """Return the names of the backend kinds that exist, without importing them."""
    folder = Path(__file__).with_name("backends")
    modules = pkgutil.iter_modules([str(folder)])
    return tuple(sorted(m.name for m in modules if "_" not in m.name))


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the connector that the configuration names.

    Raises InvalidConfig: there is no such backend kind.
    """
    require_known(backend)
    module = import_module(f"{__name__}.backends.{backend.kind}")
    connector: Connector = module.connect(cluster, backend)
    return connector


def require_known(backend: Backend) -> None:
    """Raise InvalidConfig, with file and line, unless the backend's kind exists."""
    if backend.kind not in backend_kinds():
        raise InvalidConfig(
            f"{backend.origin}: there is no backend kind {backend.kind!r}; known: {', '.join(backend_kinds())}",
            file=backend.origin.rpartition(":")[0],
            line=int(backend.origin.rpartition(":")[2]),
        )
