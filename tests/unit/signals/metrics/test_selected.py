"""Our engine on what a backend has selected at the steps: the same values as on the raw samples."""

from __future__ import annotations

import pytest

from federation_core.connectors import Fetched
from federation_core.query import MAX_STEPS, TimeRange
from federation_core.signals.metrics.frame import Frame, Grid
from federation_core.signals.metrics.moments import resolve
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.printer import to_text
from federation_core.signals.metrics.run import Span, leaf_of
from federation_core.signals.metrics.selected import SelectedStore, Selection, needs_of, put_together, time_ranges
from tests.support.sample_store import STALE, as_dict, evaluate_one, every, series

RANGE = TimeRange(0, 900_000, 60_000)
INSTANT = TimeRange(600_125, 600_125)
STORE = [
    series('x{a="1"}', every(45_000, [1, 2, None, 4, 5, float(STALE), None, 8, 9, 10, None, None, 13, 14])),
    series('x{a="2"}', every(60_000, [5, 6, 7, 8], start_ms=200_000)),
    series('y{a="1"}', every(30_000, range(40))),
]


def needs(text: str, asked: TimeRange) -> list[Selection | Span]:
    return list(needs_of(resolve(parse(text), asked), Grid.of(asked)))


@pytest.mark.parametrize("asked", [RANGE, INSTANT], ids=["range", "instant"])
@pytest.mark.parametrize(
    "text",
    [
        "x", "sum(x)", "x offset 1m", "x offset -1m", "x @ 300", "sum(x @ 300) + x", "x @ start() - x @ end()",
        "timestamp(x)", "timestamp(x offset 1m) - timestamp(x @ 200)", "timestamp(x + 0)", "rate(y[2m]) * on (a) x",
        "max_over_time(x[5m:30s])", "max_over_time(x[5m:30s] @ 400) + x", "avg_over_time((x * 2)[3m:1m] offset 1m)",
        "sum_over_time(y[3m] @ 300)", "max_over_time(timestamp(x)[5m:30s])", "x unless x offset 1m",
        "count(x) or vector(0)", "max_over_time(x[2s:1h])", "min_over_time(sum(x)[10m:1m] @ end())",
    ],
)  # fmt: skip
def test_values_are_those_of_raw_samples(text: str, asked: TimeRange) -> None:
    frames, spans = {}, {}
    for need in needs(text, asked):
        if isinstance(need, Span):
            leaf = leaf_of(need, "prod")
            assert leaf is not None
            spans[need] = Fetched(evaluate_one(leaf.text, STORE, leaf.time_range))
            continue
        asks = [(to_text(need.as_expr(need.selector)), when) for when in time_ranges(need.grid)]
        parts = [evaluate_one(question, STORE, when) for question, when in asks]
        frames[need] = put_together([part for part in parts if isinstance(part, Frame)], need.grid)
    store = SelectedStore("prod", frames=frames, fetched=spans)
    found, _ = store.answer(resolve(parse(text), asked), Grid.of(asked))
    assert as_dict(found) == as_dict(evaluate_one(text, STORE, asked))


def test_what_is_pinned_is_asked_once() -> None:
    (need,) = needs("x @ 300", RANGE)
    assert isinstance(need, Selection)
    assert need.grid == Grid(300_000, 0, 1)


def test_the_same_selector_on_the_same_grid_is_one_need() -> None:
    assert len(set(needs("sum(x) / count(x) + max(x)", RANGE))) == 1


def test_more_steps_than_a_query_may_have_are_asked_in_pieces_and_put_together() -> None:
    grid = Grid(0, 1_000, 2 * MAX_STEPS + 1)
    ranges = time_ranges(grid)
    assert [(when.first_ms, when.end_ms, when.steps) for when in ranges] == [
        (0, 11_000_000, MAX_STEPS), (11_001_000, 22_001_000, MAX_STEPS), (22_002_000, 22_002_000, 1),
    ]  # fmt: skip
    store = [series('x{a="1"}', every(30_000, range(734))), series('x{a="2"}', [(22_002_000, 7.0)])]
    frames = [evaluate_one("x", store, when) for when in ranges]
    whole = put_together([frame for frame in frames if isinstance(frame, Frame)], grid)
    assert whole.present.sum(axis=1).tolist() == [grid.steps, 1]
    assert whole.values[0, [0, 11_000, -1]].tolist() == [0, 366, 733]
