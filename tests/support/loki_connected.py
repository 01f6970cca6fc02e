"""Loki's connector over a server, or over a model without one; and log queries over several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

import orjson

from federation_core.access import Access
from federation_core.config import Backend, Cluster
from federation_core.connectors import Connector, Fetched, connect
from federation_core.connectors.backends.loki import Loki
from federation_core.connectors.backends.loki_api import LokiApi
from federation_core.connectors.http import Answer, HttpClient
from federation_core.plan import Leaf, Shard
from federation_core.query import Deadline, Direction, Query, TimeRange
from federation_core.signals.logs import KIND
from federation_core.signals.logs.payload import Entries
from federation_core.tenancy import Limits, Scope
from tests.support.loki_model import END_MS, START_MS
from tests.support.prometheus_replies import RepliesServer, Reply, Request

FAR = Deadline(10**15)
ALL = TimeRange(START_MS, END_MS)


def backend_at(url: str, tenant: str = "team-a", **options: Any) -> Backend:
    """A logs backend as the configuration would name it."""
    return Backend("logs", "loki", url=url, origin="clusters.yaml:7", access=Access(tenant=tenant), **options)


def loki_at(server: RepliesServer | str, cluster: str = "prod", tenant: str = "team-a") -> Loki:
    """Open a connector to a server."""
    backend = backend_at(server if isinstance(server, str) else server.url, tenant)
    opened = connect(Cluster(cluster, "e", (backend,)), backend)
    assert isinstance(opened, Loki)
    return opened


@dataclass
class Unwired:
    """Stands for the HTTP client where a thousand questions are asked of a model: all but the sockets is real."""

    reply: Callable[[Request], Reply]
    cluster: str = "prod"
    asked: list[Request] = field(default_factory=list)

    def ask(self, method: str, path: str, fields: Any, deadline: Deadline, **named: Any) -> Answer:
        headers = {"X-Scope-OrgID": "team-a", **named["headers"]}
        request = Request(method, path, tuple(fields), headers, ("", 0))
        urlencode(fields)
        self.asked.append(request)
        reply = self.reply(request)
        body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, body)


def loki_over(unwired: Unwired) -> Loki:
    """Open a connector to a model without a server."""
    return Loki(unwired.cluster, LokiApi(cast("HttpClient", unwired)))


def fetch(
    loki: Connector,
    text: str,
    *,
    limit: int = 100,
    direction: Direction = "backward",
    when: TimeRange = ALL,
    limits: Limits | None = None,
    deadline: Deadline = FAR,
) -> Fetched:
    """Answer one leaf."""
    scope = Scope("t", {"prod": ()}, limits=limits or Limits())
    return loki.fetch(Leaf("l", text, when, limit, direction), scope, deadline)


def entries_of(fetched: Fetched) -> Entries:
    """Return the payload, which must be log entries."""
    assert isinstance(fetched.payload, Entries)
    return fetched.payload


def federate_logs(
    text: str, connectors: Mapping[str, Connector], *, limit: int = 100, direction: Direction = "backward"
) -> tuple[Entries, tuple[str, ...]]:
    """Return the answer over several clusters and what was said with it; any cluster's error is raised."""
    query = Query("logs", text, ALL, "t", limit=limit, direction=direction)
    split = KIND.split(KIND.parse(text), query, sorted(connectors))
    parts = {}
    for cluster, leaves in split.leaves.items():
        shard = Shard("q", cluster, "logs", leaves, Scope("t", {cluster: ()}), FAR.at_ms)
        fetched = KIND.run(connectors[cluster], shard, FAR)
        parts[cluster] = {leaf: KIND.decode(KIND.encode(f.payload)) for leaf, f in fetched.items()}
    payload, warnings = KIND.merge(split.root, query, parts, {})
    assert isinstance(payload, Entries)
    return payload, warnings
