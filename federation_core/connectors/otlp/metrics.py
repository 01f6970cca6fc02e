"""OTLP metrics to Prometheus samples.

Rule: names and types survive; what Prometheus cannot hold exactly is refused by name and counted, never bent.
Delta temporality and exponential histograms are refused, min and max of a histogram and exemplars have no
place here. Source: OpenTelemetry Protocol, metrics.proto; "Prometheus and OpenMetrics Compatibility".
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from federation_core.connectors.otlp.naming import bound_text, metric_name
from federation_core.connectors.otlp.resources import Resource
from federation_core.connectors.otlp.samples import STALE, Samples, attributes_key
from federation_core.connectors.otlp.values import camelise, read_enum, read_float, read_int, read_time_ns

_TEMPORALITIES: Final = ("unspecified", "delta", "cumulative")
_NO_RECORDED_VALUE: Final = 1
_SHAPES: Final = ("gauge", "sum", "histogram", "summary", "exponentialHistogram")


def read_metrics(
    scope_metrics: Any, resource: Resource, latest_ns: int, samples: Samples, reject: Callable[[str, int], None]
) -> None:
    """Add the samples of one resource's metrics and hand reason and number of points refused to `reject`."""
    for scoped in scope_metrics:
        for raw in scoped.get("metrics") or ():
            metric, shape = raw, next((shape for shape in _SHAPES if shape in raw), "")
            if not shape or any("_" in key for key in raw):
                metric = camelise(raw)
                shape = next((shape for shape in _SHAPES if shape in metric), "")
            try:
                _read_metric(metric, shape, resource, latest_ns, samples, reject)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                body = metric.get(shape) if isinstance(metric, dict) else None
                points = len(body.get("dataPoints", ())) if isinstance(body, dict) else 1
                name = metric.get("name") if isinstance(metric, dict) else None
                reject(f"metric {name!r}: {error if type(error) is ValueError else repr(error)}", max(1, points))


def _read_metric(
    metric: Any, shape: str, resource: Resource, latest_ns: int, samples: Samples, reject: Callable[[str, int], None]
) -> None:
    body = metric[shape] if shape else {}
    given, unit = metric["name"], metric.get("unit", "")
    if shape == "exponentialHistogram":
        raise ValueError("exponential histograms are not supported; have the SDK send explicit buckets")
    if shape in ("sum", "histogram"):
        temporality = read_enum(
            body.get("aggregationTemporality", 0), _TEMPORALITIES, "AGGREGATION_TEMPORALITY_", "aggregationTemporality"
        )
        if temporality != "cumulative":
            raise ValueError(f"{temporality} temporality is not supported; have the SDK or Collector send cumulative")
    read_point: Callable[[Any, Series], None]
    match shape:
        case "sum" if body.get("isMonotonic"):
            series = Series(samples, resource, metric_name(given, unit, monotonic=True), "counter", unit)
            read_point = _read_number
        case "gauge" | "sum":
            series = Series(samples, resource, metric_name(given, unit, gauge=True), "gauge", unit)
            read_point = _read_number
        case "histogram":
            series = Series(samples, resource, metric_name(given, unit), "histogram", unit)
            read_point = _read_histogram
        case "summary":
            series = Series(samples, resource, metric_name(given, unit), "summary", unit)
            read_point = _read_summary
        case _:
            raise ValueError(f"neither of {', '.join(_SHAPES)}")
    for point in body.get("dataPoints") or ():
        try:
            series.at(point, latest_ns)
            read_point(point, series)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reject(f"metric {given!r}: {error if type(error) is ValueError else repr(error)}", 1)


class Series:
    """The series of one sender's metric, positioned at one data point."""

    def __init__(self, samples: Samples, resource: Resource, name: str, kind: str, unit: str) -> None:
        self._samples = samples
        self._resource, self._name, self._kind, self._unit = resource, name, kind, unit
        self._known: dict[str, dict[tuple[bytes, str], int]] = {}
        self._attributes: Any = None
        self._key = b""
        self._t_ms = 0
        self._stale = False

    def at(self, point: Any, latest_ns: int) -> None:
        """Move to a data point: its attributes, its time, and whether it says that the series ended."""
        self._t_ms = read_time_ns(point.get("timeUnixNano"), "timeUnixNano", latest_ns) // 1_000_000
        self._attributes = point.get("attributes")
        self._key = attributes_key(self._attributes)
        self._stale = bool(int(point.get("flags", 0)) & _NO_RECORDED_VALUE)

    @property
    def stale(self) -> bool:
        """Whether the point carries no value."""
        return self._stale

    def add(self, value: float, suffix: str = "", label: str = "", label_value: str = "") -> None:
        """Add one sample at the point; a stale marker where the point carries no value."""
        known = self._known.get(suffix)
        if known is None:
            known = self._known[suffix] = self._samples.of_metric(self._resource, self._name + suffix)
        key = (self._key, label_value)
        number = known.get(key)
        if number is None:
            extra = {label: label_value} if label else {}
            number = known[key] = self._samples.number_of(
                self._resource, self._name + suffix, self._kind, self._unit, self._attributes, extra
            )
        self._samples.add(number, self._t_ms, STALE if self._stale else value)


def _read_number(point: Any, series: Series) -> None:
    if "asDouble" in point:
        series.add(read_float(point["asDouble"], "asDouble"))
    elif "asInt" in point:
        series.add(float(read_int(point["asInt"], "asInt")))
    elif series.stale:
        series.add(STALE)
    else:
        raise ValueError("a data point with neither asDouble nor asInt")


def _read_histogram(point: Any, series: Series) -> None:
    bounds = [read_float(bound, "explicitBounds") for bound in point.get("explicitBounds", ())]
    counts = [read_int(count, "bucketCounts") for count in point.get("bucketCounts", ())]
    if counts and len(counts) != len(bounds) + 1:
        raise ValueError(f"{len(counts)} bucketCounts for {len(bounds)} explicitBounds, expected one more")
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError("explicitBounds do not increase")
    count, running = read_int(point.get("count", 0), "count"), 0
    total = read_float(point["sum"], "sum") if "sum" in point else None
    for bound, in_bucket in zip(bounds, counts, strict=False):
        running += in_bucket
        series.add(float(running), "_bucket", "le", bound_text(bound))
    series.add(float(count), "_bucket", "le", "+Inf")
    if total is not None:
        series.add(total, "_sum")
    series.add(float(count), "_count")


def _read_summary(point: Any, series: Series) -> None:
    count, total = read_int(point.get("count", 0), "count"), read_float(point.get("sum", 0), "sum")
    quantiles = [
        (bound_text(read_float(item.get("quantile", 0), "quantile")), read_float(item.get("value", 0), "value"))
        for item in point.get("quantileValues", ())
    ]
    for quantile, value in quantiles:
        series.add(value, "", "quantile", quantile)
    series.add(total, "_sum")
    series.add(float(count), "_count")
