"""Prometheus' own scripts, their series cut over three clusters: combining the partials is evaluating the union.

Each series lies in the cluster that a hash of its label set names. What one store that holds all of them (each with its
label `cluster`) answers, the federation answers: the same series, present at the same steps, values to 1e-9 of their
size, errors on both sides, and the same annotations. Instants are asked over a range too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from zlib import crc32

import pytest

from federation_core.errors import FederationError, UnsupportedQuery
from federation_core.labels import CLUSTER, Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Frame, Payload, SampleColumns, StringValue
from federation_core.signals.metrics.parse import parse
from tests.support.promql_cases import Case, cases
from tests.support.promql_verdicts import close, table
from tests.support.sample_store import Series, answer_one, as_dict, federate

CLUSTERS = ("dev", "prod", "stage")
_TOLERANCE = 1e-9

#: What is not the same, by name, and why.
LISTED = dict.fromkeys(
    ("aggregators:687", "aggregators:695"),
    "2 + 8 + 1e100 - 1e100: the large terms lie in two clusters, and each part is rounded to one of them",
)

#: The same for the queries inside a wrapping.
LISTED_WRAPPED = {
    "functions:2209": "sort over what is pinned: the root does not know that its leaf is, and warns of sorting a range",
}

#: A payload, or what an evaluation raised.
Outcome = Payload | FederationError


def cluster_of(labels: Labels) -> str:
    return CLUSTERS[crc32(repr(labels).encode()) % len(CLUSTERS)]


#: What may lie over a query: groupings, matchings and labels that span clusters, keep them apart, or name them.
WRAPPINGS = (
    "sum by (cluster) ({0})",
    "count without (cluster) ({0})",
    "avg by (job) ({0})",
    "group({0})",
    "stddev({0})",
    "stdvar without (instance) ({0})",
    "quantile by (job) (0.5, {0})",
    'count_values("cluster", {0})',
    'count_values by (cluster) ("v", {0})',
    "topk by (cluster) (1, {0})",
    "bottomk(2, {0})",
    "topk(scalar(count({0})) / 2, {0})",
    "limitk(2, {0})",
    "limit_ratio(0.5, {0})",
    "limit_ratio(-0.3, {0})",
    "limit_ratio by (cluster) (0.5, {0})",
    "({0}) and on (cluster) ({0})",
    "({0}) or on (job) ({0})",
    "({0}) unless on (job) bottomk(1, {0})",
    "({0}) * on (cluster) group_left () count by (cluster) ({0})",
    "min by (cluster, job) ({0}) - on (job) group_left (cluster) max by (job) ({0})",
    "({0}) / ignoring (cluster) ({0})",
    "({0}) + fill(0) ({0})",
    "({0}) + on (job) fill_right(2) sum by (job) ({0})",
    'sum by (cluster) ({0}) + on (cluster) fill(0) count by (cluster) ({{__name__=~".+",cluster!="dev"}})',
    '({0}) and on (cluster) {{__name__=~".+",cluster=~"dev|prod"}}',
    '({0}) unless on (cluster) {{__name__=~".+",cluster!~"d.*"}}',
    'count by (cluster) ({0}) or count by (cluster) ({{__name__=~".+",cluster!="prod"}})',
    'sum by (cluster) ({{__name__=~".+",cluster="prod"}} or ({0}))',
    "({0}) == ({0})",
    "({0}) > bool 1",
    "sum({0}) or vector(0)",
    "-({0})",
    "absent({0})",
    "absent_over_time(({0})[3m:1m])",
    "count_over_time(absent({0})[3m:1m])",
    "avg_over_time(sum({0})[3m:1m])",
    "max_over_time(({0})[5m:1m])",
    "predict_linear(({0})[3m:1m], 60)",
    "quantile_over_time(scalar(count({0})) / 10, ({0})[3m:1m])",
    "vector(scalar({0}))",
    "clamp({0}, scalar(min({0})), scalar(max({0})))",
    "sort({0})",
    'sort_by_label({0}, "cluster")',
    'label_replace({0}, "x", "$1", "cluster", "(.*)")',
    'label_replace({0}, "cluster", "$1", "instance", "(.*)")',
    'label_join({0}, "l", "-", "cluster", "job")',
    "timestamp({0})",
    "day_of_week({0})",
    "histogram_quantile(0.5, {0})",
    'histogram_quantiles({0}, "q", 0.5)',
)


def verdict(case: Case, query: str, time_ranges: Iterable[TimeRange]) -> tuple[str, str]:
    """Return (verdict, detail): the same values, both empty, both an error, refused, or different.

    An average across clusters rests on a sum; where that leaves the range of float64 the answer says so.
    """
    try:
        parse(query)
    except UnsupportedQuery as exc:
        return "refused", exc.message
    except FederationError as exc:
        return "no query", exc.message
    stores: dict[str, list[Series]] = {cluster: [] for cluster in CLUSTERS}
    for labels, times, values in case.series:
        stores[cluster_of(labels)].append((labels, times, values))
    union = [(ls.with_label(CLUSTER, cluster), t, v) for cluster, rows in stores.items() for ls, t, v in rows]
    found = ""
    for time_range in time_ranges:
        wanted, wanted_annotations = outcome(answer_one, query, union, time_range)
        got, annotations = outcome(federate, query, stores, time_range)
        if any("left the range of float64" in text for text in annotations):
            return "overflow told", ""
        difference = differs(got, wanted)
        if not difference and set(annotations) != set(wanted_annotations):
            difference = f"{annotations}, wanted {wanted_annotations}"
        if difference:
            return "different", f"over {time_range}: {difference}"
        found = kind_of(wanted)
    return found, ""


def kind_of(outcome: Outcome) -> str:
    """Tell an error, an answer without series, and an answer."""
    if isinstance(outcome, FederationError):
        return "error"
    return "same" if isinstance(outcome, StringValue) or as_dict(outcome) else "empty"


def times_to_ask(case: Case) -> list[TimeRange]:
    """Return when to ask: an instant also over a range that sees series begin or end, everything as the case does."""
    at_ms = case.time_range.end_ms
    around = TimeRange(at_ms - 420_000, at_ms + 300_000, 97_000)
    instant = not case.time_range.step_ms and case.expected.kind in ("vector", "scalar")
    return [around, case.time_range] if instant else [case.time_range]


def outcome(ask: Callable[..., tuple[Outcome, tuple[str, ...]]], *asked: object) -> tuple[Outcome, tuple[str, ...]]:
    """Return what is answered and its annotations."""
    try:
        return ask(*asked)
    except FederationError as exc:
        return exc, ()


def differs(got: Outcome, wanted: Outcome) -> str:
    """Return how two outcomes differ; nothing if they do not."""
    shown = f"{_shown(got)}, wanted {_shown(wanted)}"
    if type(got) is not type(wanted):
        return shown
    if not isinstance(got, Frame | SampleColumns) or not isinstance(wanted, Frame | SampleColumns):
        return shown if isinstance(got, StringValue) and got != wanted else ""
    rows, wanted_rows = as_dict(got), as_dict(wanted)
    same = rows.keys() == wanted_rows.keys() and all(
        rows[labels].keys() == row.keys() and all(close(rows[labels][t], v, _TOLERANCE) for t, v in row.items())
        for labels, row in wanted_rows.items()
    )
    return "" if same else shown


def _shown(outcome: Outcome) -> str:
    return str(as_dict(outcome)) if isinstance(outcome, Frame | SampleColumns) else repr(outcome)


def test_combining_three_clusters_is_evaluating_their_union(
    test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {
        case.name: (case, *verdict(case, case.query, times_to_ask(case)))
        for case in cases(test_data / "data" / "promqltest")
    }
    with capsys.disabled():
        print(f"\n{table([(case.script, found) for case, found, _ in results.values()])}")
    unlisted = [
        f"{name} {case.query}: {found}: {detail}"
        for name, (case, found, detail) in results.items()
        if found in ("different", "refused") and name not in LISTED
    ]
    assert unlisted == []
    assert [name for name in LISTED if results[name][1] != "different"] == []
    overflown = [case.query for case, found, _ in results.values() if found == "overflow told"]
    assert all(query.startswith(("avg(", "sum(")) for query in overflown)
    verdicts = Counter(found for _, found, _ in results.values())
    assert verdicts["same"] + verdicts["empty"] + verdicts["error"] >= 600
    # The property would hold if everything were empty.
    assert verdicts["same"] >= 400


def test_what_lies_over_the_queries_of_the_scripts_is_the_same(
    test_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every query of a vector inside one of the wrappings, so that each wrapping meets queries of every kind."""
    vectors = [case for case in cases(test_data / "data" / "promqltest") if case.expected.kind == "vector"]
    results = {}
    for number, case in enumerate(vectors):
        # One more place on after every round, so that neighbours in the scripts meet other wrappings.
        wrapping = WRAPPINGS[(number + number // len(WRAPPINGS)) % len(WRAPPINGS)]
        if case.name not in LISTED:
            query = wrapping.format(case.query)
            results[case.name] = (query, *verdict(case, query, [case.time_range]))
    verdicts = Counter(found for _, found, _ in results.values())
    with capsys.disabled():
        print(f"\nwrapped: {dict(verdicts)}")
    different = {name: f"{query}: {detail}" for name, (query, found, detail) in results.items() if found == "different"}
    assert {name: detail for name, detail in different.items() if name not in LISTED_WRAPPED} == {}
    assert set(LISTED_WRAPPED) <= set(different)
    assert verdicts["same"] >= 450
