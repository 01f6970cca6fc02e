"""Probes: `/health` says that this process answers, `/ready` that it can take queries.

Rule: probes are open to everyone and tell counts, never names. Liveness depends on nothing outside the process, so
that an outage of Redis does not make an orchestrator restart what is not broken.
"""

from __future__ import annotations

from importlib import metadata

from flask import Response

from webapp.answers import json_answer
from webapp.api.operations import Operations
from webapp.ask import pipeline
from webapp.schemas.documents import HealthDocument, ReadyDocument

blueprint = Operations("health", __name__, description="Probes")


def version() -> str:
    """Return the installed version, or `0` where we run from a bare tree."""
    try:
        return metadata.version("appsentry-federation")
    except metadata.PackageNotFoundError:
        return "0"


_ALIVE = {200: ("alive", HealthDocument)}
_READY = {200: ("ready", ReadyDocument)}
_UNREADY = {503: "the store does not answer"}


@blueprint.operation("GET", "/health", answers=_ALIVE, public=True)
def health() -> Response:
    """Tell that the process answers, and how it authenticates"""
    auth = "token" if pipeline().settings.auth.enabled else "open on loopback"
    return json_answer({"status": "ok", "version": version(), "auth": auth})


@blueprint.operation("GET", "/ready", answers=_READY, faults=_UNREADY, public=True)
def ready() -> Response:
    """Tell whether queries can be taken: the store answers

    A cluster without a worker does not make us unready: its absence is told in every answer.
    """
    asking = pipeline()
    served = asking.dispatch.served()
    clusters = asking.settings.clusters
    return json_answer(
        {"status": "ready", "clusters": len(clusters), "served": sum(c.name in served for c in clusters)}
    )


@blueprint.operation("GET", "/-/healthy", answers=_ALIVE, public=True)
def prometheus_healthy() -> Response:
    """The same as /health, where Prometheus has it"""
    return health()


@blueprint.operation("GET", "/-/ready", answers=_READY, faults=_UNREADY, public=True)
def prometheus_ready() -> Response:
    """The same as /ready, where Prometheus has it"""
    return ready()
