"""Names, labels and buckets of the metrics derived from spans and logs.

Rule: one event is one increment of a row of values; the row says everything its series need. Edge metrics bear the
names of Grafana Tempo's service graph ("Metrics-generator / Service graphs"), bounds are those Prometheus'
client libraries use by default. `docs/embedded-store.md` is the written form.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from federation_core.connectors.otlp.derive_counters import Array, Key
from federation_core.connectors.otlp.naming import bound_text
from federation_core.connectors.stores.segments_series import SeriesTable

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS_S)
#: Values of a span's row: count, errors, nanoseconds, then the cumulative buckets. Nanoseconds add up exactly.
SPAN_WIDTH: Final = 3 + len(BOUNDS_S)
LOG_WIDTH: Final = 1
REMOTE: Final = "(remote)"

#: For each series of a key: metric name, type, `le`, and the column of the row it shows.
_Series = tuple[str, str, str, int]


def _latency(name: str) -> list[_Series]:
    buckets = [(name + "_bucket", "histogram", bound_text(bound), 3 + i) for i, bound in enumerate(BOUNDS_S)]
    rest = [(name + "_bucket", "histogram", "+Inf", 0), (name + "_sum", "histogram", "", 2)]
    return [*buckets, *rest, (name + "_count", "histogram", "", 0)]


_FAMILIES: Final[dict[str, tuple[tuple[str, ...], list[_Series]]]] = {
    "http": (
        ("namespace", "service", "pod", "operation"),
        [
            ("http_requests_total", "counter", "", 0),
            ("http_requests_errors_total", "counter", "", 1),
            *_latency("http_request_duration_seconds"),
        ],
    ),
    "edge": (
        ("client", "server"),
        [
            ("traces_service_graph_request_total", "counter", "", 0),
            ("traces_service_graph_request_failed_total", "counter", "", 1),
            *_latency("traces_service_graph_request_server_seconds"),
        ],
    ),
    "log": (("service", "level"), [("log_records_total", "counter", "", 0)]),
}


def span_row(duration_ns: int, failed: bool) -> tuple[float, ...]:
    """Return the increment one entry span makes."""
    buckets = tuple(1.0 if duration_ns <= bound else 0.0 for bound in _BOUNDS_NS)
    return (1.0, 1.0 if failed else 0.0, float(duration_ns), *buckets)


def series_numbers(table: SeriesTable, key: Key) -> Array:
    """Return the series numbers of a key, in the order of `series_values`."""
    label_names, series = _FAMILIES[key[0]]
    labels = dict(zip(label_names, key[1:], strict=True))
    return np.array([table.id_of(name, labels | ({"le": le} if le else {}), kind) for name, kind, le, _ in series])


def series_values(family: str, rows: Array) -> Array:
    """Spread rows (N × width) over the series of a key: N × series; durations become seconds."""
    columns = [column for *_, column in _FAMILIES[family][1]]
    values: np.ndarray[Any, np.dtype[Any]] = rows[:, columns]
    for place, column in enumerate(columns):
        if column == 2:
            values[:, place] /= 1e9
    return values
