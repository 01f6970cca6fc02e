"""What can be done here, as Prometheus says it of itself since its release 3.8 (`/api/v1/features`).

Rule: what is said to be there is, and works as in Prometheus; what belongs to a server that scrapes, stores or alerts
is left out, because there is no such server here.
Source: Prometheus documentation, "HTTP API / Features".
"""

from __future__ import annotations

from federation_core.labels import MatchOp
from federation_core.signals.metrics.expr import PRECEDENCE
from federation_core.signals.metrics.functions import FUNCTIONS
from federation_core.signals.metrics.parse import SUPPORTED_AGGREGATIONS

_API = {
    "admin": False,
    "exclude_alerts": False,
    "label_values_match": True,
    "lifecycle": False,
    "otlp_write_receiver": False,
    "query_stats": False,
    "query_warnings": True,
    "remote_write_receiver": False,
    "time_range_labels": True,
    "time_range_series": True,
}
_LANGUAGE = {
    **dict.fromkeys(
        ("at_modifier", "bool", "by", "fill", "fill_left", "fill_right", "group_left", "group_right"), True
    ),
    **dict.fromkeys(("ignoring", "negative_offset", "offset", "on", "subqueries", "without"), True),
    **dict.fromkeys(("anchored", "delayed_name_removal", "duration_expr", "per_query_lookback_delta"), False),
    **dict.fromkeys(("per_step_stats", "smoothed", "type_and_unit_labels"), False),
}


def features() -> dict[str, dict[str, bool]]:
    """Return category → feature → whether it is there."""
    operators = {*PRECEDENCE, *SUPPORTED_AGGREGATIONS, *(op.value for op in MatchOp if op is not MatchOp.EQ), "@"}
    return {
        "api": dict(_API),
        "promql": dict(_LANGUAGE),
        "promql_functions": dict.fromkeys(sorted(FUNCTIONS), True) | {"info": False},
        "promql_operators": dict.fromkeys(sorted(operators), True),
    }
