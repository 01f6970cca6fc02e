"""Who sent it: the resource of spans, logs and metrics, reduced to the identity this system works with.

Rule: a resource is read once and then known by its content, for a collector repeats it with every batch.
Source: OpenTelemetry semantic conventions, "Resource" (service.*, k8s.*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from federation_core.connectors.otlp.values import as_text, dump, read_attributes

#: Most resources kept; beyond that the table starts anew, so that churning pods cost no memory.
MAX_RESOURCES: Final = 20_000
#: The service of a process that does not say its name.
UNKNOWN_SERVICE: Final = "unknown_service"


class Owner(NamedTuple):
    """What a span runs in: one instance of a service, in a pod. `namespace` is Kubernetes', else the service's."""

    namespace: str
    service: str
    pod: str
    instance: str

    def same_pod(self, other: Owner) -> bool:
        """Tell whether both run in one pod; where pods are unknown, in one service instance."""
        if self.pod and other.pod:
            return self.pod == other.pod and self.namespace == other.namespace
        return self == other


# Compared by identity: `Resources` makes one per content, and hashing nine strings per data point would cost.
@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One sender. `job` is `service.namespace/service.name`."""

    owner: Owner
    cluster: str
    job: str
    container: str
    node: str
    #: All attributes, as a JSON object.
    text: str


class Resources:
    """The resources seen so far, by content."""

    def __init__(self) -> None:
        self._known: dict[bytes, Resource] = {}

    def read(self, raw: Any) -> Resource:
        """Return the sender that an OTLP resource describes.

        Raises ValueError: the attributes are malformed.
        """
        key = orjson.dumps(raw)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_RESOURCES:
                self._known.clear()
            found = self._known[key] = _read(raw)
        return found


def _read(raw: Any) -> Resource:
    try:
        attributes = read_attributes((raw or {}).get("attributes", ()))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the resource is malformed: {error!r}") from error

    def text(name: str) -> str:
        return as_text(attributes.get(name))

    service, own_namespace = text("service.name") or UNKNOWN_SERVICE, text("service.namespace")
    namespace = text("k8s.namespace.name") or own_namespace
    return Resource(
        owner=Owner(namespace, service, text("k8s.pod.name"), text("service.instance.id")),
        cluster=text("k8s.cluster.name"),
        job=f"{own_namespace}/{service}" if own_namespace else service,
        container=text("k8s.container.name"),
        node=text("k8s.node.name"),
        text=dump(attributes),
    )
