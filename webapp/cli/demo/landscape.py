"""Where the simulated shop runs: six clusters, four deployments, and the pods of every service in each.

Production is one deployment over three clusters, each service in its home; stage, test and dev each run the
shop, smaller and smaller, in a single cluster. Pods are named as Kubernetes names those of a deployment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from webapp.cli.demo.journeys import JOURNEYS, TOPICS
from webapp.cli.demo.services import SERVICES, Service

# Kubernetes leaves vowels and look-alikes out of generated names, so that they spell no words.
_SAFE_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster of the demo, as its configuration names it, and how often its pods report samples."""

    name: str
    environment: str
    region: str
    sample_step_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Pod:
    """A running copy of a service: `resource` is its OTLP resource, shared by everything it sends."""

    name: str
    cluster: str
    service: Service
    resource: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """The shop in one environment: its load (mean requests/s), its journeys, its pods by service."""

    name: str
    requests_per_s: float
    journeys: tuple[str, ...]
    pods: Mapping[str, tuple[Pod, ...]]


# Non-production clusters sample once a minute, as many do to save money: it also keeps the history small.
SITES: Final = (
    Site("dev", "dev", "eu-north-1", 60_000),
    Site("test", "test", "eu-north-1", 60_000),
    Site("stage", "stage", "eu-central-1", 60_000),
    Site("prod", "prod", "eu-west-1", 15_000),
    Site("app-prod", "prod", "eu-west-1", 15_000),
    Site("shared-services", "shared", "eu-central-1", 15_000),
)
PRODUCTION: Final = "production"
_SIZES: Final = (
    (PRODUCTION, 0.20, tuple(JOURNEYS)),
    ("stage", 0.05, tuple(JOURNEYS)),
    ("test", 0.025, ("sign-in", "track", "basket", "search", "browse", "pay", "checkout")),
    ("dev", 0.02, ("sign-in", "track", "basket", "browse")),
)
_VERSION_SUFFIX: Final = {"stage": "-rc.1", "test": "-rc.2", "dev": "-dev"}


def deployments(seed: int) -> tuple[Deployment, ...]:
    """Return the four deployments; pod names depend on `seed` only."""
    return tuple(Deployment(name, load, journeys, _pods(seed, name, journeys)) for name, load, journeys in _SIZES)


def _pods(seed: int, deployment: str, journeys: tuple[str, ...]) -> dict[str, tuple[Pod, ...]]:
    whole_shop = len(journeys) == len(JOURNEYS)
    wanted = set().union(*(JOURNEYS[name].services() for name in journeys))
    wanted |= {consumer for name in wanted for consumer in (TOPICS[name].consumers if name in TOPICS else ())}
    return {
        service.name: _pods_of(seed, deployment, service)
        for service in SERVICES.values()
        if whole_shop or service.name in wanted
    }


def _pods_of(seed: int, deployment: str, service: Service) -> tuple[Pod, ...]:
    production = deployment == PRODUCTION
    cluster = service.home if production else deployment
    letters = Random(f"{seed}/{cluster}/{service.name}")
    replica_set = f"{service.name}-{''.join(letters.choices(_SAFE_LETTERS, k=10))}"
    pods = []
    for _ in range(service.production_pods if production else 1):
        name = f"{replica_set}-{''.join(letters.choices(_SAFE_LETTERS, k=5))}"
        node = f"{cluster}-node-{letters.randrange(1, 4)}"
        version = service.version + _VERSION_SUFFIX.get(deployment, "")
        resource = _resource(service, name, replica_set, cluster, node, version)
        pods.append(Pod(name, cluster, service, resource))
    return tuple(pods)


def _resource(service: Service, pod: str, replica_set: str, cluster: str, node: str, version: str) -> dict[str, Any]:
    environment = next(site.environment for site in SITES if site.name == cluster)
    values = {
        "service.name": service.name,
        "service.namespace": service.namespace,
        "service.version": version,
        "service.instance.id": f"{service.namespace}.{pod}.{service.name}",
        "deployment.environment.name": environment,
        "k8s.cluster.name": cluster,
        "k8s.namespace.name": service.namespace,
        "k8s.deployment.name": service.name,
        "k8s.replicaset.name": replica_set,
        "k8s.pod.name": pod,
        "k8s.node.name": node,
    }
    return {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]}
