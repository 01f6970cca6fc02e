"""An inventory as a value, and its way over the wire."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from federation_core.inventory import Inventory, Node, Pod, Port, Service, Workload

WHOLE = Inventory(
    services={("shop", "web"): ("web-1", "web-2"), ("", "db"): ()},
    metric_names=("up",),
    label_names=("job", "pod"),
    oldest_ms=1,
    newest_ms=2,
    workloads=(Workload("Deployment", "shop", "web", 2, 1, ("web:1",), "1", {"app": "web"}, "", "ReplicaFailure"),),
    pods=(Pod("shop", "web-1", "n1", "Running", True, 3, "", "Deployment/web", "1"),),
    kubernetes_services=(Service("shop", "web", "NodePort", (Port(80, "http"),), 1, 1, ("Deployment/web",)),),
    nodes=(Node("n1", True, "a", "v1.30.0", ("DiskPressure",), True),),
    missing={"cronjobs": "we may not"},
)


@pytest.mark.parametrize("inventory", [WHOLE, Inventory(), Inventory(services={("", "web"): ()}, newest_ms=7)])
@pytest.mark.parametrize("travel", [lambda w: json.loads(json.dumps(w)), lambda w: msgpack.unpackb(msgpack.packb(w))])
def test_it_comes_back_as_it_went(inventory: Inventory, travel: Any) -> None:
    back = Inventory.from_wire(travel(inventory.to_wire()))
    assert back == inventory
    assert hash(back.pods) == hash(inventory.pods)
    assert all(isinstance(pods, tuple) for pods in back.services.values())


def test_what_a_newer_release_adds_is_left_out() -> None:
    wire = json.loads(json.dumps(WHOLE.to_wire()))
    wire["volumes"] = [{"name": "v"}]
    for rows in ("workloads", "pods", "kubernetes_services", "nodes"):
        wire[rows][0]["cost"] = 7
    wire["kubernetes_services"][0]["ports"][0]["appProtocol"] = "h2c"
    assert Inventory.from_wire(wire) == WHOLE


def test_what_an_older_release_does_not_have_is_empty() -> None:
    wire = {"services": [["shop", "web", ["a"]]], "pods": [{"namespace": "shop", "name": "a"}]}
    assert Inventory.from_wire(wire) == Inventory(services={("shop", "web"): ("a",)}, pods=(Pod("shop", "a"),))


def test_a_workload_is_spoken_of_by_kind_and_name() -> None:
    assert Workload("Deployment", "shop", "web").key == "Deployment/web"
