"""Objects of Kubernetes' API as they are read: of each the few fields that an inventory needs, and nothing else kept.

Rule: an absent field is what Kubernetes takes it for; one of another type than the API's is no object (ValueError).
Texts that many objects share are held once. Messages are not kept: they name hosts, addresses and files.
Source: Kubernetes API reference, "Workload Resources", "Service Resources", "Cluster Resources".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Final

from federation_core.connectors.backends.kubernetes_fields import (
    condition,
    count,
    flag,
    integer,
    items,
    mapping,
    name_of,
    text,
    texts,
)
from federation_core.connectors.backends.kubernetes_pods import read_pod
from federation_core.inventory import Node, Pod, Port, Workload

_VERSION: Final = "app.kubernetes.io/version"
_SERVICE_OF_SLICE: Final = "kubernetes.io/service-name"
_ZONES: Final = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
#: What a workload's labels are kept for: to tell which application it is part of.
_TELLING: Final = frozenset(
    {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "component", "part-of", "managed-by")}
    | {"app", "k8s-app"}
)


@dataclass(frozen=True, slots=True)
class LabelledPod:
    """A pod, whose `workload` is what controls it directly, and its labels as sorted `name=value`."""

    pod: Pod
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selecting:
    """A service as it is written: `selector` has the `name=value` that its pods have; without any it selects none."""

    namespace: str
    name: str
    type: str
    ports: tuple[Port, ...]
    selector: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """Some endpoints of one service: (pod or the address of what is none, whether it is a pod, whether it is ready)."""

    namespace: str
    name: str
    service: str
    endpoints: tuple[tuple[str, bool, bool], ...]


#: What is kept of an object.
Read = LabelledPod | Selecting | Slice | Workload | Node


def pod(item: Any) -> LabelledPod:
    """Read a Pod."""
    metadata = mapping(item, "metadata")
    labels = _labels(metadata)
    found = read_pod(item, intern(_controller(metadata)), intern(labels.get(_VERSION, "")))
    return LabelledPod(found, _pairs(labels))


def service(item: Any) -> Selecting:
    """Read a Service."""
    namespace, name = name_of(item)
    spec = mapping(item, "spec")
    ports = tuple(
        Port(integer(port, "port") or 0, intern(text(port, "name")), intern(text(port, "protocol") or "TCP"))
        for port in items(spec, "ports")
    )
    return Selecting(
        namespace, name, intern(text(spec, "type") or "ClusterIP"), ports, _pairs(texts(mapping(spec, "selector")))
    )


def endpoint_slice(item: Any) -> Slice:
    """Read an EndpointSlice; an endpoint that does not say whether it is ready is."""
    namespace, name = name_of(item)
    found = []
    for endpoint in items(item, "endpoints"):
        target = mapping(endpoint, "targetRef")
        is_pod = text(target, "kind") == "Pod"
        addresses = endpoint.get("addresses") or [""]
        if not isinstance(addresses, list) or not isinstance(addresses[0], str):
            raise ValueError("the addresses of an endpoint are no texts")
        ready = flag(mapping(endpoint, "conditions"), "ready")
        found.append((text(target, "name") if is_pod else addresses[0], is_pod, ready is not False))
    return Slice(namespace, name, intern(_labels(mapping(item, "metadata")).get(_SERVICE_OF_SLICE, "")), tuple(found))


def node(item: Any) -> Node:
    """Read a Node."""
    _, name = name_of(item)
    status = mapping(item, "status")
    labels = _labels(mapping(item, "metadata"))
    pressures = tuple(
        intern(text(each, "type"))
        for each in items(status, "conditions")
        if _is_pressure(text(each, "type")) and text(each, "status") == "True"
    )
    return Node(
        name,
        ready=text(condition(status, "Ready"), "status") == "True",
        zone=intern(next((labels[key] for key in _ZONES if labels.get(key)), "")),
        kubelet=intern(text(mapping(status, "nodeInfo"), "kubeletVersion")),
        pressures=pressures,
        cordoned=bool(flag(mapping(item, "spec"), "unschedulable")),
    )


def _is_pressure(kind: str) -> bool:
    # Of other conditions one cannot tell whether it is well to have them: k3s says EtcdIsVoter, for one.
    return kind.endswith("Pressure") or kind == "NetworkUnavailable"


def replicated(kind: str) -> Callable[[Any], Workload]:
    """Return what reads a kind that wants a number of replicas: Deployment, StatefulSet, ReplicaSet."""

    def read(item: Any) -> Workload:
        wanted = integer(mapping(item, "spec"), "replicas")
        return _workload(kind, item, 1 if wanted is None else wanted, count(mapping(item, "status"), "readyReplicas"))

    return read


def daemon_set(item: Any) -> Workload:
    """Read a DaemonSet, of which there is to be one pod on every node that it chooses."""
    status = mapping(item, "status")
    return _workload("DaemonSet", item, count(status, "desiredNumberScheduled"), count(status, "numberReady"))


def job(item: Any) -> Workload:
    """Read a Job; without a number of completions any one is enough."""
    wanted = integer(mapping(item, "spec"), "completions")
    return _workload("Job", item, 1 if wanted is None else wanted, count(mapping(item, "status"), "succeeded"))


def cron_job(item: Any) -> Workload:
    """Read a CronJob, which has jobs and no pods of its own."""
    spec = mapping(item, "spec")
    template = mapping(mapping(mapping(spec, "jobTemplate"), "spec"), "template")
    return _workload("CronJob", item, None, None, template, "Suspended" if flag(spec, "suspend") else "")


def _workload(
    kind: str,
    item: Any,
    desired: int | None,
    ready: int | None,
    template: Mapping[str, Any] | None = None,
    reason: str = "",
) -> Workload:
    namespace, name = name_of(item)
    metadata = mapping(item, "metadata")
    if template is None:
        template = mapping(mapping(item, "spec"), "template")
    containers = items(mapping(template, "spec"), "containers")
    images = tuple(dict.fromkeys(intern(image) for one in containers if (image := text(one, "image"))))
    labels = _labels(metadata)
    version = labels.get(_VERSION) or _labels(mapping(template, "metadata")).get(_VERSION) or _only_tag(images)
    return Workload(
        kind,
        namespace,
        name,
        desired,
        ready,
        images,
        intern(version),
        {intern(key): intern(value) for key, value in sorted(labels.items()) if key in _TELLING},
        intern(_controller(metadata)),
        reason or _hindrance(mapping(item, "status")),
    )


def _hindrance(status: Mapping[str, Any]) -> str:
    """Return why a workload does not get on: of a Deployment or a ReplicaSet, or of a Job that has failed."""
    for kind, bad in (("Failed", "True"), ("ReplicaFailure", "True"), ("Progressing", "False")):
        found = condition(status, kind)
        if text(found, "status") == bad:
            return intern(text(found, "reason") or kind)
    return ""


def _only_tag(images: tuple[str, ...]) -> str:
    """Return the tag that all images have which have one; a digest is no version that anybody reads."""
    named = (image.partition("@")[0].rpartition("/")[2] for image in images)
    tags = {tag for name in named if (tag := name.partition(":")[2])}
    return tags.pop() if len(tags) == 1 else ""


def _controller(metadata: Mapping[str, Any]) -> str:
    """Return kind and name of the one owner that controls an object; others only keep it from being removed."""
    for owner in items(metadata, "ownerReferences"):
        if flag(owner, "controller"):
            return f"{text(owner, 'kind')}/{text(owner, 'name')}"
    return ""


def _labels(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    return texts(mapping(metadata, "labels"))


def _pairs(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(intern(f"{key}={value}") for key, value in labels.items()))


def key_of(read: Read) -> tuple[str, str]:
    """Return namespace and name of what was read, by which it is known within its kind."""
    if isinstance(read, LabelledPod):
        return read.pod.namespace, read.pod.name
    return ("" if isinstance(read, Node) else read.namespace), read.name
