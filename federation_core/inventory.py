"""What one cluster has, as its backends list it: services and their pods, workloads, nodes, names of telemetry.

Rule: what could not be read is named in `missing` and is not merely absent. Names are as in the cluster; who belongs to
whom is told by name: a workload is `Deployment/checkout` within its namespace. `to_wire` and `from_wire` are inverse,
and an inventory of a newer release is read without what this one does not know.
Source of the words: Kubernetes documentation, "Workloads" and "Services, Load Balancing, and Networking".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from federation_core.fields import fields_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Workload:
    """What keeps pods running: a Deployment, StatefulSet, DaemonSet, CronJob, or a ReplicaSet or Job of its own.

    Of a Job `desired` is how many completions it is to have and `ready` how many it has; of a CronJob both are None.
    `version` is its label `app.kubernetes.io/version`, else the tag of its image where there is one tag only. `labels`
    are those that say what it is part of. `owner` names what controls it, such as `Prometheus/k8s`, where something
    does. `reason` says why it does not get on, in Kubernetes' own word.
    """

    kind: str
    namespace: str
    name: str
    desired: int | None = None
    ready: int | None = None
    images: tuple[str, ...] = ()
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """Its kind and name, by which pods and services speak of it within its namespace."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    `reason` says why it is not well, in Kubernetes' own words: `CrashLoopBackOff (OOMKilled)`, `ImagePullBackOff`,
    `Unschedulable`; empty where it is well. `restarts` are those of all its containers. `workload` names what keeps it
    running, as far as that is known; empty where nothing does. `version` is its label `app.kubernetes.io/version`.
    """

    namespace: str
    name: str
    node: str = ""
    phase: str = ""
    ready: bool = False
    restarts: int = 0
    reason: str = ""
    workload: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a service listens on."""

    number: int
    name: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Service:
    """A Kubernetes service: its endpoints by number, and the workloads whose pods stand behind it."""

    namespace: str
    name: str
    type: str = "ClusterIP"
    ports: tuple[Port, ...] = ()
    ready: int = 0
    not_ready: int = 0
    workloads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster.

    `pressures` are the conditions that a node should not have and this one has, such as `DiskPressure`; `cordoned` says
    that it is given no new pods.
    """

    name: str
    ready: bool = False
    zone: str = ""
    kubelet: str = ""
    pressures: tuple[str, ...] = ()
    cordoned: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """What one cluster has: services as (namespace, service) → pods, metric and label names, time bounds.

    The lists of Kubernetes' objects are empty where the backend knows of none of them; `missing` says what it could not
    read and why: kind, as in `endpointslices` → words.
    """

    services: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    metric_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    oldest_ms: int | None = None
    newest_ms: int | None = None
    workloads: tuple[Workload, ...] = ()
    pods: tuple[Pod, ...] = ()
    kubernetes_services: tuple[Service, ...] = ()
    nodes: tuple[Node, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """Return the inventory as JSON values."""
        return {
            **fields_of(self),
            "services": [[*key, list(pods)] for key, pods in self.services.items()],
            "metric_names": list(self.metric_names),
            "label_names": list(self.label_names),
            "workloads": [{**fields_of(w), "images": list(w.images), "labels": dict(w.labels)} for w in self.workloads],
            "pods": [fields_of(pod) for pod in self.pods],
            "kubernetes_services": [_service_wire(service) for service in self.kubernetes_services],
            "nodes": [{**fields_of(node), "pressures": list(node.pressures)} for node in self.nodes],
            "missing": dict(self.missing),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Inventory:
        """Rebuild the inventory that `to_wire` described, of this release, an older or a newer one."""
        return _known(
            cls,
            wire,
            services=lambda rows: {(namespace, name): tuple(pods) for namespace, name, pods in rows},
            workloads=_each(lambda row: _known(Workload, row)),
            pods=_each(lambda row: _known(Pod, row)),
            kubernetes_services=_each(lambda row: _known(Service, row, ports=_each(lambda port: _known(Port, port)))),
            nodes=_each(lambda row: _known(Node, row)),
        )


def _service_wire(service: Service) -> dict[str, Any]:
    ports = [fields_of(port) for port in service.ports]
    return {**fields_of(service), "ports": ports, "workloads": list(service.workloads)}


def _known(cls: type[T], wire: Mapping[str, Any], **read: Callable[[Any], Any]) -> T:
    """Make a value of those fields that it has in this release; lists become tuples."""
    names: Any = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return cls(**{name: read.get(name, _frozen)(value) for name, value in wire.items() if name in names})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _each(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    return lambda rows: tuple(read(row) for row in rows)
