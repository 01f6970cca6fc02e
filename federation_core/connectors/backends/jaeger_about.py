"""What Jaeger tells of itself: how new its traces are. Its API does not tell which release it is.

Rule: few and small requests only, and Jaeger's search looks at one service. A few services are looked at; where there
are more, what those tell is passed on only while it is fresh: the others may have newer spans.
Source: Jaeger documentation, "APIs".
"""

from __future__ import annotations

from functools import partial
from typing import Final

from federation_core.connectors.about import LOOKED_BACK_MS, also_told, first_told
from federation_core.connectors.backends.jaeger_api import JaegerApi
from federation_core.connectors.backends.jaeger_query import JaegerQuery
from federation_core.connectors.trace_search import Allowance
from federation_core.health import About
from federation_core.query import Deadline

#: Services that are looked at.
_FEW: Final = 4
_FRESH_MS: Final = 120_000
_SMALL_BYTES: Final = 8 * 1024 * 1024
_NS_PER_MS: Final = 1_000_000


def tell(api: JaegerApi, deadline: Deadline) -> About:
    """Ask a Jaeger how new its traces are.

    Raises Unreachable, TimedOut, QueryCanceled: it cannot be asked.
    """
    services = first_told(partial(api.services, deadline)) or ()
    if deadline.clock is None:
        return About()
    now_ms, newest_ms = deadline.clock(), 0
    for service in services[:_FEW]:
        newest_ms = max(newest_ms, also_told(partial(_newest_ms, api, service, now_ms, deadline)) or 0)
        if newest_ms >= now_ms - _FRESH_MS:
            return About(newest_ms=newest_ms)
    return About(newest_ms=newest_ms or None) if len(services) <= _FEW else About()


def _newest_ms(api: JaegerApi, service: str, now_ms: int, deadline: Deadline) -> int | None:
    # What was written by a clock that is ahead of ours is new as well.
    start_s, end_s = (now_ms - LOOKED_BACK_MS) // 1000, now_ms // 1000 + 60
    allowance = Allowance(api.http.cluster, _SMALL_BYTES)
    found = api.search(JaegerQuery(), service, start_s, end_s, 1, deadline, allowance)
    starts_ns = [span.start_ns for spans in found.traces.values() for span in spans]
    return max(starts_ns) // _NS_PER_MS if starts_ns else None
