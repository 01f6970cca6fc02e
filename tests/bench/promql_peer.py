"""Our engine and one Prometheus on the same samples: the lab's queries, in pairs, within one run.

Both hold everything that six clusters have. Prometheus reads its blocks, evaluates, and answers over HTTP on loopback;
ours selects from samples in memory, evaluates, and writes the same JSON. So the ratio says how far the engine is from
its model, not which server is faster.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import orjson

from federation_core.connectors import Fetched
from federation_core.errors import FederationError
from federation_core.labels import Labels
from federation_core.query import TimeRange
from federation_core.signals.metrics.frame import Grid, SampleColumns
from federation_core.signals.metrics.moments import resolve
from federation_core.signals.metrics.parse import parse
from federation_core.signals.metrics.prometheus_json import to_json
from federation_core.signals.metrics.run import SampleStore, Span, spans_of
from tests.oracle import lab_data
from tests.oracle.test_against_prometheus import time_range_of
from tests.support.prometheus_server import PrometheusClient, prometheus_serving

BUDGETS = {"promql_median_ratio_to_prometheus": 5.0}
ROUNDS = 7
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Samples:
    """Series in memory, by metric name."""

    def __init__(self, text: Path) -> None:
        found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        with text.open() as lines:
            for line in lines:
                if not line.startswith("#"):
                    series, value, time = line.rsplit(" ", 2)
                    times, values = found[series]
                    times.append(round(float(time) * 1000))
                    values.append(float(value))
        self.series = []
        self.by_name: dict[str, list[int]] = defaultdict(list)
        for number, (series, (times, values)) in enumerate(sorted(found.items())):
            name, _, pairs = series.partition("{")
            labels = Labels.of({"__name__": name, **dict(_LABEL.findall(pairs))})
            self.series.append((labels, np.array(times, dtype=np.int64), np.array(values)))
            self.by_name[name].append(number)

    def fetch(self, span: Span) -> Fetched:
        """Return the samples of a span, as a connector does."""
        name = span.selector.name
        rows = self.by_name.get(name, []) if name else range(len(self.series))
        found = []
        for row in rows:
            labels, times, values = self.series[row]
            if span.selector.matches(labels):
                first, end = np.searchsorted(times, (span.start_ms, span.end_ms), side="right")
                found.append((labels, times[first:end], values[first:end]))
        return Fetched(SampleColumns.of(found))

    def answer(self, text: str, asked: TimeRange) -> bytes:
        """Answer a query in Prometheus' JSON; an error has its own."""
        try:
            expr, grid = resolve(parse(text), asked), Grid.of(asked)
            store = SampleStore("peer")
            for span in spans_of(expr, grid):
                store.keep(span, self.fetch(span))
            payload, said = store.answer(expr, grid)
            return orjson.dumps({"status": "success", "data": to_json(payload), "warnings": said})
        except FederationError as exc:
            return orjson.dumps({"status": "error", "error": exc.message})


def measure() -> dict[str, float]:
    """Return ratios of our time to Prometheus' per query (median of ROUNDS each): median, worst, and ours in ms."""
    prometheus, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if prometheus is None or promtool is None:
        print("promql_peer: needs prometheus and promtool", file=sys.stderr)
        return {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        text, queries = _workload(folder)
        samples = Samples(text)
        with prometheus_serving(prometheus, text, folder) as address:
            client = PrometheusClient(address)
            rows = [_pair(samples, client, query, asked) for query, asked in queries]
    ratios = {query: mine / theirs for query, mine, theirs in rows}
    for query, mine, theirs in sorted(rows, key=lambda row: row[1] / row[2], reverse=True)[:10]:
        print(f"{mine / theirs:6.2f} x  {mine:8.2f} ms  {theirs:8.2f} ms  {query}", file=sys.stderr)
    cuts = statistics.quantiles(ratios.values(), n=10)
    return {
        "promql_queries": float(len(rows)),
        "promql_median_ratio_to_prometheus": round(statistics.median(ratios.values()), 3),
        "promql_p90_ratio_to_prometheus": round(cuts[-1], 3),
        "promql_worst_ratio_to_prometheus": round(max(ratios.values()), 3),
        "promql_all_queries_ms": round(sum(mine for _, mine, _ in rows), 1),
        "prometheus_all_queries_ms": round(sum(theirs for _, _, theirs in rows), 1),
    }


def _workload(folder: Path) -> tuple[Path, list[tuple[str, TimeRange]]]:
    """Return all samples as text, and the queries: the lab's where it is there, else our smaller copy of it."""
    given = os.environ.get("APPSENTRY_TEST_DATA")
    lab = Path(given) / "lab" / "metrics" if given else None
    if lab is not None and lab.exists():
        subprocess.run([sys.executable, lab / "gen.py", folder / "om"], check=True, stdout=subprocess.DEVNULL)
        for cluster in (folder / "om").glob("*.om"):
            if cluster.stem != "oracle":
                cluster.unlink()
        return folder / "om" / "oracle.om", list(_queries(lab / "queries.txt"))
    lab_data.write_openmetrics(lab_data.clusters(), folder / "all.om")
    return folder / "all.om", list(_queries(Path(lab_data.__file__).parent / "queries.txt"))


def _queries(file: Path) -> Iterator[tuple[str, TimeRange]]:
    for line in file.read_text().splitlines():
        if line and not line.startswith("#"):
            when, query = line.split("\t", 1)
            yield query, time_range_of(when)


def _pair(samples: Samples, client: PrometheusClient, query: str, asked: TimeRange) -> tuple[str, float, float]:
    mine, theirs = [], []
    for _ in range(ROUNDS):
        parse.cache_clear()
        mine.append(_ms(lambda: samples.answer(query, asked)))
        theirs.append(_ms(lambda: client.ask(query, asked)))
    return query, statistics.median(mine), statistics.median(theirs)


def _ms(run: Callable[[], object]) -> float:
    started = perf_counter()
    run()
    return (perf_counter() - started) * 1000
