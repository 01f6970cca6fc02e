"""From the fields of a request to a `Query`: times, range, step, deadline and coverage, with their defaults.

Rule: fields that make no sense together are refused and not ranked, and so is a field that the signal would ignore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from federation_core.config import Settings
from federation_core.errors import InvalidRequest
from federation_core.query import Query, Requirement, TimeRange
from federation_core.tenancy import Scope
from federation_core.times import format_duration, parse_duration_ms, parse_time_ms

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
#: The longest that any result is kept after its query was submitted.
LONGEST_KEPT_MS = _DAY_MS
#: The default step divides the range by this and is a multiple of the step that metrics derived from spans have, or of
#: the longest interval at which a cluster that is asked is scraped.
_DEFAULT_STEPS = 250
_STEP_MS = 15_000
_TRACE_ID_DIGITS = frozenset("0123456789abcdefABCDEF")

Fields = Mapping[str, Any]


def query_from(fields: Fields, signal: str, text: str, scope: Scope, settings: Settings, now_ms: int) -> Query:
    """Build the query that validated `fields` describe.

    Raises InvalidRequest: naming the field, what was given and what would be right.
    """
    _require_meaning(fields, signal)
    return Query(
        signal=signal,
        text=text,
        time_range=_time_range(fields, signal, text, now_ms, _finest_step_ms(fields, scope, settings)),
        tenant_id=scope.tenant_id,
        clusters=fields.get("clusters", ()),
        environments=fields.get("environments", ()),
        limit=fields.get("limit", 0),
        direction=fields.get("direction", "backward"),
        requirement=Requirement.parse(fields.get("require", "best_effort")),
        timeout_ms=_timeout_ms(fields, settings),
    )


def keep_ms(text: str, created_ms: int, from_ms: int) -> int:
    """Read how long a result shall be kept from `from_ms` on, for a query that was submitted at `created_ms`.

    Raises InvalidRequest: it is no duration, or beyond the longest that any result is kept.
    """
    wanted_ms, longest_ms = parse_duration_ms(text, "keep"), max(0, created_ms + LONGEST_KEPT_MS - from_ms)
    if not 0 < wanted_ms <= longest_ms:
        raise InvalidRequest(
            f"keep: {text} is out of range",
            field="keep",
            got=text,
            expected=f"more than 0 and at most {format_duration(longest_ms // 1000 * 1000)}: a result is kept until"
            f" {format_duration(LONGEST_KEPT_MS)} after its query was submitted, and no longer",
        )
    return wanted_ms


def _require_meaning(fields: Fields, signal: str) -> None:
    for name, signals in (
        ("time", ("metrics",)),
        ("step", ("metrics",)),
        ("limit", ("traces", "logs", "series")),
        ("direction", ("traces", "logs")),
    ):
        if name in fields and signal not in signals:
            raise InvalidRequest(
                f"{name} means nothing for {signal}",
                field=name,
                got=str(fields[name]),
                expected=f"a query of {' or '.join(signals)}, or no {name}",
            )


def _time_range(fields: Fields, signal: str, text: str, now_ms: int, finest_ms: int) -> TimeRange:
    ranged = [name for name in ("start", "end", "step") if name in fields]
    if "time" in fields and ranged:
        raise InvalidRequest(
            f"time asks for one instant and {ranged[0]} for a range",
            field="time",
            got=fields["time"],
            expected="either time, or start, end and step",
        )
    if signal == "metrics" and not ranged:
        at_ms = parse_time_ms(fields.get("time", "now"), now_ms, "time")
        return TimeRange(at_ms, at_ms)
    if signal == "traces" and not ranged and is_trace_id(text):
        # A trace is asked for by name, whenever it was; clocks of clusters may run ahead of ours.
        return TimeRange(0, now_ms + _DAY_MS)
    end_ms = parse_time_ms(fields.get("end", "now"), now_ms, "end")
    start_ms = parse_time_ms(fields["start"], now_ms, "start") if "start" in fields else end_ms - _HOUR_MS
    if signal != "metrics":
        return TimeRange(start_ms, end_ms)
    return TimeRange(start_ms, end_ms, _step_ms(fields, start_ms, end_ms, finest_ms))


def is_trace_id(text: str) -> bool:
    """Tell whether a text is a trace's id rather than a search.

    >>> is_trace_id("4bf92f3577b34da6a3ce929d0e0e4736"), is_trace_id("{}")
    (True, False)
    """
    stripped = text.strip()
    return 0 < len(stripped) <= 32 and set(stripped) <= _TRACE_ID_DIGITS


def _finest_step_ms(fields: Fields, scope: Scope, settings: Settings) -> int:
    """Return the finest step that is taken unasked: one for all clusters, and who is scraped less repeats values."""
    clusters, environments = fields.get("clusters", ()), fields.get("environments", ())
    intervals = (
        cluster.scraped_every_ms("metrics") or 0
        for cluster in settings.clusters
        if cluster.name in scope.allowed
        and (not clusters or cluster.name in clusters)
        and (not environments or cluster.environment in environments)
    )
    return max(_STEP_MS, max(intervals, default=0))


def _step_ms(fields: Fields, start_ms: int, end_ms: int, finest_ms: int) -> int:
    if "step" not in fields:
        return max(1, -(-(end_ms - start_ms) // (_DEFAULT_STEPS * finest_ms))) * finest_ms
    step_ms = parse_duration_ms(fields["step"], "step")
    if step_ms == 0:
        raise InvalidRequest("step: is zero", field="step", got=fields["step"], expected="a duration above zero")
    return step_ms


def _timeout_ms(fields: Fields, settings: Settings) -> int:
    if "timeout" not in fields:
        return settings.default_timeout_ms
    timeout_ms = parse_duration_ms(fields["timeout"], "timeout")
    if not 0 < timeout_ms <= settings.max_timeout_ms:
        raise InvalidRequest(
            f"timeout: {fields['timeout']} is out of range",
            field="timeout",
            got=fields["timeout"],
            expected=f"more than 0 and at most {format_duration(settings.max_timeout_ms)}",
        )
    return timeout_ms
