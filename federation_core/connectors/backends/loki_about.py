"""What Loki tells of itself: its release, and how new its lines are.

Rule: small requests only. The newest line is looked for among the streams that have one label, the likeliest: Loki
gives every stream a `service_name`, unless it is told not to.
Source: Grafana Loki documentation, "Loki HTTP API".
"""

from __future__ import annotations

from functools import partial
from typing import Final

from federation_core.connectors.about import LOOKED_BACK_MS, also_told, ask_object, first_told, named
from federation_core.connectors.backends.loki_api import FIRST_NS, LokiApi, Window
from federation_core.health import About
from federation_core.query import Deadline

_NS_PER_MS: Final = 1_000_000
_API: Final = "/loki/api/v1/"
#: Labels that streams mostly have, the likeliest first.
_LIKELY: Final = ("service_name", "job", "namespace")


def tell(api: LokiApi, deadline: Deadline) -> About:
    """Ask a Loki what it is.

    Raises Unreachable, TimedOut, QueryCanceled: it cannot be asked.
    """
    read = first_told(partial(ask_object, api.http, _API + "status/buildinfo", (), deadline, "Loki's API"))
    version = named("Loki", read.get("version")) if read else ""
    return About(version, also_told(partial(_newest_ms, api, deadline)))


def _newest_ms(api: LokiApi, deadline: Deadline) -> int | None:
    if deadline.clock is None:
        return None
    now_ns = deadline.clock() * _NS_PER_MS
    # What was written by a clock that is ahead of ours is new as well.
    window = Window(max(now_ns - LOOKED_BACK_MS * _NS_PER_MS, FIRST_NS), now_ns + 60_000 * _NS_PER_MS)
    # Those with two underscores are Loki's own.
    names = [name for name in api.label_names(window, deadline) if not name.startswith("__")]
    if not names:
        return None
    label = next((name for name in _LIKELY if name in names), names[0])
    fields = (("query", f'{{{label}=~".+"}}'), *window.fields, ("limit", "1"), ("direction", "backward"))
    read = ask_object(api.http, _API + "query_range", fields, deadline, "Loki's API")
    try:
        times_ns = [int(line[0]) for stream in read["data"]["result"] for line in stream["values"]]
    except (LookupError, TypeError, ValueError):
        return None
    return max(times_ns) // _NS_PER_MS if times_ns else None
