"""How fast the metrics engine is: evaluation over raw samples, merging of six clusters' parts, planning."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from federation_core.connectors import Fetched
from federation_core.labels import Labels
from federation_core.query import Query, TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.evaluate import evaluate
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.moments import resolve
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.run import SampleStore, spans_of
from tests.support.merging import merged_apart, write_parts

SERIES, SAMPLES, STEPS = 10_000, 240, 60
SCRAPE_MS, STEP_MS = 15_000, 60_000
START_MS = 1_790_000_000_000
#: What is asked of parts that are merged: a split aggregation, all series as they are, child values.
MERGED = {"sum": "sum by (service) (x)", "union": "x", "quantile": "quantile by (service) (0.9, x)"}
MANY_SERIES, MANY_VALUES = 100_000, 400_000_000
TERMS = 20
BUDGETS = {
    "metrics_rate_sum_ms": 1_000.0,
    "metrics_growth_by_series": 1.5,
    "metrics_growth_by_steps": 1.5,
    "metrics_merge_apart_worst_ms": 1_000.0,
    "metrics_merge_apart_worst_mb": 500.0,
    "metrics_merge_of_too_much_not_refused": 0.0,
    "metrics_merge_of_much_worst_mb": 4_096.0,
    "metrics_plan_20_terms_ms": 5.0,
}


def measure() -> dict[str, float]:
    """Return milliseconds: the best of three runs of each."""
    grid = Grid(START_MS + STEP_MS, STEP_MS, STEPS)
    columns = counters_of(SERIES)
    found = {}
    for name, text in {
        "metrics_rate_sum_ms": "sum by (service) (rate(x[5m]))",
        "metrics_avg_over_time_ms": "avg_over_time(x[5m])",
        "metrics_max_over_time_ms": "max_over_time(x[5m])",
        "metrics_quantile_over_time_ms": "quantile_over_time(0.9, x[5m])",
        "metrics_topk_ms": "topk(5, x)",
        "metrics_selector_ms": "x",
        "metrics_histogram_quantile_ms": "histogram_quantile(0.9, rate(x[5m]))",
        "metrics_join_ms": "rate(x[5m]) / rate(x[5m])",
        "metrics_group_left_ms": "x * on (service) group_left max by (service) (x)",
        "metrics_subquery_ms": "max_over_time(sum by (service) (rate(x[5m]))[30m:1m])",
        "metrics_deriv_ms": "deriv(x[5m])",
        "metrics_label_replace_ms": 'label_replace(x, "s", "$1", "service", "s(.*)")',
    }.items():
        found[name] = best_ms(lambda text=text: answer(text, grid, columns))  # type: ignore[misc]
    return found | growth() | merging() | merging_apart() | planning()


def growth() -> dict[str, float]:
    """Return how the time of rate + sum by grows, in ms, and how much faster than what it works on, as a ratio.

    1 is linear growth between the ends of a line of doublings; the smallest number of series, which the processor's
    caches hold, is shown and not counted.
    """
    sizes, steps = (2_500, 5_000, 10_000, 20_000, 40_000), (15, 30, 60, 120, 240)
    grids = [Grid(START_MS, STEP_MS * STEPS // n, n) for n in steps]
    columns = counters_of(SERIES)
    by_series = [_rate_sum_ms(counters_of(n), Grid(START_MS, STEP_MS, STEPS)) for n in sizes]
    by_steps = [_rate_sum_ms(columns, grid) for grid in grids]
    found = {f"metrics_rate_sum_{n}_series_ms": ms for n, ms in zip(sizes, by_series, strict=True)}
    found |= {f"metrics_rate_sum_{n}_steps_ms": ms for n, ms in zip(steps, by_steps, strict=True)}
    return found | {
        "metrics_growth_by_series": round(by_series[-1] / by_series[1] / (sizes[-1] / sizes[1]), 3),
        "metrics_growth_by_steps": round(by_steps[-1] / by_steps[0] / (steps[-1] / steps[0]), 3),
    }


def _rate_sum_ms(columns: SampleColumns, grid: Grid) -> float:
    return best_ms(lambda: answer("sum by (service) (rate(x[5m]))", grid, columns))


def counters_of(series: int) -> SampleColumns:
    """Return so many counters with SAMPLES scrapes each, every hundredth of which is reset once."""
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.integers(0, 50, (series, SAMPLES)), axis=1).astype(np.float64)
    values[::100, SAMPLES // 2 :] -= values[::100, SAMPLES // 2, None]
    times = START_MS + np.arange(SAMPLES) * SCRAPE_MS + rng.integers(0, SCRAPE_MS, (series, 1))
    labels = tuple(
        Labels.of(
            {
                "__name__": "x",
                "service": f"s{i // 100}",
                "pod": f"p{i // 10}",
                "le": "+Inf" if i % 10 == 9 else str(i % 10),
            }
        )
        for i in range(series)
    )
    return SampleColumns(labels, np.arange(series + 1) * SAMPLES, times.ravel(), values.ravel())


def answer(text: str, grid: Grid, columns: SampleColumns) -> Frame:
    expr = resolve(parse(text), TimeRange(grid.start_ms, grid.end_ms, grid.step_ms))
    store = SampleStore("bench")
    for span in spans_of(expr, grid):
        store.keep(span, Fetched(columns))
    found = evaluate(expr, grid, store)[0]
    assert isinstance(found, Frame)
    return found


def merging() -> dict[str, float]:
    """Merge six clusters × SERIES × STEPS, as the architecture's budget has it."""
    grid = Grid(START_MS, STEP_MS, STEPS)
    labels = tuple(Labels.of({"pod": f"p{i}", "service": f"s{i // 100}"}) for i in range(SERIES))
    values = np.random.default_rng(2).random((SERIES, STEPS))
    frame = Frame(labels, grid, values, np.ones(values.shape, dtype=np.bool_))
    query = Query("metrics", "sum by (service) (x)", TimeRange(grid.start_ms, grid.end_ms, STEP_MS), tenant_id="bench")
    parts = {f"c{i}": {"a": KIND.encode(frame)} for i in range(6)}

    def merge() -> None:
        decoded = {name: {"a": KIND.decode(part["a"])} for name, part in parts.items()}
        KIND.merge("sum by (service) (leaf:a)", query, decoded, {})

    return {
        "metrics_merge_six_clusters_ms": best_ms(merge),
        "metrics_encode_ms": best_ms(lambda: KIND.encode(frame)),
        "metrics_part_bytes": float(len(parts["c0"]["a"])),
    }


