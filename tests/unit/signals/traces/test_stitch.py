"""Putting a trace together: union, copies, orphans, roots, order, whatever arrives in whatever order."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.errors import Malformed, TraceNotFound
from federation_core.query import Query, TimeRange
from federation_core.signals.traces import KIND
from federation_core.signals.traces.payload import Span, SpanKind, Summaries, Trace, TracePart
from federation_core.signals.traces.stitch import judge, stitch
from tests.support.spans import TRACE, parts_of, span
from tests.unit.signals.traces.conftest import Recorded, recorded_traces

CLUSTERS = ("app-prod", "prod", "shared-services")


def ids(trace: Trace) -> list[int]:
    return [int(s.span_id, 16) for s in trace.spans]


@pytest.mark.parametrize("recorded", recorded_traces(), ids=lambda r: r.trace_id)
def test_a_recorded_trace_is_put_together_truly(recorded: Recorded) -> None:
    trace, truth = stitch(recorded.trace_id, recorded.parts), recorded.truth
    root = trace.root_span
    found_root = root and {
        "service": root.service,
        "name": root.operation,
        "cluster": root.cluster,
        "span_id": root.span_id,
        "duration_ns": str(root.duration_ns),
    }
    assert found_root == truth["root"]
    assert len(trace.spans) == truth["span_count"]
    assert str(trace.duration_ns) == truth["duration_ns"]
    assert list(trace.clusters) == truth["clusters"]
    orphans = {s.parent_id for s in trace.spans if s.key in trace.orphans}
    assert sorted(orphans) == sorted(truth["missing_parents"])


def forests() -> st.SearchStrategy[list[tuple[str, Span]]]:
    """Up to twelve spans with parents before, after, missing, themselves or in a circle, some of them twice."""
    numbers = st.integers(0, 14)
    one = st.builds(
        lambda n, parent, start, length, cluster, kind: (
            cluster,
            span(n, parent, start, start + length, kind=kind, operation=f"op{length}"),
        ),
        st.integers(1, 12),
        numbers,
        st.integers(0, 20),
        st.integers(0, 20),
        st.sampled_from(CLUSTERS),
        st.sampled_from(SpanKind),
    )
    return st.lists(one, min_size=1, max_size=14)


@given(forests(), st.randoms(use_true_random=False))
def test_the_arrival_order_does_not_matter(spans: list[tuple[str, Span]], random: Random) -> None:
    shuffled = list(spans)
    random.shuffle(shuffled)
    assert stitch(TRACE, parts_of(shuffled)) == stitch(TRACE, parts_of(spans))


def test_of_two_callers_that_share_an_id_the_earlier_one_is_the_parent_in_whatever_order_they_arrive() -> None:
    callers = [span(1, 0, 5, 9, kind=SpanKind.CLIENT), span(1, 0, 4, 9, kind=SpanKind.PRODUCER)]
    callee = span(1, 0, 6, 8, kind=SpanKind.SERVER)
    for arrived in (callers, callers[::-1]):
        trace = stitch(TRACE, parts_of([("prod", one) for one in (callee, *arrived)]))
        assert [s.kind for s in trace.spans] == [SpanKind.PRODUCER, SpanKind.SERVER, SpanKind.CLIENT]


@given(forests())
def test_every_span_is_there_exactly_once(spans: list[tuple[str, Span]]) -> None:
    trace = stitch(TRACE, parts_of(spans))
    keys = [s.key for s in trace.spans]
    assert sorted(keys) == sorted({s.key for _, s in spans})
    assert len(keys) == len(set(keys))


@given(forests())
def test_a_span_sent_again_to_any_cluster_changes_no_span(spans: list[tuple[str, Span]]) -> None:
    once = stitch(TRACE, parts_of(spans))
    copies = [("shared-services", s) for _, s in spans]
    again = stitch(TRACE, parts_of(spans + copies))
    assert {replace(s, cluster="", skew_ns=0).key for s in again.spans} == {s.key for s in once.spans}
    assert (again.start_ns, again.end_ns) == (once.start_ns, once.end_ns)


@given(forests(), st.sampled_from(CLUSTERS))
def test_any_split_over_clusters_has_the_same_spans_and_orphans(spans: list[tuple[str, Span]], cluster: str) -> None:
    split, whole = stitch(TRACE, parts_of(spans)), stitch(TRACE, parts_of([(cluster, s) for _, s in spans]))
    assert sorted(s.key for s in split.spans) == sorted(s.key for s in whole.spans)
    assert sorted(split.orphans) == sorted(whole.orphans)
    assert split.root == whole.root


@given(forests())
def test_a_parent_stands_before_its_children(spans: list[tuple[str, Span]]) -> None:
    trace = stitch(TRACE, parts_of(spans))
    seen: set[str] = set()
    tops = set(trace.orphans) | {s.key for s in trace.spans if not s.parent_id}
    for s in trace.spans:
        shares_its_id = sum(other.span_id == s.span_id for other in trace.spans) > 1
        assert s.key in tops or s.parent_id in seen or shares_its_id
        seen.add(s.span_id)


@given(forests())
def test_the_critical_path_is_as_long_as_the_root(spans: list[tuple[str, Span]]) -> None:
    trace = stitch(TRACE, parts_of(spans))
    length = sum(segment.end_ns - segment.start_ns for segment in trace.critical_path)
    assert length == (trace.root_span.duration_ns if trace.root_span else 0)


def test_the_longest_copy_of_a_span_is_kept() -> None:
    unfinished, finished = span(1, end_ms=1), span(1, end_ms=9)
    trace = stitch(TRACE, parts_of([("app-prod", unfinished), ("prod", finished), ("stage", finished)]))
    assert [(s.cluster, s.duration_ns) for s in trace.spans] == [("prod", 9_000_000)]
    assert trace.clusters == ("app-prod", "prod", "stage")


def test_the_two_halves_of_a_shared_id_are_parent_and_child() -> None:
    spans = [
        ("prod", span(1, 0, 0, 10)),
        ("prod", span(2, 1, 1, 9, kind="client")),
        ("app-prod", span(2, 1, 2, 8, kind="server")),
        ("app-prod", span(3, 2, 3, 7, kind="internal")),
        ("prod", span(4, 1, 1.5, 9, kind="internal")),
    ]
    trace = stitch(TRACE, parts_of(spans))
    assert [(s.span_id[-1], s.kind.value) for s in trace.spans] == [
        ("1", "server"),
        ("2", "client"),
        ("2", "server"),
        ("3", "internal"),
        ("4", "internal"),
    ]
    assert trace.orphans == ()


def test_the_callees_half_of_a_shared_id_is_no_root() -> None:
    trace = stitch(
        TRACE, parts_of([("stage", span(2, 0, 0, 1, kind="server")), ("prod", span(2, 0, 5, 9, kind="client"))])
    )
    assert trace.root == span(2, kind="client").key


def test_the_root_comes_first_then_children_by_start_then_orphans() -> None:
    spans = [
        span(9, 77, 0, 1),
        span(3, 1, 6, 7),
        span(2, 1, 2, 3),
        span(4, 2, 2, 3),
        span(1, 0, 1, 9),
        span(8, 88, 0, 1),
    ]
    trace = stitch(TRACE, parts_of([("prod", s) for s in spans]))
    assert ids(trace) == [1, 2, 4, 3, 8, 9]
    assert [int(span_id, 16) for span_id, _ in trace.orphans] == [8, 9]


def test_of_several_roots_the_first_is_the_root() -> None:
    trace = stitch(TRACE, parts_of([("prod", span(1, 0, 5)), ("prod", span(2, 0, 3)), ("prod", span(3, 1, 6))]))
    assert trace.root == span(2).key
    assert ids(trace) == [2, 1, 3]
    assert trace.orphans == ()


def test_a_trace_without_a_root_has_none() -> None:
    trace = stitch(TRACE, parts_of([("prod", span(2, 1)), ("prod", span(3, 2))]))
    assert (trace.root, trace.critical_path) == (None, ())
    assert ids(trace) == [2, 3]
    assert trace.orphans == (span(2).key,)


@pytest.mark.parametrize(
    ("circle", "orphan"),
    [
        ([span(1, 1)], 1),
        ([span(1, 2, 5), span(2, 1, 3)], 2),
        ([span(1, 2, 5), span(2, 3, 7), span(3, 1, 6), span(4, 3, 0)], 1),
    ],
)
def test_a_circle_of_parents_is_cut_at_its_earliest_span(circle: list[Span], orphan: int) -> None:
    trace = stitch(TRACE, parts_of([("prod", s) for s in circle]))
    assert len(trace.spans) == len(circle)
    assert trace.orphans == (span(orphan).key,)


def test_the_duration_spans_the_first_start_and_the_last_end_whichever_spans_they_are() -> None:
    trace = stitch(
        TRACE, parts_of([("prod", span(1, 0, 5, 20)), ("prod", span(2, 1, 6, 8)), ("stage", span(3, 1, 7, 31))])
    )
    assert (trace.start_ns, trace.duration_ns) == (5_000_000, 26_000_000)


def test_a_deep_trace_does_not_exhaust_the_stack() -> None:
    chain = [("prod", span(n, n - 1, n, 20_000 - n)) for n in range(1, 5001)]
    assert ids(stitch(TRACE, parts_of(chain))) == list(range(1, 5001))


def test_an_unknown_trace_is_not_found_when_everybody_answered() -> None:
    trace = stitch(TRACE, {"prod": TracePart(TRACE), "stage": TracePart(TRACE)})
    with pytest.raises(TraceNotFound) as caught:
        judge(trace, ())
    assert caught.value.trace_id == TRACE


def test_an_unknown_trace_is_undecided_while_a_cluster_is_silent() -> None:
    said = judge(stitch(TRACE, {"prod": TracePart(TRACE)}), ("stage",))
    assert said == (f"no cluster that answered holds trace {TRACE}; stage did not answer, so it may exist",)


def test_missing_parents_and_roots_may_be_in_a_silent_cluster() -> None:
    trace = stitch(TRACE, parts_of([("prod", span(2, 1)), ("prod", span(3, 7))]))
    assert judge(trace, ("stage",)) == (
        "the root span is in no cluster that answered; it may be in stage",
        "spans whose parent is in no cluster that answered: 2; it may be in stage",
    )
    assert judge(trace, ()) == ()


def test_a_part_of_another_kind_is_its_clusters_fault() -> None:
    query = Query("traces", TRACE, TimeRange(0, 1), "t")
    with pytest.raises(Malformed) as caught:
        KIND.merge(TRACE, query, {"dev": {"traces": TracePart(TRACE)}, "prod": {"traces": Summaries()}}, {})
    assert caught.value.cluster == "prod"
