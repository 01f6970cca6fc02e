"""What one cluster has, as its backends list it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Inventory:
    """What one cluster has: services as (namespace, service) → pods, metric and label names, time bounds."""

    services: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    metric_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    oldest_ms: int | None = None
    newest_ms: int | None = None
