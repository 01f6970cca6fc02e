"""The Prometheus façade: exemplars, by which Grafana leads from a panel to a trace.

Rule: an expression is asked about by its selectors. The answer is a list whatever it holds, because Grafana takes
anything else for a server that has no exemplars; it finds that out with milliseconds where seconds belong, a time in
which nothing can be and about which no cluster is asked.
Source: Prometheus documentation, "HTTP API / Querying exemplars".
"""

from __future__ import annotations

from typing import Final

from flask import Response

from federation_core.query import TimeRange
from federation_core.signals.exemplars import KIND
from federation_core.signals.exemplars.expr import Wanted, to_text
from federation_core.signals.metrics.expr import selectors
from federation_core.signals.metrics.parse import parse
from federation_core.times import MAX_MS
from webapp.ask import pipeline
from webapp.auth import scope
from webapp.facades import prometheus_parameters as parameters
from webapp.facades.prometheus_envelope import answer, failure, success

_DAY_MS: Final = 86_400_000


def exemplars_of(text: str) -> Response:
    """Answer with the exemplars of the series that an expression selects, between `start` and `end`."""
    # Clocks of clusters may run ahead of ours.
    latest_ms = pipeline().clock() + _DAY_MS
    start_ms, end_ms = _instant_ms("start", 0), _instant_ms("end", latest_ms)
    selected = tuple(dict.fromkeys(node.selector for node in selectors(parse(text))))
    if not selected or start_ms > latest_ms:
        return success([])
    span = TimeRange(start_ms, end_ms) if end_ms < MAX_MS else TimeRange(start_ms, latest_ms)
    asking = pipeline()
    asked = to_text(Wanted(selected))
    query = parameters.query_of(KIND.name, asked, span, scope().tenant_id, asking.settings)
    _, result = asking.answer(query, scope())
    if result.error is not None:
        return failure(result, result.error)
    return answer(result, KIND.to_json(result.payload, query)["result"])


def _instant_ms(name: str, default_ms: int) -> int:
    """Read a time; one after the year 9999 is the end of that."""
    try:
        is_far = float(parameters.text(name) or "0") > MAX_MS / 1000
    except ValueError:
        is_far = False
    return MAX_MS if is_far else parameters.instant_ms(name, default_ms)
