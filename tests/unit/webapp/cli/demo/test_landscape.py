"""The places and pods of the simulated shop."""

import re

from webapp.cli.demo.journeys import CONSUMERS, JOURNEYS
from webapp.cli.demo.landscape import PRODUCTION, SITES, Deployment, Pod, deployments


def _deployment(name: str) -> Deployment:
    return next(each for each in deployments(7) if each.name == name)


def _pods(deployment: Deployment) -> list[Pod]:
    return [pod for pods in deployment.pods.values() for pod in pods]


def test_there_are_six_clusters_in_five_environments() -> None:
    assert {site.name: site.environment for site in SITES} == {
        "dev": "dev",
        "test": "test",
        "stage": "stage",
        "prod": "prod",
        "app-prod": "prod",
        "shared-services": "shared",
    }


def test_pods_are_named_as_kubernetes_names_those_of_a_deployment() -> None:
    for deployment in deployments(7):
        for pod in _pods(deployment):
            assert re.fullmatch(pod.service.name + "-[b-df-hj-np-tv-z2-9]{10}-[b-df-hj-np-tv-z2-9]{5}", pod.name)


def test_pods_of_one_service_share_the_replica_set() -> None:
    one, other = _deployment(PRODUCTION).pods["gateway"]
    assert one.name != other.name
    assert one.name.rpartition("-")[0] == other.name.rpartition("-")[0]


def test_pod_names_depend_on_the_seed_only() -> None:
    again = [pod.name for pod in _pods(_deployment(PRODUCTION))]
    assert [pod.name for pod in _pods(_deployment(PRODUCTION))] == again
    assert {pod.name for pod in _pods(deployments(8)[0])}.isdisjoint(again)


def test_production_runs_every_service_at_home() -> None:
    assert all(pod.cluster == pod.service.home for pod in _pods(_deployment(PRODUCTION)))


def test_environments_get_smaller_from_production_to_dev() -> None:
    sizes = [len(_pods(_deployment(name))) for name in (PRODUCTION, "stage", "test", "dev")]
    loads = [_deployment(name).requests_per_s for name in (PRODUCTION, "stage", "test", "dev")]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert loads == sorted(loads, reverse=True)
    assert len(set(loads)) == 4


def test_every_deployment_has_the_services_its_journeys_call() -> None:
    for deployment in deployments(7):
        for name in deployment.journeys:
            assert JOURNEYS[name].services() <= deployment.pods.keys()


def test_consumers_are_services() -> None:
    assert _deployment(PRODUCTION).pods.keys() >= CONSUMERS


def test_a_resource_says_who_and_where() -> None:
    pod = _deployment("stage").pods["payments"][0]
    resource = {entry["key"]: entry["value"]["stringValue"] for entry in pod.resource["attributes"]}
    assert resource["service.name"] == "payments"
    assert resource["service.namespace"] == resource["k8s.namespace.name"] == "payments"
    assert resource["service.version"] == "4.0.2-rc.1"
    assert resource["k8s.pod.name"] == pod.name
    assert resource["service.instance.id"] == f"payments.{pod.name}.payments"
    assert resource["deployment.environment.name"] == "stage"


def test_there_are_several_namespaces() -> None:
    assert {pod.service.namespace for pod in _pods(_deployment(PRODUCTION))} == {"shop", "payments", "platform"}
