"""Who belongs to whom in a cluster, as far as that is known."""

from __future__ import annotations

from typing import Any

from federation_core.connectors.backends.kubernetes_api import KINDS
from federation_core.connectors.backends.kubernetes_assembly import assemble
from federation_core.connectors.backends.kubernetes_objects import key_of
from federation_core.inventory import Inventory


def assembled(missing: tuple[str, ...] = (), **objects: list[dict[str, Any]]) -> Inventory:
    """Return the inventory of objects by kind; kinds that are missing could not be listed."""
    found = {}
    for kind in KINDS:
        if kind.plural not in missing:
            read = [kind.read(item) for item in objects.get(kind.plural, ())]
            found[kind.plural] = {key_of(each): each for each in read}
    return assemble(found, dict.fromkeys(missing, "no"))


def owned(name: str, owner: str = "", namespace: str = "shop", **more: Any) -> dict[str, Any]:
    kind, _, of = owner.partition("/")
    owners = [{"kind": kind, "name": of, "controller": True}] if owner else []
    labels = more.pop("labels", {})
    return {"metadata": {"namespace": namespace, "name": name, "ownerReferences": owners, "labels": labels}, **more}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def slice_of(service: str, *endpoints: tuple[str, bool], name: str = "s") -> dict[str, Any]:
    rows = [{"targetRef": {"kind": "Pod", "name": pod}, "conditions": {"ready": ready}} for pod, ready in endpoints]
    return owned(name, labels={"kubernetes.io/service-name": service}, endpoints=rows)


def workload_of(pod_owner: str, **objects: list[dict[str, Any]]) -> str:
    return assembled(pods=[owned("p", pod_owner)], **objects).pods[0].workload


class TestOwners:
    def test_a_replica_sets_pods_are_its_deployments(self) -> None:
        assert workload_of("ReplicaSet/web-1", replicasets=[owned("web-1", "Deployment/web")]) == "Deployment/web"

    def test_a_jobs_pods_are_its_cron_jobs(self) -> None:
        assert workload_of("Job/tick-1", jobs=[owned("tick-1", "CronJob/tick")]) == "CronJob/tick"

    def test_one_of_the_same_name_elsewhere_is_another(self) -> None:
        elsewhere = owned("web-1", "Deployment/web", namespace="other")
        assert workload_of("ReplicaSet/web-1", replicasets=[elsewhere]) == "ReplicaSet/web-1"

    def test_beyond_kubernetes_own_kinds_an_owner_is_named_and_not_followed(self) -> None:
        found = assembled(
            pods=[owned("p", "StatefulSet/prometheus-k8s"), owned("q", "ReplicaSet/web-1")],
            statefulsets=[owned("prometheus-k8s", "Prometheus/k8s")],
            replicasets=[owned("web-1", "Rollout/web")],
        )
        assert [each.workload for each in found.pods] == ["StatefulSet/prometheus-k8s", "ReplicaSet/web-1"]
        assert {each.key: each.owner for each in found.workloads} == {
            "ReplicaSet/web-1": "Rollout/web",
            "StatefulSet/prometheus-k8s": "Prometheus/k8s",
        }

    def test_a_pod_of_a_kind_that_we_do_not_know_is_its_owners(self) -> None:
        assert workload_of("StrimziPodSet/kafka") == "StrimziPodSet/kafka"

    def test_a_static_pod_and_a_bare_one_are_nobodys(self) -> None:
        assert workload_of("Node/n1") == workload_of("") == ""

    def test_what_stands_between_is_no_workload_of_its_own(self) -> None:
        found = assembled(
            deployments=[owned("web")],
            replicasets=[owned("web-1", "Deployment/web"), owned("alone")],
            jobs=[owned("tick-1", "CronJob/tick"), owned("once")],
            cronjobs=[owned("tick")],
        )
        assert [each.key for each in found.workloads] == [
            "CronJob/tick",
            "Deployment/web",
            "Job/once",
            "ReplicaSet/alone",
        ]


class TestServices:
    def test_endpoints_are_counted_and_workloads_named(self) -> None:
        found = assembled(
            services=[owned("web")],
            endpointslices=[slice_of("web", ("a", True), ("b", False)), slice_of("web", ("c", True), name="t")],
            pods=[owned("a", "StatefulSet/x"), owned("b", "StatefulSet/y"), owned("c", "StatefulSet/x")],
        )
        (web,) = found.kubernetes_services
        assert (web.ready, web.not_ready, web.workloads) == (2, 1, ("StatefulSet/x", "StatefulSet/y"))
        assert found.services == {("shop", "web"): ("a", "b", "c")}

    def test_a_pod_of_two_address_families_is_one_endpoint_and_ready_if_one_is(self) -> None:
        slices = [slice_of("web", ("a", True)), slice_of("web", ("a", False), name="v6")]
        (web,) = assembled(services=[owned("web")], endpointslices=slices).kubernetes_services
        assert (web.ready, web.not_ready) == (1, 0)

    def test_addresses_that_are_no_pods_are_endpoints_and_no_pods(self) -> None:
        outside = owned("s", labels={"kubernetes.io/service-name": "db"}, endpoints=[{"addresses": ["10.0.0.1"]}])
        found = assembled(services=[owned("db")], endpointslices=[outside])
        assert found.kubernetes_services[0].ready == 1
        assert found.services == {("shop", "db"): ()}

    def test_where_slices_can_be_read_a_selector_decides_nothing(self) -> None:
        web = owned("web", spec={"selector": {"app": "web"}})
        found = assembled(services=[web], pods=[owned("a", labels={"app": "web"}, status=READY)])
        assert found.services == {("shop", "web"): ()}

    def test_where_they_cannot_a_service_has_the_pods_that_have_all_its_labels(self) -> None:
        selector = {"app": "web", "tier": "front"}
        found = assembled(
            missing=("endpointslices",),
            services=[owned("web", spec={"selector": selector}), owned("outside")],
            pods=[
                owned("a", labels={**selector, "x": "y"}, status=READY),
                owned("b", labels={"app": "web"}),
                owned("c", labels=selector, namespace="other"),
                owned("d", labels=selector),
            ],
        )
        assert found.services == {("shop", "outside"): (), ("shop", "web"): ("a", "d")}
        assert [(each.ready, each.not_ready) for each in found.kubernetes_services] == [(0, 0), (1, 1)]
        assert found.missing == {"endpointslices": "no"}

    def test_all_is_in_order(self) -> None:
        names = ["c", "a", "b"]
        found = assembled(**{kind: [owned(name) for name in names] for kind in ("pods", "services", "daemonsets")})
        for listed in (found.pods, found.kubernetes_services, found.workloads):
            assert [each.name for each in listed] == sorted(names)
