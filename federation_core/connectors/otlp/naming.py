"""OTLP metric and attribute names as Prometheus names.

Rule: a name that is a good Prometheus name already stays as it is. Source: OpenTelemetry specification,
"Prometheus and OpenMetrics Compatibility" (metric metadata, sums, gauges, metric attributes); units are UCUM.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Final

_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "B": "bytes",
    "KB": "kilobytes",
    "MB": "megabytes",
    "GB": "gigabytes",
    "TB": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_NOT_IN_METRIC: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")


@lru_cache(maxsize=8192)
def metric_name(name: str, unit: str, *, monotonic: bool = False, gauge: bool = False) -> str:
    """Return the Prometheus name of an OTLP metric.

    Raises ValueError: nothing is left of the name.

    >>> metric_name("http.server.request.duration", "s"), metric_name("jobs", "{job}", monotonic=True)
    ('http_server_request_duration_seconds', 'jobs_total')
    >>> metric_name("cpu.utilization", "1", gauge=True), metric_name("net.io", "By/s", gauge=True)
    ('cpu_utilization_ratio', 'net_io_bytes_per_second')
    >>> metric_name("process_cpu_seconds_total", "s", monotonic=True)
    'process_cpu_seconds_total'
    """
    words = [word for word in _NOT_IN_METRIC.split(name) if word]
    if not words:
        raise ValueError(f"metric name {name!r} has no character that Prometheus allows")
    main, per = unit_words(unit)
    if main and main not in words:
        words += [main]
    if per and not (len(words) > 1 and words[-2:] == ["per", per]) and per not in words:
        words += ["per", per]
    if monotonic:
        words = [word for word in words if word != "total"] + ["total"]
    elif gauge and unit == "1":
        words = [word for word in words if word != "ratio"] + ["ratio"]
    text = "_".join(words)
    return "_" + text if text[0].isdigit() else text


def unit_words(unit: str) -> tuple[str, str]:
    """Return the words for a unit and for what it is per; braces are annotations and carry no unit."""
    main, _, per = _ANNOTATION.sub("", unit).strip().partition("/")
    return _word(main, _UNITS), _word(per, _PER)


def _word(text: str, known: dict[str, str]) -> str:
    text = text.strip()
    return known.get(text, "_".join(word for word in _NOT_IN_METRIC.split(text) if word))


@lru_cache(maxsize=8192)
def label_name(name: str) -> str:
    """Return the Prometheus label of an attribute.

    >>> label_name("http.route"), label_name("3xx"), label_name("_a"), label_name("__a")
    ('http_route', 'key_3xx', 'key_a', '__a')
    """
    text = _NOT_IN_LABEL.sub("_", name)
    if text[:1].isdigit():
        return "key_" + text
    return "key" + text if text.startswith("_") and not text.startswith("__") else text


def point_labels(attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the labels of a data point; attributes whose names collide are joined with `;` in key order."""
    labels: dict[str, str] = {}
    for key, value in sorted(attributes):
        name = label_name(key)
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    return labels


def bound_text(bound: float) -> str:
    """Print a bucket's bound as Prometheus does, without an exponent.

    >>> bound_text(1.0), bound_text(0.005), bound_text(1e-7), bound_text(float("inf"))
    ('1', '0.005', '0.0000001', '+Inf')
    """
    if bound in (float("inf"), float("-inf")):
        return "+Inf" if bound > 0 else "-Inf"
    text = format(Decimal(repr(bound)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
