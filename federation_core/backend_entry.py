"""One backend as the configuration names it: which system serves a signal, how it is reached, what is true of it.

Rule: what is said here of a backend's data (`retention`, `scrapeInterval`) is believed, so nothing is assumed where
nothing is said. Nothing is opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath

from federation_core.access import Access, read_access, require_url
from federation_core.yaml_nodes import Node

#: Which queries a backend's own engine is given: those it answers exactly, all it understands, or none.
PUSHDOWN = ("exact", "approximate", "off")
#: An instant vector looks back as far as this, so of a backend of metrics that keeps less no answer would be whole.
SHORTEST_KEPT_MS = 300_000


@dataclass(frozen=True, slots=True)
class Backend:
    """One system in a cluster that serves one signal. `origin` is `file:line` of its entry, for messages.

    `pushdown` says what of a query its own engine is given, `replica_labels` what tells apart replicas of one series.
    `retention_ms` is how long back it has everything, `scrape_interval_ms` how far apart the samples of a series are at
    least; None is not known.
    """

    signal: str
    kind: str
    url: str = ""
    path: str = ""
    origin: str = ""
    access: Access = field(default_factory=Access)
    pushdown: str = "exact"
    replica_labels: tuple[str, ...] = ()
    retention_ms: int | None = None
    scrape_interval_ms: int | None = None


def read_backend(signal: str, node: Node, folder: str) -> Backend:
    """Read the entry of a backend; a relative `path` is taken from `folder`.

    Raises InvalidConfig: with file and line.
    """
    entry = node.mapping(("kind", "url", "path", "access", "pushdown", "replicaLabels", "retention", "scrapeInterval"))
    kind = entry.require("kind").name()
    url, path = entry.get("url"), entry.get("path")
    if (url is None) == (path is None):
        node.fail("a backend needs `url` or `path`, exactly one of them")
    if url is not None:
        require_url(url)
    access, pushdown, replicas = entry.get("access"), entry.get("pushdown"), entry.get("replicaLabels")
    if path is not None and (access or pushdown or replicas):
        node.fail("`access`, `pushdown` and `replicaLabels` are for a backend with a `url`")
    retention, interval = entry.get("retention"), entry.get("scrapeInterval")
    if pushdown is not None and pushdown.text() not in PUSHDOWN:
        pushdown.fail(f"{pushdown.text()!r} is not one of {', '.join(PUSHDOWN)}")
    if replicas is not None and signal != "metrics":
        replicas.fail(f"they are for metrics, and this backend serves {signal}")
    if interval is not None and signal != "metrics":
        interval.fail(f"it is for metrics, and this backend serves {signal}")
    if retention is not None and signal == "inventory":
        retention.fail("it is for what has a time, and an inventory is of now")
    return Backend(
        signal=signal,
        kind=kind,
        url=url.text() if url else "",
        path=str(PurePath(folder) / path.text()) if path else "",
        origin=node.origin,
        access=read_access(access, folder) if access else Access(),
        pushdown=pushdown.text() if pushdown else "exact",
        replica_labels=tuple(node.label() for node in replicas.items()) if replicas else (),
        retention_ms=read_retention(retention, of_metrics=signal == "metrics") if retention else None,
        scrape_interval_ms=interval.duration_ms() if interval else None,
    )


def read_retention(node: Node, *, of_metrics: bool) -> int:
    """Read how long back everything is there, in ms; `of_metrics` says that it is true of metrics too.

    Raises InvalidConfig: with file and line.
    """
    kept_ms = node.duration_ms()
    if of_metrics and kept_ms < SHORTEST_KEPT_MS:
        node.fail(f"{node.text()!r} is less than the 5m that every query of metrics looks back; give 5m or more")
    return kept_ms
