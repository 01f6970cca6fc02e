"""What each construct of the language must answer while `stage` is dark.

`decided` is the query whose answer, over the clusters that are left, is ours: the query itself where its value is over
those that answered; less than it, or nothing, where a sample would be made of a missing series. A construct that is
undecided then names itself in a warning.
"""

from __future__ import annotations

from dataclasses import dataclass

from federation_core.query import TimeRange
from tests.integration.dark_links.planted import START_S

_AT_MS = (START_S + 1_500) * 1000
INSTANT = TimeRange(_AT_MS, _AT_MS)
RANGE = TimeRange((START_S + 300) * 1000, _AT_MS, 60_000)
#: Stands for "no sample".
NOTHING = "vector(1) > 2"


@dataclass(frozen=True)
class Construct:
    """`undecided` is how a warning names the node; `as_oracle` says the same to an engine without the construct."""

    query: str
    decided: str = ""
    undecided: str = ""
    asked: TimeRange = INSTANT
    as_oracle: str = ""
    #: Whether a wrong answer would be told apart: one with the dark cluster in it, or one that takes it for empty.
    differs: bool = True

    @property
    def over_the_rest(self) -> str:
        """The query that the server without the dark cluster answers as we must."""
        return self.decided or self.as_oracle or self.query

    @property
    def over_all(self) -> str:
        """The query that the server with everything answers as we must while no cluster is dark."""
        return self.as_oracle or self.query

    def __str__(self) -> str:
        return self.query + (" over time" if self.asked.step_ms else "")


def _undecided(construct: str, query: str, decided: str = NOTHING, **how: object) -> Construct:
    return Construct(query, decided, construct, **how)  # type: ignore[arg-type]


_OR = "the right side of or"
_REQUESTS = "sum by (service) (rate(requests_total[2m]))"
_SLOW = "histogram_quantile(0.9, sum by (le) (rate(seconds_bucket[2m])))"
_ERRORS_OR_NONE = "sum(errors_total) or vector(0)"

#: The value is over the clusters that answered.
VALUES = [
    Construct("load"),
    *(Construct(f"{name}(load)") for name in ("sum", "count", "avg", "min", "max", "stddev", "stdvar")),
    *(Construct(text, asked=RANGE) for text in ("sum(load)", "avg(load)", _REQUESTS, "topk(2, load)", _SLOW)),
    Construct("group(load)", differs=False),
    Construct("sum without (cluster, node) (load)"),
    Construct("count by (cluster) (up)"),
    Construct("topk(3, load)"),
    Construct("bottomk(2, load)"),
    Construct("quantile(0.9, load)"),
    Construct('count_values("state", up)'),
    Construct(_SLOW),
    Construct("timestamp(load)"),
    Construct("sort_desc(load)"),
    Construct("load * on (node) group_left () (load > bool 20)"),
    # Joins whose right, or left, side only the dark cluster has.
    Construct(f"{_REQUESTS} / on (service) sum by (service) (quota)"),
    Construct(f"sum by (service) (quota) / on (service) {_REQUESTS}"),
    Construct("requests_total * on (service) group_left (team) owner"),
    Construct("max(load) < 90"),
    Construct("sum(errors_total) > 0"),
    Construct("avg(load) > bool 50", differs=False),
    Construct(f"{_REQUESTS} and on (service) quota"),
    Construct(f"quota and on (service) {_REQUESTS}"),
    Construct("sum by (service) (errors_total) or sum by (service) (requests_total)"),
    Construct("scalar(sum(errors_total))"),
    Construct("load > scalar(avg(load))"),
    Construct("max_over_time(sum(load)[5m:1m])"),
    Construct("avg_over_time(count(up)[5m:1m])", asked=RANGE),
    Construct('sum by (of) (label_replace(load, "of", "$1", "cluster", "(.).*"))'),
    # What is taken away by a cluster that is there, and by a series' own cluster, is decided.
    Construct('sum by (service) (errors_total) unless on (service) owner{cluster="prod"}'),
    Construct("up unless on (cluster, instance) (up == 0)"),
    # A default that belongs to no cluster hides behind no series that does.
    Construct("errors_total or vector(0)"),
    Construct("sum(load) or vector(0)"),
    Construct("sum(load) or vector(0)", asked=RANGE),
]

