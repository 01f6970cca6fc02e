"""A pod as it is read: whether it is well, and in Kubernetes' own words why not.

Rule: the words are those that `kubectl get pods` shows where it shows one, with the reason of the last exit behind
`CrashLoopBackOff`, and for a pod that waits the reason of the condition that keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sys import intern
from typing import Any, Final

from federation_core.connectors.backends.kubernetes_fields import (
    condition,
    count,
    integer,
    items,
    mapping,
    name_of,
    text,
)
from federation_core.inventory import Pod

_PHASES: Final = frozenset({"Pending", "Running", "Succeeded", "Failed", "Unknown"})
#: A container waits so where nothing is wrong with it: what is stands elsewhere, if anywhere.
_USUAL_WAITING: Final = frozenset({"ContainerCreating", "PodInitializing"})


def read_pod(item: Any, controller: str, version: str) -> Pod:
    """Read a Pod, of which controller and version are known.

    Raises ValueError: it is none.
    """
    namespace, name = name_of(item)
    status = mapping(item, "status")
    phase = text(status, "phase")
    ready = text(condition(status, "Ready"), "status") == "True"
    containers, inits = items(status, "containerStatuses"), items(status, "initContainerStatuses")
    return Pod(
        namespace,
        name,
        node=intern(text(mapping(item, "spec"), "nodeName")),
        phase=intern(phase),
        ready=ready,
        restarts=sum(count(one, "restartCount") for one in (*containers, *inits)),
        reason=intern(_reason(item, status, phase, ready, containers, inits)),
        workload=controller,
        version=version,
    )


def _reason(
    item: Any,
    status: Mapping[str, Any],
    phase: str,
    ready: bool,
    containers: Iterable[Mapping[str, Any]],
    inits: Iterable[Mapping[str, Any]],
) -> str:
    if text(mapping(item, "metadata"), "deletionTimestamp"):
        return "Unknown" if text(status, "reason") == "NodeLost" else "Terminating"
    if said := text(status, "reason"):
        # The whole pod: Evicted, NodeLost, DeadlineExceeded.
        return said
    troubles = [f"Init:{trouble}" for one in inits if (trouble := _trouble(one))]
    troubles += [trouble for one in containers if (trouble := _trouble(one))]
    if phase == "Succeeded":
        return ""
    if troubles:
        return troubles[0]
    if phase not in _PHASES:
        return phase
    if ready:
        return ""
    waits = next((said for one in containers if (said := _waiting(one))), "")
    return _unmet(status, "PodScheduled") or waits or _unmet(status, "Ready") or (phase if phase == "Failed" else "")


def _unmet(status: Mapping[str, Any], kind: str) -> str:
    found = condition(status, kind)
    return text(found, "reason") if text(found, "status") == "False" else ""


def _waiting(container: Mapping[str, Any]) -> str:
    return text(mapping(mapping(container, "state"), "waiting"), "reason")


def _trouble(container: Mapping[str, Any]) -> str:
    """Return why a container does not run; one that has done its work is not in trouble."""
    waiting = _waiting(container)
    if waiting and waiting not in _USUAL_WAITING:
        last = _exit(mapping(mapping(container, "lastState"), "terminated"))
        return f"{waiting} ({last})" if waiting == "CrashLoopBackOff" and last else waiting
    return _exit(mapping(mapping(container, "state"), "terminated"))


def _exit(terminated: Mapping[str, Any]) -> str:
    """Return how a container has ended; `Error` says no more than its exit code does."""
    code, reason = integer(terminated, "exitCode"), text(terminated, "reason")
    if not code and reason in ("", "Completed"):
        return ""
    return f"exit code {code}" if code and reason in ("", "Error") else reason
