"""An inventory from the objects of a cluster: who belongs to whom.

Rule: ownership is followed by name as far as our kinds of workloads go, through an owner that could not be read too. A
service's endpoints are those of its slices; where no slices could be read, the pods that its selector chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from federation_core.connectors.backends.kubernetes_objects import LabelledPod, Read, Selecting, Slice
from federation_core.inventory import Inventory, Node, Pod, Service, Workload

#: Kinds that stand between a pod and the workload that people speak of, and what they stand for.
_BETWEEN: Final = {"ReplicaSet": "Deployment", "Job": "CronJob"}
#: What a pod may be controlled by that is no workload: static pods are their node's.
_NO_WORKLOAD: Final = "Node/"
_Objects = Mapping[str, Mapping[tuple[str, str], Read]]
T = TypeVar("T")
#: (namespace, `kind/name`) of a controlled workload → `kind/name` of its owner.
_Owners = Mapping[tuple[str, str], str]


def assemble(objects: _Objects, missing: Mapping[str, str]) -> Inventory:
    """Make the inventory of objects by kind, as in `pods` → (namespace, name) → what was read."""
    listed = [read for of_kind in objects.values() for read in of_kind.values() if isinstance(read, Workload)]
    owners = {(each.namespace, each.key): each.owner for each in listed if each.owner}
    labelled = {key: read for key, read in objects.get("pods", {}).items() if isinstance(read, LabelledPod)}
    pods = {key: replace(one.pod, workload=_top(one.pod, owners)) for key, one in sorted(labelled.items())}
    behind = _by_slices(_all(objects, "endpointslices", Slice), pods)
    if "endpointslices" not in objects:
        behind = _by_selectors(_all(objects, "services", Selecting), labelled)
    services = [_service(each, behind, pods) for each in _all(objects, "services", Selecting)]
    return Inventory(
        services={
            (each.namespace, each.name): tuple(sorted(name for name, is_pod in behind.get(_key(each), {}) if is_pod))
            for each in services
        },
        workloads=tuple(
            sorted((each for each in listed if not _is_between(each)), key=lambda w: (w.namespace, w.kind, w.name))
        ),
        pods=tuple(pods.values()),
        kubernetes_services=tuple(services),
        nodes=tuple(_all(objects, "nodes", Node)),
        missing=dict(missing),
    )


#: Endpoints of one service: (pod or address, whether it is a pod) → whether it is ready.
_Endpoints = dict[tuple[str, bool], bool]


def _by_slices(slices: Iterable[Slice], pods: Mapping[tuple[str, str], Pod]) -> dict[tuple[str, str], _Endpoints]:
    behind: dict[tuple[str, str], _Endpoints] = {}
    for each in slices:
        endpoints = behind.setdefault((each.namespace, each.service), {})
        for name, is_pod, ready in each.endpoints:
            # A service of two address families has each pod twice.
            endpoints[name, is_pod] = endpoints.get((name, is_pod), False) or ready
    return behind


def _by_selectors(
    services: Iterable[Selecting], labelled: Mapping[tuple[str, str], LabelledPod]
) -> dict[tuple[str, str], _Endpoints]:
    having: dict[tuple[str, str], set[str]] = {}
    for (namespace, name), pod in labelled.items():
        for pair in pod.labels:
            having.setdefault((namespace, pair), set()).add(name)
    behind: dict[tuple[str, str], _Endpoints] = {}
    for each in services:
        chosen = [having.get((each.namespace, pair), set()) for pair in each.selector]
        names = set.intersection(*chosen) if chosen else set()
        behind[_key(each)] = {(name, True): labelled[each.namespace, name].pod.ready for name in names}
    return behind


def _service(each: Selecting, behind: Mapping[tuple[str, str], _Endpoints], pods: Mapping[Any, Pod]) -> Service:
    endpoints = behind.get(_key(each), {})
    ready = sum(endpoints.values())
    found = (pods.get((each.namespace, name)) for name, is_pod in endpoints if is_pod)
    workloads = tuple(sorted({pod.workload for pod in found if pod is not None and pod.workload}))
    return Service(each.namespace, each.name, each.type, each.ports, ready, len(endpoints) - ready, workloads)


def _top(pod: Pod, owners: _Owners) -> str:
    """Return the workload of a pod that its controller is part of."""
    found = pod.workload
    if found.startswith(_NO_WORKLOAD):
        return ""
    owner = owners.get((pod.namespace, found), "")
    return owner if _BETWEEN.get(_kind(found)) == _kind(owner) else found


def _is_between(each: Workload) -> bool:
    return bool(each.owner) and _BETWEEN.get(each.kind) == _kind(each.owner)


def _kind(key: str) -> str:
    return key.partition("/")[0]


def _key(each: Selecting | Service) -> tuple[str, str]:
    return each.namespace, each.name


def _all(objects: _Objects, kind: str, of: type[T]) -> list[T]:
    """Return the objects of a kind by namespace and name."""
    return [read for _, read in sorted(objects.get(kind, {}).items()) if isinstance(read, of)]
