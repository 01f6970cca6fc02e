"""Jobs under load: how many a second beside the bare chord, what a thousand leave behind, how soon cancelled work ends.

`bare_over_ours`: eight clients in a closed loop, a bare chord of stock Celery with workers of its own and a whole job
(plan, submit, wait, decode) in alternating slices of one run, so that whatever else the machine does falls on both;
2.0 means half of its throughput.
`growth`: a thousand queries through the API after a warm-up; the memory of each role (PSS), the keys that are left in
Redis once every time to live is over (each is cut short), and subscriptions. `cancel`: from the call of `cancel` until
the worker has come back from a statement that would have run for hours.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from threading import local

from federation_core.connectors.stores.jobs import JobState
from federation_core.connectors.stores.redis import connect
from tests.bench.bare_chord import BareChord
from tests.bench.stack_memory import pss_mb
from tests.support.stack import CLUSTERS, METRIC, Stack, children
from tests.support.web_server import WebServer

BUDGETS = {
    "bare_over_ours_ratio": 2.0,
    "growth_web_mb": 8.0,
    # The allocator gives and takes some MB between two looks; over 2,500 queries it went from 90 to 89.
    "growth_cluster_mb": 16.0,
    "growth_merge_mb": 8.0,
    "growth_keys": 0.0,
    "growth_subscriptions": 0.0,
    "cancel_p99_ms": 1_000.0,
}
CLIENTS = 8
_EMPTY = "sum(series_that_no_store_holds)"


def measure(slices: int = 8, slice_s: float = 3.0, queries: int = 1_000, cancels: int = 100) -> dict[str, float]:
    """Return the figures of all three."""
    return {**_throughput(slices, slice_s), **_growth(queries), **_cancel(cancels)}


def _throughput(slices: int, slice_s: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), worker_module="workers") as stack:
        stack.start_merge()
        for name in CLUSTERS:
            stack.start_worker((name,))
        mine = local()

        def bare() -> None:
            if not hasattr(mine, "client"):
                mine.client, mine.sent = chord.connect(), 0
            mine.sent += 1
            chord.run(mine.client, f"bench:{id(mine.client)}:{mine.sent}")

        def ours() -> None:
            assert stack.ask(text=_EMPTY, timeout_ms=30_000).status == "complete"

        done = {"bare": 0, "ours": 0}
        with BareChord(stack, [(name,) for name in CLUSTERS]) as chord:
            for number in range(slices + 1):
                for name, ask in (("bare", bare), ("ours", ours)) if number % 2 else (("ours", ours), ("bare", bare)):
                    count = _closed_loop(ask, slice_s)
                    # The first slice of each opens connections and stores.
                    done[name] += count if number else 0
    seconds = slices * slice_s
    return {
        "clients": CLIENTS,
        "bare_chords_per_s": round(done["bare"] / seconds, 1),
        "jobs_per_s": round(done["ours"] / seconds, 1),
        "bare_over_ours_ratio": round(done["bare"] / done["ours"], 2),
    }


def _closed_loop(ask: Callable[[], None], seconds: float) -> int:
    """Have every client ask again as soon as it is answered; return how many answers there were."""
    until_s = time.monotonic() + seconds

    def client(_: int) -> int:
        count = 0
        while time.monotonic() < until_s:
            ask()
            count += 1
        return count

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(client, range(CLIENTS)))


def _growth(queries: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), worker_module="workers") as stack:
        merge, worker = stack.start_merge(with_beat=True), stack.start_worker()
        with WebServer(stack) as web:
            client = connect(stack.url)
            roles = {"web": web.process.pid, "cluster": worker.pid, "merge": merge.pid}

            def ask(number: int) -> None:
                body = {"signal": "metrics", "query": f"sum({METRIC}) + {number}", "timeout": "30s"}
                answer = web.post("/api/v1/queries", body, Prefer="wait=30")
                assert (answer.status_code, answer.json["status"]) == (200, "complete"), answer.text

            def ask_all(numbers: range) -> None:
                with ThreadPoolExecutor(CLIENTS) as pool:
                    list(pool.map(ask, numbers))

            def memory() -> dict[str, float]:
                return {role: sum(map(pss_mb, (pid, *children(pid)))) for role, pid in roles.items()}

            ask_all(range(300))
            before_mb, before_keys, before_channels = memory(), _keys_after_ttl(client), len(client.pubsub_channels())
            ask_all(range(300, 300 + queries))
            after_mb, after_keys, after_channels = memory(), _keys_after_ttl(client), len(client.pubsub_channels())
    return {
        "growth_queries": queries,
        **{f"growth_{role}_mb": round(after_mb[role] - before_mb[role], 1) for role in roles},
        "growth_keys": after_keys - before_keys,
        "growth_subscriptions": after_channels - before_channels,
    }


def _keys_after_ttl(client: object) -> int:
    """Return how many keys are left when every time to live has passed, heartbeats and the broker's books."""
    redis: object = client
    for key in redis.scan_iter():  # type: ignore[attr-defined]
        if redis.pttl(key) > 0 and not key.startswith(b"beats:"):  # type: ignore[attr-defined]
            redis.pexpire(key, 1)  # type: ignore[attr-defined]
    time.sleep(0.5)
    return sum(1 for _ in redis.scan_iter())  # type: ignore[attr-defined]


def _cancel(cancels: int) -> dict[str, float]:
    took_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        stack.start_merge()
        stack.start_worker()
        stack.break_clusters({"stage": {"busy": True}})
        for _ in range(cancels):
            plan = stack.plan(clusters=("stage",), timeout_ms=600_000)
            stack.dispatch.submit(plan)
            stack.until(lambda i=plan.query_id: stack.dispatch.jobs.job("acme", i).state is JobState.RUNNING)
            called_s = time.time()
            stack.dispatch.cancel("acme", plan.query_id)
            stack.until(lambda i=plan.query_id: _stopped_s(stack, i) is not None)
            took_ms.append(((_stopped_s(stack, plan.query_id) or 0) - called_s) * 1000)
    took_ms.sort()
    return {
        "cancels": cancels,
        "cancel_p50_ms": round(took_ms[len(took_ms) // 2], 1),
        "cancel_p99_ms": round(took_ms[int(len(took_ms) * 0.99)], 1),
    }


def _stopped_s(stack: Stack, query_id: str) -> float | None:
    """Return when the worker said that it has stopped a query's shard."""
    for line in stack.log().splitlines():
        if query_id in line and "a shard was stopped" in line:
            return datetime.fromisoformat(json.loads(line)["time"]).timestamp()
    return None
