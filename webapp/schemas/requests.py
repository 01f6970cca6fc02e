"""What requests may hold: one schema per body or set of URL parameters.

Rule: a field that is not listed is an error that names the ones that are.
"""

from __future__ import annotations

from marshmallow import RAISE, Schema, fields

from webapp.schemas.fields import Duration, Instant, Names, OneOf, Pairs, Text, WholeNumber

MAX_ENTRIES = 5_000
MAX_LISTED = 200
_CLUSTERS = "ask only these clusters; default: every one the token opens"
_ENVIRONMENTS = "ask only clusters of these environments"
_REQUIRE = (
    "the coverage the answer needs: all, best_effort (default), quorum:k (clusters), quorum:0.8 (of their weight)"
    " or critical:a,b"
)
_TIMEOUT = "the query's deadline from now; default 30s, at most 10m"
_LIMIT = "at most so many entries or traces"


class _Strict(Schema):
    class Meta:
        unknown = RAISE


class RangeBody(_Strict):
    """Fields of every query in a body: the range of time, the clusters, the coverage, the deadline."""

    start = Instant("the range begins here; default: an hour before its end")
    end = Instant("the range ends here; default: now")
    clusters = Names(_CLUSTERS)
    environments = Names(_ENVIRONMENTS)
    require = Text(_REQUIRE, "best_effort")
    timeout = Duration(_TIMEOUT)


class RangeParameters(_Strict):
    """The same fields as URL parameters."""

    start = Instant("the range begins here; default: an hour before its end")
    end = Instant("the range ends here; default: now")
    clusters = Names(_CLUSTERS, as_text=True)
    environments = Names(_ENVIRONMENTS, as_text=True)
    require = Text(_REQUIRE, "best_effort")
    timeout = Duration(_TIMEOUT)


class Submission(RangeBody):
    """One question of any signal."""

    signal = Text("metrics, traces, logs, exemplars, or series for what there is", "metrics", required=True)
    query = Text(
        "the text in the signal's language: PromQL, a trace id or TraceQL, LogQL, a question such as `labels`",
        "sum by (service) (rate(http_requests_total[5m]))",
        required=True,
    )
    time = Instant("metrics only: evaluate at this one instant; default without start, end and step: now")
    step = Duration(
        "metrics only: the distance of two values; default: a 250th of the range, at least 15s or what is scraped",
        "15s",
    )
    limit = WholeNumber(f"not metrics: {_LIMIT}", 1, MAX_ENTRIES)
    direction = OneOf("traces and logs only: newest first (backward, default) or oldest first", ("backward", "forward"))


class MatcherBody(_Strict):
    """One condition on one label."""

    label = Text("the label's name", "service", required=True)
    op = OneOf("how the value is compared; default =", ("=", "!=", "=~", "!~"), load_default="=")
    value = Text(
        "the value or RE2 pattern; empty means that the label is absent", "cart", may_be_empty=True, required=True
    )


class MetricsBody(RangeBody):
    """A query of metrics: either `query` in PromQL, or the structured form that begins with `metric`."""

    query = Text("PromQL; instead of the structured form", "sum(rate(http_requests_total[5m]))")
    metric = Text("structured: the metric's name", "http_requests_total")
    labels = Pairs("structured: labels that must have exactly these values")
    matchers = fields.List(
        fields.Nested(MatcherBody), metadata={"description": "structured: further conditions on labels"}
    )
    function = OneOf(
        "structured: applied to every series over `range`",
        (
            "rate",
            "increase",
            "irate",
            "delta",
            "avg_over_time",
            "min_over_time",
            "max_over_time",
            "sum_over_time",
            "count_over_time",
        ),
    )
    range = Duration("structured: the window of `function`; default 5m", "5m")
    aggregation = OneOf("structured: applied last, over all clusters", ("sum", "avg", "min", "max", "count"))
    groupBy = Names("structured: keep these labels apart; `cluster` is one of them")
    time = Instant("evaluate at this one instant; default without start, end and step: now")
    step = Duration("the distance of two values; default: a 250th of the range, at least 15s or what is scraped", "15s")


class TraceSearch(RangeParameters):
    """A search of traces: either `q` in TraceQL, or the parameters that describe a span."""

    q = Text("TraceQL; instead of the other conditions", '{ resource.service.name = "cart" && duration > 100ms }')
    service = Text("a span of this service", "cart")
    operation = Text("a span of this operation", "GET /cart")
    minDuration = Duration("a span that took at least so long", "100ms")
    maxDuration = Duration("a span that took at most so long", "2s")
    status = OneOf("a span with this status", ("error", "ok", "unset"))
    tags = Pairs("a span with these attributes: key=value, several with commas", as_text=True)
    limit = WholeNumber(_LIMIT, 1, MAX_ENTRIES, as_text=True)


class LogSearch(RangeBody):
    """A search of logs: either `query` in LogQL, or the structured fields."""

    query = Text("LogQL; instead of the structured form", '{service="cart"} |= "timeout"')
    labels = Pairs("structured: stream labels that must have exactly these values")
    text = Text("structured: lines that contain this text", "timeout")
    regex = Text("structured: lines in which this RE2 pattern is found", "time(out|d)")
    level = Text("structured: entries of this level", "error")
    traceId = Text("structured: entries of this trace")
    limit = WholeNumber(f"{_LIMIT}; default 100", 1, MAX_ENTRIES)
    direction = OneOf("newest first (backward, the default) or oldest first", ("backward", "forward"))


class Listing(_Strict):
    """Parameters of the list of queries."""

    limit = WholeNumber("at most so many, newest first", 1, MAX_LISTED, as_text=True, load_default=50)


class Paging(_Strict):
    """Which rows of a result."""

    limit = WholeNumber(
        "rows per page; without it and without cursor everything comes at once", 1, MAX_ENTRIES, as_text=True
    )
    cursor = Text("the `cursor` of the page before")


class Keeping(_Strict):
    """How long a result is kept."""

    keep = Duration("for so long from now; until a day after the query was submitted at most", "2h", required=True)
