"""The lab's metrics as the generator knows them: labels, their values, and what is known of the samples.

Rule: the samples come from `tests/oracle/lab_data.py`; what is said of them here is asserted by the test that uses it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.oracle.lab_data import BOUNDS, PLACED, SERVICES, T0_S
from tests.support.random_queries.facts import Facts

#: Milliseconds after the full second at which queries are asked; no target is scraped there, and none at the full one.
PHASE_MS = 137
#: Evaluation times, in seconds after the start of the data.
FIRST_S, LAST_S = 600, 6900

TARGET = frozenset({"cluster", "namespace", "service", "pod"})
VALUES = {
    "cluster": tuple(PLACED),
    "namespace": ("edge", "shop", "pay", "data", "platform"),
    "service": tuple(SERVICES),
    "pod": ("redis-0", "redis-1"),
    "code": ("200", "404", "500"),
    "method": ("GET", "POST"),
    "le": BOUNDS,
    "node": ("prod-node-0", "dev-node-1", "stage-node-2"),
    "team": ("team-0", "team-1", "team-2"),
}
PATTERNS = {
    "cluster": ("prod|dev|stage", ".*prod", "p.+|s.+", ".+", "(?i)PROD|TEST"),
    "namespace": ("edge|data", ".*", "[a-e].*"),
    "service": ("gateway|redis", "c.*", ".+t.*", "redis|auth|checkout|gateway"),
    "pod": ("redis-[01]", "gateway-.*", ".*[0-4]", "[a-r].+"),
    "code": ("2..|5..", "[^5].*", "40[0-9]"),
    "method": ("GET|HEAD", "P.*"),
    "le": ("0\\\\.1|.*Inf", "0.*|\\\\+Inf"),
    "node": (".*-node-[01]", "p.*|d.*"),
    "team": ("team-[12]",),
}


@dataclass(frozen=True)
class Metric:
    """A metric name and what is known of its samples. `level` is a value that about half of them exceed."""

    name: str
    facts: Facts
    level: float
    weight: int = 1


def _counter(name: str, labels: frozenset[str], bound: float, whole: bool = True, weight: int = 1) -> Metric:
    facts = Facts(labels=labels, named=True, whole=whole, sign=1, bound=bound, climbs=True)
    return Metric(name, facts, 1e5, weight)


def _gauge(name: str, labels: frozenset[str], bound: float, level: float, whole: bool, weight: int = 1) -> Metric:
    return Metric(name, Facts(labels=labels, named=True, whole=whole, sign=1, bound=bound), level, weight)


_DURATION = "http_request_duration_seconds"
BUCKETS = _counter(f"{_DURATION}_bucket", TARGET | {"le"}, 1e8)
RATIO = _gauge("cache_hit_ratio", TARGET, 1.0, 0.75, whole=False, weight=3)
MEMORY = _gauge("container_memory_working_set_bytes", TARGET, 4e9, 4.5e8, whole=True, weight=3)
METRICS = (
    _counter("http_requests_total", TARGET | {"code", "method"}, 1e8, weight=4),
    BUCKETS,
    _counter(f"{_DURATION}_sum", TARGET, 1e8, whole=False, weight=2),
    _counter(f"{_DURATION}_count", TARGET, 1e8, weight=2),
    replace(MEMORY, facts=replace(MEMORY.facts, wide=True)),
    # It has NaN samples.
    replace(RATIO, facts=replace(RATIO.facts, finite=False)),
    _gauge("queue_depth", TARGET, 150.0, 6.0, whole=True, weight=4),
    _gauge("up", TARGET, 1.0, 0.5, whole=True, weight=3),
    _gauge("node_load1", frozenset({"cluster", "node"}), 8.0, 4.0, whole=False, weight=2),
    _gauge("service_owner_info", frozenset({"cluster", "service", "team"}), 1.0, 0.5, whole=True),
)
#: Rows of two names with otherwise equal labels: what drops the name makes duplicates of them.
TWO_NAMES = _gauge("", TARGET, 150.0, 1.0, whole=True)
TWO_NAMES = replace(TWO_NAMES, facts=replace(TWO_NAMES.facts, many_names=True))
NO_METRIC = _gauge("no_such_metric", TARGET, 1.0, 0.5, whole=True)


def moment_s(rng: random.Random) -> str:
    """Draw an instant within the data, printed in unix seconds."""
    return f"{T0_S + rng.randrange(FIRST_S, LAST_S)}.{PHASE_MS}"
