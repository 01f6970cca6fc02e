"""The critical path: what the trace waited for."""

from __future__ import annotations

import pytest

from federation_core.signals.traces.payload import Span
from federation_core.signals.traces.stitch import stitch
from tests.support.spans import MS, TRACE, parts_of, span


def path(*spans: Span) -> list[tuple[int, int, int]]:
    trace = stitch(TRACE, parts_of([("prod", s) for s in spans]))
    return [(int(s.span_id, 16), s.start_ns // MS, s.end_ns // MS) for s in trace.critical_path]


@pytest.mark.parametrize(
    ("spans", "segments"),
    [
        pytest.param([span(1, 0, 0, 10)], [(1, 0, 10)], id="alone"),
        pytest.param([span(1, 0, 0, 10), span(2, 1, 2, 8)], [(1, 0, 2), (2, 2, 8), (1, 8, 10)], id="one call"),
        pytest.param(
            [span(1, 0, 0, 10), span(2, 1, 1, 4), span(3, 1, 5, 9)],
            [(1, 0, 1), (2, 1, 4), (1, 4, 5), (3, 5, 9), (1, 9, 10)],
            id="one call after the other",
        ),
        pytest.param(
            [span(1, 0, 0, 10), span(2, 1, 1, 5), span(3, 1, 1, 9)],
            [(1, 0, 1), (3, 1, 9), (1, 9, 10)],
            id="of parallel calls the last to end",
        ),
        pytest.param(
            [span(1, 0, 0, 10), span(2, 1, 1, 9), span(3, 2, 2, 8), span(4, 3, 3, 7)],
            [(1, 0, 1), (2, 1, 2), (3, 2, 3), (4, 3, 7), (3, 7, 8), (2, 8, 9), (1, 9, 10)],
            id="down to the innermost",
        ),
        pytest.param(
            [span(1, 0, 0, 10), span(2, 1, 5, 30)],
            [(1, 0, 5), (2, 5, 10)],
            id="a child counts only inside its parent",
        ),
        pytest.param([span(1, 0, 0, 10), span(2, 1, 20, 30)], [(1, 0, 10)], id="not what began after the end"),
        pytest.param([span(1, 0, 0, 10), span(2, 1, 4, 4)], [(1, 0, 10)], id="not what took no time"),
        pytest.param([span(1, 0, 3, 3)], [], id="nothing took time"),
    ],
)
def test_the_path_is(spans: list[Span], segments: list[tuple[int, int, int]]) -> None:
    assert path(*spans) == segments


def test_the_path_is_read_on_adjusted_clocks() -> None:
    trace = stitch(TRACE, parts_of([("prod", span(1, 0, 0, 10)), ("stage", span(2, 1, 102, 108))]))
    assert [(s.start_ns // MS, s.end_ns // MS) for s in trace.critical_path] == [(0, 2), (2, 8), (8, 10)]
