"""Jobs whose workers are 80 ms of round trip away from Redis: six processes, each behind a link of its own.

A job is everything a caller waits for: plan, submit, wait, decode. Backends have their answer ready (about 20 KB a
part, see `prepared_worker`), since two cores carry what seven machines do elsewhere; `embedded_` is one query at a time
over the real stores.

`round_trips` counts what a job waits for on the links. It is not argued: the links' delay is doubled, and how much
later the answer comes is divided by the round trip that was added. `header_round_trips` is the same of the way from a
message's arrival in its queue to the callback's in its own, by Redis' own clock (MONITOR), and `per_header_…` are the
commands that a cluster's worker sent within that time. Stock Celery has 7 of the first (bare chord, 40 ms: 585 ms).

`up_beside_parts_bytes` are all bytes up of all links while one query at a time runs, less the parts as they are stored;
heartbeats are in it. `fetched_per_s`: that many shards of nothing wait for one worker; how soon their callbacks are
queued, each of which is so by its part. `clients20_` is a closed loop.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from federation_core.connectors.stores.redis import connect
from federation_core.outcome import Result
from federation_core.query import TimeRange
from tests.bench.prepared_worker import STEPS
from tests.support.redis_monitor import monitoring
from tests.support.stack import METRIC, Stack
from tests.support.wide_area_stack import WideAreaStack
from workers.app import MERGE_QUEUE

BUDGETS = {
    "one_p50_ms": 100,
    "one_p95_ms": 115,
    "clients20_per_s": 60,
    "clients20_p95_ms": 300,
    "up_beside_parts_bytes": 2_048,
    "round_trips": 1,
    "header_round_trips": 1,
    "fetched_per_s": 100,
}
DELAY_MS, LONGER_MS = 40, 80
CLIENTS = 20
_STEP_MS = 15_000
#: A path that is as bad as stock Celery's must not make a run of everything endless.
_AT_MOST_S = 15.0


def measure(queries: int = 120, shards: int = 300, loop_s: float = 12.0) -> dict[str, float]:
    """Return the figures."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, _stack(Path(folder), "tests.bench.prepared_worker") as stack:
        workers = stack.start_workers()
        figures["fetched_per_s"] = _fetched_per_s(stack, workers["stage"].pid, shards)
        stack.start_merge(with_beat=True)
        client = connect(stack.url)
        stack.until(lambda: not client.exists(MERGE_QUEUE))
        asking = _Asking(stack)
        asking.one_at_a_time(20)
        figures |= _idle(stack)
        near = _one_at_a_time(asking, queries, figures)
        figures |= _closed_loop(stack, loop_s)
        on_path = _Monitored(stack, DELAY_MS).ask(asking)
        stack.wan.set_delay(LONGER_MS)
        far_path = _Monitored(stack, LONGER_MS).ask(asking)
        far = asking.one_at_a_time(queries // 3)
    added_ms = 2 * (LONGER_MS - DELAY_MS)
    figures["round_trips_measured"] = (median(far) - median(near)) / added_ms
    figures["header_round_trips_measured"] = (median(far_path.took_ms) - median(on_path.took_ms)) / added_ms
    for name in ("round_trips", "header_round_trips"):
        figures[name] = round(figures[f"{name}_measured"])
    figures |= {f"per_header_{name}": count for name, count in sorted(on_path.per_header().items())}
    with tempfile.TemporaryDirectory() as folder, _stack(Path(folder), "workers") as stack:
        stack.start_workers()
        stack.start_merge(with_beat=True)
        asking = _Asking(stack, f"sum({METRIC})", None)
        asking.one_at_a_time(10)
        figures |= _quantiles("embedded", asking.one_at_a_time(queries // 2))
    return {name: round(value, 3) for name, value in figures.items()}


def _stack(folder: Path, worker_module: str) -> WideAreaStack:
    return WideAreaStack(folder, worker_module=worker_module, delay_ms=DELAY_MS)


def _quantiles(name: str, took_ms: list[float]) -> dict[str, float]:
    took_ms = sorted(took_ms)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        f"{name}_queries": len(took_ms),
        **{f"{name}_{quantile}_ms": took_ms[int(len(took_ms) * share)] for quantile, share in shares.items()},
    }


@dataclass
class _Asking:
    """Asks the same query again and again and adds up the bytes of its parts."""

    stack: Stack
    text: str = "sum by (service) (prepared)"
    step_ms: int | None = _STEP_MS
    parts_bytes: int = 0

    def ask(self) -> float:
        """Ask once; return the ms until the answer was there."""
        now_ms = self.stack.now_ms
        grid = TimeRange(now_ms - (STEPS - 1) * self.step_ms, now_ms, self.step_ms) if self.step_ms else None
        started_s = time.perf_counter()
        result = self.stack.ask(text=self.text, timeout_ms=30_000, time_range=grid)
        took_ms = (time.perf_counter() - started_s) * 1000
        self.parts_bytes += _parts_bytes(result)
        return took_ms

    def one_at_a_time(self, queries: int) -> list[float]:
        """Ask so often, or for as long as is bearable; return the ms of each."""
        until_s = time.monotonic() + _AT_MOST_S
        took_ms = []
        while len(took_ms) < queries and (not took_ms or time.monotonic() < until_s):
            took_ms.append(self.ask())
        return took_ms


def _parts_bytes(result: Result) -> int:
    assert result.status == "complete", result
    return sum(row.stats.bytes for row in result.coverage.clusters)


def _up_bytes(stack: WideAreaStack) -> int:
    return sum(link.up_bytes for link in stack.wan.traffic().values())


def _idle(stack: WideAreaStack, seconds: float = 4.0) -> dict[str, float]:
    before = _up_bytes(stack)
    time.sleep(seconds)
    return {"idle_up_bytes_per_second": (_up_bytes(stack) - before) / seconds}


def _one_at_a_time(asking: _Asking, queries: int, figures: dict[str, float]) -> list[float]:
    assert isinstance(asking.stack, WideAreaStack)
    asking.parts_bytes, before = 0, _up_bytes(asking.stack)
    took_ms = asking.one_at_a_time(queries)
    figures |= _quantiles("one", took_ms)
    figures["parts_bytes"] = asking.parts_bytes / len(took_ms)
    figures["up_beside_parts_bytes"] = (_up_bytes(asking.stack) - before - asking.parts_bytes) / len(took_ms)
    return took_ms


def _closed_loop(stack: WideAreaStack, seconds: float, warm_up_s: float = 2.0) -> dict[str, float]:
    from_s = time.monotonic() + warm_up_s
    until_s = from_s + seconds

    def client(_: int) -> list[float]:
        asking, took_ms = _Asking(stack), list[float]()
        while (began_s := time.monotonic()) < until_s:
            ms = asking.ask()
            if began_s >= from_s:
                took_ms.append(ms)
        return took_ms

    with ThreadPoolExecutor(CLIENTS) as pool:
        took_ms = [ms for of_client in pool.map(client, range(CLIENTS)) for ms in of_client]
    return {**_quantiles("clients20", took_ms), "clients20_per_s": len(took_ms) / seconds}


def _fetched_per_s(stack: WideAreaStack, worker: int, shards: int) -> float:
    """Have one worker find that many shards in its queue; return how many of them it answered a second.

    No merge worker may be there: the callbacks are counted in their queue.
    """
    client = connect(stack.url)
    plans = [stack.plan(clusters=("stage",), timeout_ms=120_000) for _ in range(shards + 1)]
    stack.dispatch.submit(plans.pop())
    stack.until(lambda: client.llen(MERGE_QUEUE) == 1)
    os.kill(worker, signal.SIGSTOP)
    try:
        for plan in plans:
            stack.dispatch.submit(plan)
    finally:
        os.kill(worker, signal.SIGCONT)
    started_s = time.monotonic()
    while (done := client.llen(MERGE_QUEUE) - 1) < shards and time.monotonic() - started_s < _AT_MOST_S:
        time.sleep(0.005)
    took_s = time.monotonic() - started_s
    # What is left would be answered during what is measured next.
    for plan in plans[done:] if done < shards else ():
        stack.dispatch.cancel("acme", plan.query_id)
    client.delete("cluster.stage")
    return done / took_s


@dataclass
class _Monitored:
    """What Redis saw of some queries: the time from the last header's message to the callback's, and the commands."""

    stack: WideAreaStack
    delay_ms: float
    took_ms: list[float] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)

    def ask(self, asking: _Asking, queries: int = 25) -> _Monitored:
        """Ask some queries one at a time, watching."""
        for _ in range(queries):
            with monitoring(self.stack.url) as seen:
                asking.ask()
                # What is already on its way down the path of MONITOR.
                time.sleep(0.02)
            self._note(seen)
        return self

    def _note(self, seen: list[dict[str, Any]]) -> None:
        ports = {port for link in self.stack.wan.traffic().values() for port in link.ports}
        sent = [(said["time"], said["command"].split(" ")) for said in seen]
        headers_s = [at_s for at_s, words in sent if words[0] == "LPUSH" and words[1].startswith("cluster.")]
        (callback_s,) = [at_s for at_s, words in sent if words[:2] == ["LPUSH", MERGE_QUEUE]]
        self.took_ms.append((callback_s - max(headers_s)) * 1000)
        for said, (at_s, words) in zip(seen, sent, strict=True):
            from_worker = said["client_type"] == "tcp" and int(said["client_port"]) in ports
            if from_worker and min(headers_s) <= at_s <= callback_s:
                about = "heartbeat" if "beats:" in said["command"] else words[0]
                self.commands[about] += 1

    def per_header(self) -> dict[str, float]:
        """Return how often each command was sent per header."""
        return {name: count / len(self.took_ms) / 6 for name, count in self.commands.items()}
