"""How fast the metrics engine is: evaluation over raw samples, merging of six clusters' parts, planning."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from federation_core.connectors import Fetched
from federation_core.labels import Labels
from federation_core.query import Query, TimeRange
from federation_core.signals.metrics import KIND
from federation_core.signals.metrics.evaluate import evaluate
from federation_core.signals.metrics.expr import selectors
from federation_core.signals.metrics.frame import Frame, Grid, SampleColumns
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.run import SampleStore, span_of

SERIES, SAMPLES, STEPS = 10_000, 240, 60
SCRAPE_MS, STEP_MS = 15_000, 60_000
START_MS = 1_790_000_000_000


def measure() -> dict[str, float]:
    """Return milliseconds: the best of three runs of each."""
    grid = Grid(START_MS + STEP_MS, STEP_MS, STEPS)
    columns = counters()
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
    }.items():
        found[name] = best_ms(lambda text=text: answer(text, grid, columns))  # type: ignore[misc]
    return found | merging() | planning()


def counters() -> SampleColumns:
    """Return SERIES counters with SAMPLES scrapes each, every hundredth of which is reset once."""
    rng = np.random.default_rng(1)
    values = np.cumsum(rng.integers(0, 50, (SERIES, SAMPLES)), axis=1).astype(np.float64)
    values[::100, SAMPLES // 2 :] -= values[::100, SAMPLES // 2, None]
    times = START_MS + np.arange(SAMPLES) * SCRAPE_MS + rng.integers(0, SCRAPE_MS, (SERIES, 1))
    labels = tuple(
        Labels.of(
            {
                "__name__": "x",
                "service": f"s{i // 100}",
                "pod": f"p{i // 10}",
                "le": "+Inf" if i % 10 == 9 else str(i % 10),
            }
        )
        for i in range(SERIES)
    )
    return SampleColumns(labels, np.arange(SERIES + 1) * SAMPLES, times.ravel(), values.ravel())


def answer(text: str, grid: Grid, columns: SampleColumns) -> Frame:
    expr, store = parse(text), SampleStore("bench")
    for node in selectors(expr):
        store.keep(span_of(node, grid), Fetched(columns))
    return evaluate(expr, grid, store)[0]


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
        KIND.merge("sum by (service) (leaf:a)", query, decoded, ())

    return {
        "metrics_merge_six_clusters_ms": best_ms(merge),
        "metrics_encode_ms": best_ms(lambda: KIND.encode(frame)),
        "metrics_part_bytes": float(len(parts["c0"]["a"])),
    }


def planning() -> dict[str, float]:
    text = "sum by (service) (rate(x[5m])) / ignoring (code) sum by (service) (rate(y[5m])) > 0.5"
    query = Query("metrics", text, TimeRange(0, STEP_MS * STEPS, STEP_MS), tenant_id="bench")

    def plan() -> None:
        parse.cache_clear()
        KIND.split(KIND.parse(text), query, [f"c{i}" for i in range(6)])

    return {"metrics_plan_ms": best_ms(plan)}


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