#: No cluster, or not the dark one, is asked: the answer is complete.
COMPLETE = [
    Construct("1 + 1"),
    Construct("vector(time())", asked=RANGE),
    Construct('load{cluster="prod"}'),
    Construct('sum(load{cluster!~"st.*"})'),
    Construct('sum(load{cluster=~"prod|dev"}) / count(up{cluster="dev"})', asked=RANGE),
    Construct('absent(up{job="mail",cluster="prod"})'),
    Construct('absent(up{job="nowhere",cluster="prod"})'),
    Construct('absent_over_time(up{job="dns",cluster="dev"}[5m])'),
    Construct('sum(errors_total{cluster="dev"}) or vector(0)'),
    Construct('load{cluster="dev"} unless on () errors_total{cluster="prod"}'),
]

#: A series in a living cluster decides that it is there, and nothing is said about it.
PRESENT = [
    Construct('absent(up{job="web"})', differs=False),
    Construct('absent(up{job="mail"})', differs=False),
    Construct('absent_over_time(up{job="mail"}[5m])', differs=False, asked=RANGE),
    Construct("absent(sum(load))", differs=False),
    # `stage` is asked for the load and not for the target.
    Construct('absent(up{job="nowhere",cluster="prod"}) * on () group_right () sum(load)'),
]

#: A sample that is made of a missing series has no value.
UNDECIDED = [
    *(
        _undecided("absent", f"absent({operand})")
        for operand in ('up{job="nowhere"}', 'up{job="dns"}', "sum(errors_total)", "sum(load) > 10000")
    ),
    _undecided("absent", 'absent(up{job="dns"})', asked=RANGE),
    # Present while the series lasts, and then nobody knows.
    _undecided("absent", "absent(retries_total)", asked=RANGE),
    # The plan asks for it as it asks for `absent`.
    _undecided("absent", 'absent_over_time(up{job="dns"}[5m])'),
    _undecided("absent_over_time", "absent_over_time(sum(errors_total)[5m:1m])"),
    _undecided("absent", 'count(absent(up{job="dns"}))'),
    _undecided("absent", 'vector(scalar(absent(up{job="dns"}))) > 0'),
    _undecided(_OR, _ERRORS_OR_NONE, "sum(errors_total)"),
    _undecided(_OR, "sum(retries_total) or vector(0)", "sum(retries_total)", asked=RANGE),
    _undecided(_OR, f"({_ERRORS_OR_NONE}) < 1"),
    _undecided(_OR, "errors_total or on () vector(0)", "errors_total"),
    _undecided(_OR, f"100 * ({_ERRORS_OR_NONE}) / sum(load)"),
    _undecided(_OR, f"max_over_time(({_ERRORS_OR_NONE})[5m:1m])"),
    _undecided(_OR, f"{_REQUESTS} - on () group_left () ({_ERRORS_OR_NONE})", asked=RANGE),
    _undecided(
        _OR,
        'count by (cluster) (up) or label_replace(vector(0), "cluster", "stage", "", "")',
        "count by (cluster) (up)",
    ),
    _undecided("unless", f"{_REQUESTS} unless on (service) (blocked == 1)"),
    # Neither is it known whether there is something to take away by.
    _undecided("unless", 'sum(load) unless on () absent(up{job="dns"})', differs=False),
    _undecided("absent", 'absent(absent(up{job="dns"}))', differs=False),
    _undecided("unless", "load unless on () errors_total", asked=RANGE),
    _undecided(
        "fill_right",
        "sum by (service) (requests_total) + fill_right (0) sum by (service) (errors_total)",
        "sum by (service) (requests_total) + sum by (service) (errors_total)",
        as_oracle="sum by (service) (requests_total) + "
        "(sum by (service) (errors_total) or 0 * sum by (service) (requests_total))",
    ),
    _undecided(
        "fill_left",
        "sum(errors_total) + fill_left (0) sum(load)",
        "sum(errors_total) + sum(load)",
        as_oracle="sum(load) + (sum(errors_total) or vector(0))",
    ),
]

#: Nobody else is asked.
ALONE = [Construct('sum(up{cluster="stage"})'), Construct('absent(up{job="dns",cluster="stage"})')]

ALL = [*VALUES, *COMPLETE, *PRESENT, *UNDECIDED]
