"""A worker as in production whose backends can be made to misbehave, for tests: `python -m tests.support.… ROLE …`.

The file named by TEST_FAULTS is read at every fetch: cluster → {"hold": true} an answer that waits until the fault
is taken back, {"busy": true} a statement that its store's engine works on for ever, {"sleep_s": n} an answer that
comes late, {"drip_s": n} one that comes in drops without end, with a look at the deadline after each, {"raise": text}
a bug instead of an answer, {"truncate": text} an answer that says why it is cut short, {"exit": true} the worker dies
as by kill -9, {"write_garbage": true} its part is nonsense.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack

from federation_core import connectors
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched
from federation_core.connectors.backends import embedded, embedded_metrics
from federation_core.connectors.stores.segments_read import SegmentReader
from federation_core.health import About
from federation_core.inventory import Inventory
from federation_core.plan import Leaf
from federation_core.query import Deadline
from federation_core.tenancy import Limits, Scope
from workers import settle, shard_runner
from workers.__main__ import main

_connect, _seal = connectors.connect, shard_runner.seal
_fetch_metrics, _combine = embedded_metrics.fetch, settle._combine
#: More rows than any machine counts in the time of a test.
_ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE (a.range * b.range) % 7 = 3"


def fault_of(cluster: str) -> dict[str, Any]:
    """Return what a cluster's backend does wrong now."""
    fault: dict[str, Any] = json.loads(Path(os.environ["TEST_FAULTS"]).read_text()).get(cluster, {})
    return fault


@dataclass
class FaultyConnector:
    """The real connector behind a fault."""

    cluster: str
    real: Connector

    @property
    def kind(self) -> str:
        return self.real.kind

    @property
    def pushes_down(self) -> frozenset[str]:
        return self.real.pushes_down

    def fetch(self, leaf: Leaf, scope: Scope, deadline: Deadline) -> Fetched:
        fault = fault_of(self.cluster)
        if fault.get("exit"):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(fault.get("sleep_s", 0))
        while fault_of(self.cluster).get("hold"):
            time.sleep(0.01)
        while drop_s := fault.get("drip_s"):
            time.sleep(drop_s)
            deadline.check_clock(self.cluster)
        if "raise" in fault:
            raise RuntimeError(fault["raise"])
        fetched = self.real.fetch(leaf, scope, deadline)
        return replace(fetched, truncated=fault.get("truncate", fetched.truncated))

    def inventory(self, deadline: Deadline) -> Inventory:
        return self.real.inventory(deadline)

    def ping(self, deadline: Deadline) -> None:
        self.real.ping(deadline)

    def about(self, deadline: Deadline) -> About:
        return self.real.about(deadline)


def connect(cluster: Cluster, backend: Backend) -> Connector:
    """Open the real connector, behind the cluster's fault."""
    return FaultyConnector(cluster.name, _connect(cluster, backend))


def fetch_metrics(reader: SegmentReader, leaf: Leaf, limits: Limits, check: Callable[[], None]) -> Fetched:
    """Answer from the embedded store, unless its engine is busy for ever."""
    if fault_of(reader.path.name).get("busy"):
        reader.attempt(lambda _: list(reader.rows(_ENDLESS)))
    return _fetch_metrics(reader, leaf, limits, check)


def combine(*how: Any) -> Any:
    """Combine the parts, unless the fault of `merge` is that its worker dies of it or does not come to an end."""
    fault = fault_of("merge")
    if fault.get("exit"):
        os.kill(os.getpid(), signal.SIGKILL)
    while fault_of("merge").get("hold"):
        time.sleep(0.01)
    return _combine(*how)


def seal(data: bytes, max_bytes: int) -> bytes:
    """Seal a part, unless its cluster writes garbage."""
    faults = json.loads(Path(os.environ["TEST_FAULTS"]).read_text())
    # As it is packed: the name of one cluster may be the end of another's.
    written_by = [name for name, fault in faults.items() if fault.get("write_garbage") and msgpack.packb(name) in data]
    return b"not a part" if written_by else _seal(data, max_bytes)


if __name__ == "__main__":
    connectors.connect = connect
    shard_runner.seal = seal
    settle._combine = combine
    embedded._FETCH = {**embedded._FETCH, "metrics": fetch_metrics}
    sys.exit(main())
