"""`/api/v1/clusters`: the members of the federation that a token opens, and how they are.

Rule: whatever is told here was seen by the clusters' workers and rests in the store; no backend is asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response
from werkzeug.exceptions import NotFound

from federation_core.config import Cluster
from federation_core.connectors.stores.jobs import WorkerBeat
from federation_core.health import BackendHealth
from webapp.answers import json_answer
from webapp.api.operations import Operations
from webapp.ask import pipeline
from webapp.auth import scope
from webapp.schemas.answers import cluster_json
from webapp.schemas.documents import ClusterDocument, ClustersDocument
from webapp.schemas.health import health_json
from webapp.schemas.health_documents import ClusterHealthDocument

blueprint = Operations("clusters", __name__, url_prefix="/api/v1", description="The members of the federation")


_NOT_YOURS = {404: "the token opens no such cluster"}


@blueprint.operation("GET", "/clusters", answers={200: ("the clusters, by name", ClustersDocument)})
def list_clusters() -> Response:
    """List the clusters that the token opens, whether a worker serves each, and how it is"""
    return json_answer({"clusters": [cluster_json(*seen) for seen in _looked_at(_seen())]})


@blueprint.operation("GET", "/clusters/<name>", answers={200: ("the cluster", ClusterDocument)}, faults=_NOT_YOURS)
def read_cluster(name: str) -> Response:
    """Read one cluster"""
    (seen,) = _looked_at(_named(name))
    return json_answer(cluster_json(*seen))


@blueprint.operation(
    "GET", "/clusters/<name>/health", answers={200: ("how it is", ClusterHealthDocument)}, faults=_NOT_YOURS
)
def read_cluster_health(name: str) -> Response:
    """Tell how a cluster is: its worker, and each of its backends

    Of a backend: whether it is up and if not why, how quickly it answers, its release, how new its data are, and
    whether it is asked. The cluster's workers probe every ten seconds; nothing is asked for this.
    """
    (seen,) = _looked_at(_named(name))
    return json_answer(health_json(*seen))


def _seen() -> list[Cluster]:
    return [cluster for cluster in pipeline().settings.clusters if cluster.name in scope().allowed]


def _named(name: str) -> list[Cluster]:
    found = [cluster for cluster in _seen() if cluster.name == name]
    if not found:
        # Whether it exists for someone else is not told.
        raise NotFound(f"the token opens no cluster {name!r}")
    return found


def _looked_at(clusters: list[Cluster]) -> list[tuple[Cluster, WorkerBeat | None, Mapping[str, BackendHealth], int]]:
    """Return with each cluster what was heard of its workers and of its backends, and the time of reading it."""
    asking = pipeline()
    names, now_ms = [cluster.name for cluster in clusters], asking.clock()
    beats = asking.dispatch.jobs.beats.latest(names, now_ms)
    healths = asking.dispatch.jobs.healths.of(names, now_ms)
    return [(cluster, beats.get(cluster.name), healths.get(cluster.name, {}), now_ms) for cluster in clusters]
