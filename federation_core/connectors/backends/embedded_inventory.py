"""What an embedded store holds: services and their pods, metric and label names, time bounds.

Rule: segments never change, so each is looked through once and its finding kept.
"""

from __future__ import annotations

from federation_core.connectors.backends.embedded_metrics import series_index
from federation_core.connectors.stores.segments_layout import Manifest, Segment
from federation_core.connectors.stores.segments_read import SegmentReader
from federation_core.inventory import Inventory

#: (namespace, service, pod)
_Place = tuple[str, str, str]


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
