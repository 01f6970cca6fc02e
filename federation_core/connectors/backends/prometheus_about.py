"""What a backend behind Prometheus' HTTP API tells of itself: which one it is, and how new its data are.

Rule: small requests only. Prometheus has the time of its newest sample at hand; of others, and of a Prometheus that
has taken no sample since it started, the newest is that of `up`, which whatever scrapes writes for every target.
Source: Prometheus documentation, "HTTP API / TSDB Stats".
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from federation_core.connectors.about import also_told, first_told, named
from federation_core.connectors.backends.prometheus_api import PrometheusApi, SampleCap
from federation_core.connectors.backends.prometheus_engine import dialect_of
from federation_core.health import About
from federation_core.query import Deadline, TimeRange
from federation_core.signals.metrics.dialect import UNKNOWN

#: Engines whose `version` is their own release; VictoriaMetrics makes one up.
_TELL_RELEASE: Final = frozenset({"Prometheus", "Thanos", "Mimir"})
#: The second is for data that came to an end: it is asked only where the first finds none.
_NEWEST: Final = ("max(timestamp(up))", "max(max_over_time(timestamp(up)[1h:1m]))")

#: Seconds since the epoch from here on are none.
_NO_TIME_S: Final = 1e11


def tell(api: PrometheusApi, deadline: Deadline) -> About:
    """Ask a backend what it is.

    Raises Unreachable, TimedOut, QueryCanceled: it cannot be asked.
    """
    reply = first_told(partial(api.get, "status/buildinfo", (), deadline))
    engine, version = UNKNOWN.engine, ""
    if reply is not None and (found := dialect_of(reply.data, reply.headers)) != UNKNOWN:
        engine = found.engine
        version = named(engine, reply.data.get("version") if engine in _TELL_RELEASE else None)
    newest_ms = None
    if engine == "Prometheus":
        newest_ms = also_told(partial(head_newest_ms, api, deadline))
    for text in _NEWEST:
        if newest_ms is None:
            newest_ms = also_told(partial(_evaluated_ms, api, text, deadline))
    return About(version, newest_ms)


def head_newest_ms(api: PrometheusApi, deadline: Deadline) -> int | None:
    """Return the time of the newest sample that a Prometheus has taken; None where it does not tell.

    Raises ClusterError, QueryCanceled.
    """
    data: Any = api.get("status/tsdb", (), deadline).data
    try:
        newest = data["headStats"]["maxTime"]
    except (LookupError, TypeError):
        return None
    # Before the first sample it is the least number that there is.
    return newest if isinstance(newest, int) and newest > 0 else None


def _evaluated_ms(api: PrometheusApi, text: str, deadline: Deadline) -> int | None:
    if deadline.clock is None:
        return None
    now_ms = deadline.clock()
    reply = api.query(text, TimeRange(now_ms, now_ms), deadline, SampleCap(api.http.cluster, "max_values", 10))
    try:
        newest_s = float(reply.data["result"][0]["value"][1])
    except (LookupError, TypeError, ValueError):
        return None
    return round(newest_s * 1000) if 0 < newest_s < _NO_TIME_S else None