def merging_apart() -> dict[str, float]:
    """Merge stored parts of six clusters in processes of their own: opened, merged, the result sealed.

    Of ten times as many series once with the limits of a token that says nothing of them, which refuse it, and once
    with room for it.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        found = {"metrics_merge_apart_stored_bytes": float(write_parts(folder, SERIES, STEPS))}
        few = {
            kind: min((merged_apart(folder, text, STEPS) for _ in range(2)), key=lambda merged: merged.took_ms)
            for kind, text in MERGED.items()
        }
        assert not any(merged.refused for merged in few.values()), few
        write_parts(folder, MANY_SERIES, STEPS)
        refused = [merged_apart(folder, text, STEPS) for text in MERGED.values()]
        many = {kind: merged_apart(folder, text, STEPS, MANY_VALUES) for kind, text in MERGED.items()}
    for said in {merged.refused for merged in (*refused, *many.values())} - {""}:
        print(f"metrics_engine: refused: {said}", file=sys.stderr)
    found |= {f"metrics_merge_apart_{kind}_ms": round(merged.took_ms, 1) for kind, merged in few.items()}
    found |= {f"metrics_merge_of_much_{kind}_ms": round(merged.took_ms, 1) for kind, merged in many.items()}
    return found | {
        "metrics_merge_apart_worst_ms": round(max(merged.took_ms for merged in few.values()), 1),
        "metrics_merge_apart_worst_mb": max(merged.peak_bytes for merged in few.values()) / 1e6,
        "metrics_merge_of_too_much_not_refused": float(sum(not merged.refused for merged in refused)),
        "metrics_merge_of_too_much_worst_mb": max(merged.peak_bytes for merged in refused) / 1e6,
        "metrics_merge_of_much_worst_mb": max(merged.peak_bytes for merged in many.values()) / 1e6,
    }


def planning() -> dict[str, float]:
    """Parse and split: two terms, and twenty."""
    long = " + ".join(f'sum by (service) (rate(x{i}{{code="500"}}[5m]))' for i in range(TERMS))
    short = "sum by (service) (rate(x[5m])) / ignoring (code) sum by (service) (rate(y[5m])) > 0.5"
    return {"metrics_plan_ms": plan_ms(short), f"metrics_plan_{TERMS}_terms_ms": plan_ms(long)}


def plan_ms(text: str) -> float:
    """Return the time that planning over six clusters takes of which nothing is remembered."""
    query = Query("metrics", text, TimeRange(0, STEP_MS * STEPS, STEP_MS), tenant_id="bench")

    def plan() -> None:
        parse.cache_clear()
        KIND.split(KIND.parse(text), query, [f"c{i}" for i in range(6)])

    return best_ms(plan)


def best_ms(run: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        started = perf_counter()
        run()
        times.append((perf_counter() - started) * 1000)
    return round(min(times), 3)


if __name__ == "__main__":
    for key, value in measure().items():
        print(f"{key:40} {value:12.3f}")
