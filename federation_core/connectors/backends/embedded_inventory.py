"""What an embedded store holds: services and their pods, metric and label names, time bounds.

Rule: segments never change, so each is looked through once and its finding kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Final

from federation_core.connectors.backends.embedded_metrics import series_index
from federation_core.connectors.stores.segments_layout import Manifest, Segment, Table
from federation_core.connectors.stores.segments_read import SegmentReader
from federation_core.health import About
from federation_core.inventory import Inventory

#: (namespace, service, pod)
_Place = tuple[str, str, str]
#: Which table holds what of a signal has a time; of any other signal all of them do.
_TABLES: Final[Mapping[str, Table]] = {"metrics": "samples", "series": "samples", "logs": "logs", "traces": "spans"}
_DISTRIBUTION: Final = "appsentry-federation"


def take(reader: SegmentReader) -> Inventory:
    """Return the inventory of the store's current version."""
    return reader.attempt(lambda manifest: _take(reader, manifest))


def _take(reader: SegmentReader, manifest: Manifest) -> Inventory:
    def places_in(segment: Segment) -> frozenset[_Place]:
        rows = reader.rows(f"SELECT DISTINCT namespace, service, pod FROM {reader.source([segment])}")
        return frozenset((namespace, service, pod) for namespace, service, pod in rows)

    segments = [*manifest.of("spans"), *manifest.of("logs")]
    places: set[_Place] = set().union(*reader.per_segment("places", segments, places_in))
    index = series_index(reader, manifest)
    for labels in index.labels:
        # Derived series may lack the namespace; those that came in say where they belong.
        if labels.get("service") and labels.get("job"):
            places.add((labels.get("namespace"), labels.get("service"), labels.get("pod")))
    services: dict[tuple[str, str], set[str]] = {}
    for namespace, service, pod in places:
        services.setdefault((namespace, service), set()).update({pod} - {""})
    return Inventory(
        services={key: tuple(sorted(pods)) for key, pods in sorted(services.items())},
        metric_names=tuple(sorted(index.by_name)),
        label_names=tuple(sorted({name for labels in index.labels for name in labels.names()})),
        oldest_ms=manifest.oldest_ms,
        newest_ms=manifest.newest_ms,
    )


def tell(reader: SegmentReader, signal: str) -> About:
    """Return our release, and the time of the newest telemetry of a signal.

    Raises Unreachable: there is no store. Malformed: it is damaged.
    """
    manifest, table = reader.manifest(), _TABLES.get(signal)
    newest_ms = max((s.max_ms for s in manifest.of(table)), default=None) if table else manifest.newest_ms
    return About(_release(), newest_ms)


def _release() -> str:
    try:
        return f"AppSentry {metadata.version(_DISTRIBUTION)}"
    except metadata.PackageNotFoundError:
        return "AppSentry"
