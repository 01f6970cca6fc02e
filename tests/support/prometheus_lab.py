"""Real Prometheus servers, one a cluster, the one that holds everything, and our connectors to them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, connect
from federation_core.connectors.backends.prometheus import Prometheus
from tests.support.prometheus_server import PrometheusClient, prometheus_holding
from tests.support.sample_store import Series

Stores = Mapping[str, Sequence[Series]]


def connector(cluster: str, address: str, pushdown: str = "exact", signal: str = "metrics") -> Prometheus:
    backend = Backend(signal, "prometheus", url=f"http://{address}", origin="clusters.yaml:1", pushdown=pushdown)
    opened = connect(Cluster(cluster, "e", (backend,)), backend)
    assert isinstance(opened, Prometheus)
    return opened


@dataclass
class Lab:
    """Six clusters' servers, and the one that holds all their samples as the federation shows them."""

    addresses: Mapping[str, str]
    oracle: PrometheusClient

    def connectors(self, pushdown: str) -> dict[str, Connector]:
        return {name: connector(name, address, pushdown) for name, address in self.addresses.items()}


def with_label(stores: Stores, name: str, value: str) -> dict[str, list[Series]]:
    return {
        cluster: [(labels.with_label(name, value), t, v) for labels, t, v in kept] for cluster, kept in stores.items()
    }


@contextmanager
def lab(binary: str, folder: Path, stores: Stores, labelled: Collection[str] = ()) -> Iterator[Lab]:
    """Start a server for each cluster, and one that holds all their series with the label `cluster`.

    The series of `labelled` clusters have that label, with the cluster's name, in the cluster's own server too.
    """
    with ExitStack() as running:

        def serve(name: str, held: Stores) -> str:
            (folder / name).mkdir()
            return running.enter_context(prometheus_holding(binary, held, folder / name))

        addresses = {
            cluster: serve(cluster, {cluster if cluster in labelled else "": kept}) for cluster, kept in stores.items()
        }
        oracle = running.enter_context(closing(PrometheusClient(serve("oracle", stores))))
        yield Lab(addresses, oracle)
