"""What Tempo tells of itself: its release, and how new its traces are.

Rule: small requests only. Which traces a search finds first is Tempo's choice, so that the newest is looked for in
what is recent before it is looked for in the hour: what is told lags by the shorter stretch at most.
Source: Grafana Tempo documentation, "Tempo HTTP API".
"""

from __future__ import annotations

from functools import partial
from typing import Final

from federation_core.connectors.about import LOOKED_BACK_MS, also_told, ask_object, first_told, named
from federation_core.connectors.backends.tempo_api import API, TempoApi
from federation_core.health import About
from federation_core.query import Deadline

_STRETCHES_S: Final = (120, LOOKED_BACK_MS // 1000)
_NS_PER_MS: Final = 1_000_000


def tell(api: TempoApi, deadline: Deadline) -> About:
    """Ask a Tempo what it is.

    Raises Unreachable, TimedOut, QueryCanceled: it cannot be asked.
    """
    read = first_told(partial(ask_object, api.http, "/api/status/buildinfo", (), deadline, API))
    version = named("Tempo", read.get("version")) if read else ""
    newest_ms = None
    for stretch_s in _STRETCHES_S:
        if newest_ms is None:
            newest_ms = also_told(partial(_newest_ms, api, stretch_s, deadline))
    return About(version, newest_ms)


def _newest_ms(api: TempoApi, stretch_s: int, deadline: Deadline) -> int | None:
    if deadline.clock is None:
        return None
    now_s = deadline.clock() // 1000
    # What was written by a clock that is ahead of ours is new as well.
    fields = (("q", "{}"), ("start", str(now_s - stretch_s)), ("end", str(now_s + 60)), ("limit", "1"))
    read = ask_object(api.http, "/api/search", fields, deadline, API)
    try:
        starts_ns = [int(trace["startTimeUnixNano"]) for trace in read.get("traces") or ()]
    except (LookupError, TypeError, ValueError):
        return None
    return max(starts_ns) // _NS_PER_MS if starts_ns else None
