"""Whatever a Kubernetes API answers, what comes out is an inventory that travels or a ClusterError, nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from federation_core.connectors.backends import kubernetes
from federation_core.connectors.backends.kubernetes import Kubernetes
from federation_core.connectors.backends.kubernetes_api import KubernetesApi
from federation_core.connectors.http import Answer
from federation_core.errors import ClusterError
from federation_core.inventory import Inventory
from tests.support.sample_store import FAR_DEADLINE

NAMES = """
metadata items kind reason resourceVersion continue name namespace labels ownerReferences controller deletionTimestamp
spec status phase conditions type containerStatuses initContainerStatuses state waiting terminated lastState exitCode
restartCount nodeName replicas readyReplicas template containers image selector ports port protocol endpoints addresses
targetRef ready object unschedulable suspend jobTemplate completions succeeded nodeInfo kubeletVersion gitVersion
""".split()  # noqa: SIM905
metadata = {"name": "a", "namespace": "n", "resourceVersion": "7"}
good = st.sampled_from(
    [
        metadata,
        {"metadata": metadata},
        {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": metadata}]},
        [{"metadata": metadata}],
        {"type": "ADDED", "object": {"metadata": metadata}},
        {"kind": "Status", "reason": "Expired", "code": 410},
        "ReplicaSet",
        True,
    ]
)
json_values = st.recursive(
    good | st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)
#: An object that any of our kinds can be read from.
WHOLE = {
    "metadata": {
        **metadata,
        "labels": {"app": "web", "kubernetes.io/service-name": "a"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "a", "controller": True}],
    },
    "spec": {
        "replicas": 2,
        "template": {"spec": {"containers": [{"image": "web:1"}]}},
        "ports": [{"port": 80, "name": "http"}],
        "selector": {"app": "web"},
    },
    "status": {
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False", "reason": "no"}],
        "containerStatuses": [{"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
        "nodeInfo": {"kubeletVersion": "v1.30.0"},
    },
    "endpoints": [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "a"}}
    ],
}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place within a JSON value but the value itself."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in ((*at, key), *places(value[key], (*at, key)))]


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The object with something else in one place."""
    copy: dict[str, Any] = json.loads(json.dumps(WHOLE))
    holder: Any = copy
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return copy


objects = st.builds(
    changed, st.sampled_from(places(WHOLE)), st.none() | st.just([]) | st.text(max_size=3) | json_values
)
#: A list as it should be, of objects that need not be.
lists = st.lists(st.just(WHOLE) | objects, max_size=2).map(
    lambda items: {"metadata": {"resourceVersion": "7"}, "items": items}
)
#: Nothing but whole answers, else hardly any inventory were ever made of ten kinds.
whole_answers = st.builds(Answer, st.sampled_from([200, 200, 200, 403]), st.just({}), lists.map(orjson.dumps))
bodies = (json_values | lists).map(orjson.dumps) | st.binary(max_size=40) | lists.map(lambda v: orjson.dumps(v)[:-3])
answers = st.builds(Answer, st.sampled_from([200] * 8 + [401, 403, 404, 410, 429, 500, 302, 99]), st.just({}), bodies)


@dataclass
class Unwired:
    """Stands for the HTTP client: everything but the sockets is real."""

    answers: list[Answer]
    cluster: str = "prod"
    asked: list[Any] = field(default_factory=list)

    def ask(self, *asked: Any, **named: Any) -> Answer:
        self.asked.append(asked)
        return self.answers[len(self.asked) % len(self.answers)]


@settings(max_examples=150)
@given(
    st.lists(answers, min_size=1, max_size=4) | st.lists(whole_answers, min_size=1, max_size=2),
    st.sampled_from([0, 500]),
)
def test_any_answers(given_answers: list[Answer], few: int) -> None:
    connector = Kubernetes("prod", KubernetesApi(Unwired(given_answers)))  # type: ignore[arg-type]
    before, kubernetes.FEW = kubernetes.FEW, few  # type: ignore[misc]
    try:
        for call in (connector.inventory, connector.inventory, connector.ping, connector.about):
            try:
                found = call(FAR_DEADLINE)
            except ClusterError as error:
                assert error.cluster == "prod"  # noqa: PT017
                continue
            if isinstance(found, Inventory):
                assert Inventory.from_wire(json.loads(json.dumps(found.to_wire()))) == found
    finally:
        kubernetes.FEW = before  # type: ignore[misc]
