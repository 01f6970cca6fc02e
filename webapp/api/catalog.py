"""`/api/v1/clusters`: the members of the federation that a token opens."""

from __future__ import annotations

from flask import Response
from werkzeug.exceptions import NotFound

from federation_core.config import Cluster
from federation_core.connectors.stores.jobs import WorkerBeat
from webapp.answers import json_answer
from webapp.api.operations import Operations
from webapp.ask import pipeline
from webapp.auth import scope
from webapp.schemas.answers import cluster_json, clusters_json
from webapp.schemas.documents import ClusterDocument, ClustersDocument

blueprint = Operations("clusters", __name__, url_prefix="/api/v1", description="The members of the federation")


@blueprint.operation("GET", "/clusters", answers={200: ("the clusters, by name", ClustersDocument)})
def list_clusters() -> Response:
    """List the clusters that the token opens, and whether a worker serves each"""
    seen = _seen()
    return json_answer(clusters_json(seen, _beats(seen)))


@blueprint.operation(
    "GET",
    "/clusters/<name>",
    answers={200: ("the cluster", ClusterDocument)},
    faults={404: "the token opens no such cluster"},
)
def read_cluster(name: str) -> Response:
    """Read one cluster"""
    found = [cluster for cluster in _seen() if cluster.name == name]
    if not found:
        # Whether it exists for someone else is not told.
        raise NotFound(f"the token opens no cluster {name!r}")
    return json_answer(cluster_json(found[0], _beats(found).get(name)))


def _seen() -> list[Cluster]:
    return [cluster for cluster in pipeline().settings.clusters if cluster.name in scope().allowed]


def _beats(clusters: list[Cluster]) -> dict[str, WorkerBeat]:
    asking = pipeline()
    return asking.dispatch.jobs.beats.latest([cluster.name for cluster in clusters], asking.clock())
