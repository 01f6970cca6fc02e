"""Clock skew between clusters, read off the calls between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation_core.signals.traces.payload import Span, SpanKind, Trace
from federation_core.signals.traces.skew import Bound, estimate_offset_ns
from federation_core.signals.traces.stitch import stitch
from tests.support.spans import MS, TRACE, parts_of, span
from tests.unit.signals.traces.conftest import Recorded, recorded_skew_ns, recorded_traces


def offsets(trace: Trace) -> dict[str, float]:
    return {s.cluster: s.skew_ns / MS for s in trace.spans}


def calls(trace: Trace) -> list[tuple[Span, Span]]:
    """Return (child, parent) of every call between clusters that waits."""
    by_id = {s.span_id: s for s in trace.spans}
    pairs = [(s, by_id[s.parent_id]) for s in trace.spans if s.parent_id in by_id]
    queues = (SpanKind.PRODUCER, SpanKind.CONSUMER)
    return [(c, p) for c, p in pairs if c.cluster != p.cluster and c.kind not in queues and p.kind not in queues]


CROSSING = [r for r in recorded_traces() if len(r.parts) > 1]


@pytest.mark.parametrize("recorded", CROSSING, ids=lambda r: r.trace_id)
def test_recorded_calls_lie_within_their_callers_once_clocks_are_adjusted(recorded: Recorded) -> None:
    trace = stitch(recorded.trace_id, recorded.parts)
    for child, parent in calls(trace):
        assert parent.adjusted_start_ns <= child.adjusted_start_ns
        assert child.adjusted_end_ns <= parent.adjusted_end_ns


@pytest.mark.parametrize("recorded", CROSSING, ids=lambda r: r.trace_id)
def test_recorded_skew_is_found_to_within_half_of_what_the_calls_leave_open(recorded: Recorded) -> None:
    trace = stitch(recorded.trace_id, recorded.parts)
    skew = recorded_skew_ns()
    for child, parent in calls(trace):
        slack_ns = parent.duration_ns - child.duration_ns
        true_ns = skew[parent.cluster] - skew[child.cluster]
        assert abs(child.skew_ns - parent.skew_ns - true_ns) <= slack_ns / 2 + 1


def test_a_child_that_begins_before_its_parent_moves_its_cluster_to_the_middle() -> None:
    spans = [
        ("prod", span(1, 0, 0, 100, kind="client")),
        ("stage", span(2, 1, -30, 50)),
        ("stage", span(3, 2, -20, 0)),
    ]
    trace = stitch(TRACE, parts_of(spans))
    assert offsets(trace) == {"prod": 0, "stage": 40}
    assert [(s.start_ns, s.adjusted_start_ns) for s in trace.spans[1:]] == [
        (-30 * MS, 10 * MS),
        (-20 * MS, 20 * MS),
    ]


def test_clocks_that_fit_are_left_alone() -> None:
    trace = stitch(TRACE, parts_of([("prod", span(1, 0, 0, 100)), ("stage", span(2, 1, 90, 100))]))
    assert offsets(trace) == {"prod": 0, "stage": 0}


def test_skew_is_carried_from_cluster_to_cluster() -> None:
    spans = [
        ("prod", span(1, 0, 0, 100)),
        ("app-prod", span(2, 1, 1000, 1100)),
        ("shared-services", span(3, 2, 5000, 5100)),
    ]
    trace = stitch(TRACE, parts_of(spans))
    assert offsets(trace) == {"prod": 0, "app-prod": -1000, "shared-services": -5000}


def test_calls_in_both_directions_bound_one_offset() -> None:
    spans = [
        ("prod", span(1, 0, 0, 100)),
        ("stage", span(2, 1, 500, 600)),
        ("prod", span(3, 2, 40, 50)),
    ]
    assert offsets(stitch(TRACE, parts_of(spans))) == {"prod": 0, "stage": -500}


def test_a_caller_in_another_cluster_than_the_root_is_adjusted_too() -> None:
    spans = [
        ("prod", span(1, 0, 0, 100)),
        ("stage", span(2, 99, 1000, 1100)),
        ("prod", span(3, 2, 40, 60)),
    ]
    assert offsets(stitch(TRACE, parts_of(spans))) == {"prod": 0, "stage": -1000}


def test_a_queue_between_two_spans_says_nothing_of_clocks() -> None:
    spans = [("prod", span(1, 0, 0, 10, kind="producer")), ("stage", span(2, 1, 500, 505, kind="consumer"))]
    assert offsets(stitch(TRACE, parts_of(spans))) == {"prod": 0, "stage": 0}


def test_a_child_that_takes_longer_than_its_parent_says_nothing_of_clocks() -> None:
    spans = [("prod", span(1, 0, 0, 10)), ("stage", span(2, 1, 5, 500))]
    assert offsets(stitch(TRACE, parts_of(spans))) == {"prod": 0, "stage": 0}


def test_without_a_root_the_first_orphans_clock_is_the_reference() -> None:
    spans = [("stage", span(2, 99, 0, 100)), ("prod", span(3, 2, 1000, 1100))]
    assert offsets(stitch(TRACE, parts_of(spans))) == {"stage": 0, "prod": -1000}


@pytest.mark.parametrize(
    ("bounds", "offset_ns"),
    [
        ([(-5, 5)], 0),
        ([(0, 5)], 0),
        ([(2, 6)], 4),
        ([(2, 6), (5, 50)], 5),
        ([(2, 20), (3, 5)], 4),
        # One call that did not wait among many that fit: the clocks are right.
        ([(-5, 5), (-4, 6), (100, 110)], 0),
        # No offset fits all and zero fits few: the median of the guesses.
        ([(10, 12), (20, 22), (100, 110)], 21),
    ],
)
def test_an_offset_is_what_all_bounds_allow(bounds: list[tuple[int, int]], offset_ns: int) -> None:
    assert estimate_offset_ns([Bound(low, high) for low, high in bounds]) == offset_ns


@given(st.integers(-1000, 1000), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=6))
def test_an_offset_never_breaks_a_call_that_the_true_one_keeps(true_ns: int, slacks: list[tuple[int, int]]) -> None:
    bounds = [Bound(true_ns - before, true_ns + after) for before, after in slacks]
    found_ns = estimate_offset_ns(bounds)
    assert all(bound.low_ns <= found_ns <= bound.high_ns for bound in bounds)
