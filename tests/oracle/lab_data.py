"""A deterministic six-cluster data set, for our clusters and for the one Prometheus that holds them all.

One sample per 15 s for two hours, each target at its own millisecond of the scrape interval, so that no sample falls
on a step of a query: left-open and left-closed windows (Prometheus 3 and 2) then agree. Planted on purpose: counter
resets, pods that end and start (a roll-out), holes, lost scrapes, an outage of all of `stage`, NaN values, services
shared by several clusters, pods of one name in several clusters, tables that only one cluster has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from federation_core.labels import CLUSTER, Labels
from tests.support.sample_store import Series

T0_S = 1_790_006_400
STEP_S, SCRAPES = 15, 480
ROLLOUT_S = 2410
OUTAGE_S = {"stage": (3000, 3400)}
#: name → (namespace, replicas)
SERVICES = {
    "gateway": ("edge", 2),
    "checkout": ("shop", 3),
    "catalog": ("shop", 2),
    "payments": ("pay", 2),
    "redis": ("data", 2),
    "search": ("shop", 2),
    "auth": ("platform", 2),
    "batch": ("jobs", 2),
}
PLACED = {
    "dev": ("gateway", "checkout", "auth", "redis"),
    "test": ("gateway", "payments", "redis", "batch"),
    "stage": ("gateway", "checkout", "catalog", "redis"),
    "prod": ("gateway", "checkout", "catalog", "payments", "redis", "search"),
    "app-prod": ("gateway", "checkout", "payments", "redis", "search"),
    "shared-services": ("auth", "redis", "search", "gateway"),
}
WEIGHT = {"dev": 1, "test": 2, "stage": 3, "prod": 40, "app-prod": 25, "shared-services": 8}
BOUNDS = ("0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf")


@dataclass(frozen=True)
class Pod:
    """One scrape target: its labels, when it is scraped, and when its counters start again."""

    labels: Mapping[str, str]
    scrapes: Sequence[int]
    times_ms: Sequence[int]
    restarts: frozenset[int]


def clusters() -> dict[str, list[Series]]:
    """Return the series of every cluster, without the label `cluster`."""
    return {cluster: list(_cluster(random.Random(f"lab/{cluster}"), cluster)) for cluster in PLACED}


def write_openmetrics(stores: Mapping[str, Sequence[Series]], path: Path) -> None:
    """Write all series, each with its label `cluster`, for `promtool tsdb create-blocks-from openmetrics`."""
    rows = sorted((ls.with_label(CLUSTER, cluster), t, v) for cluster, kept in stores.items() for ls, t, v in kept)
    with path.open("w") as out:
        for labels, times, values in rows:
            inner = ",".join(f'{name}="{value}"' for name, value in labels if name != "__name__")
            head = f"{labels.get('__name__')}{{{inner}}} "
            out.writelines(f"{head}{_text(v)} {t / 1000:.3f}\n" for t, v in zip(times, values, strict=True))
        out.write("# EOF\n")


def _text(value: float) -> str:
    return "NaN" if value != value else repr(value)


def _cluster(rng: random.Random, cluster: str) -> Iterator[Series]:
    weight = WEIGHT[cluster]
    for pod in _pods(rng, cluster):
        for method in ("GET", "POST"):
            for code, share in (("200", 1.0), ("404", 0.06), ("500", 0.0 if cluster == "dev" else 0.02)):
                # Some series never exist.
                if share and not (code == "500" and pod.labels["service"] == "catalog" and method == "POST"):
                    rate = weight * share * (3 if method == "GET" else 1) * rng.uniform(0.6, 1.6)
                    values = _counter(rng, pod, lambda rate=rate: float(int(rng.random() * 2 * rate * STEP_S)))
                    yield _series("http_requests_total", {**pod.labels, "code": code, "method": method}, pod, values)
        yield from _histogram(rng, pod, weight, skew=1.0 if cluster == "app-prod" else 0.0)
        yield from _gauges(rng, pod)
    every = _pod(rng, cluster, {}, 0, SCRAPES * STEP_S)
    for node in range(3):
        loads = {i: round(rng.uniform(0, 8), 2) for i in range(SCRAPES)}
        yield _series("node_load1", {"node": f"{cluster}-node-{node}"}, every, loads)
    if cluster == "shared-services":
        for number, service in enumerate(SERVICES):
            ones = dict.fromkeys(range(SCRAPES), 1.0)
            yield _series("service_owner_info", {"service": service, "team": f"team-{number % 3}"}, every, ones)


def _pods(rng: random.Random, cluster: str) -> Iterator[Pod]:
    for service in PLACED[cluster]:
        namespace, replicas = SERVICES[service]
        for replica in range(replicas):
            labels = {"namespace": namespace, "service": service}
            # A StatefulSet: the same pod name in every cluster.
            name = f"redis-{replica}" if service == "redis" else f"{service}-{rng.randrange(16**5):05x}"
            if service == "checkout" and replica == 0:
                yield _pod(rng, cluster, {**labels, "pod": name}, 0, ROLLOUT_S + 30)
                successor = f"checkout-{rng.randrange(16**5):05x}"
                yield _pod(rng, cluster, {**labels, "pod": successor}, ROLLOUT_S - 30, SCRAPES * STEP_S)
            else:
                yield _pod(rng, cluster, {**labels, "pod": name}, 0, SCRAPES * STEP_S)


def _pod(rng: random.Random, cluster: str, labels: Mapping[str, str], start_s: int, end_s: int) -> Pod:
    phase_ms = rng.randrange(200, 14_800)
    hole_s = rng.randrange(500, 6300) if rng.random() < 0.35 else end_s
    dark = OUTAGE_S.get(cluster, (0, 0))
    scrapes = [
        i
        for i in range(SCRAPES)
        if start_s <= (at := i * STEP_S) < end_s
        and not hole_s <= at < hole_s + 720
        and not dark[0] <= at < dark[1]
        and rng.random() >= 0.004
    ]
    times_ms = [T0_S * 1000 + i * STEP_S * 1000 + phase_ms for i in scrapes]
    return Pod(labels, scrapes, times_ms, frozenset(rng.randrange(SCRAPES) for _ in range(rng.choice([0, 0, 1, 2]))))


def _series(name: str, labels: Mapping[str, str], pod: Pod, values: Mapping[int, float]) -> Series:
    return Labels.of({"__name__": name, **labels}), pod.times_ms, [values[i] for i in pod.scrapes]


def _counter(rng: random.Random, pod: Pod, draw: object) -> dict[int, float]:
    value, values = 0.0, {}
    for i in range(SCRAPES):
        value = (0.0 if i in pod.restarts else value) + draw()  # type: ignore[operator]
        values[i] = value
    return values


def _histogram(rng: random.Random, pod: Pod, weight: int, skew: float) -> Iterator[Series]:
    name, places = "http_request_duration_seconds", len(BOUNDS)
    buckets: list[dict[int, float]] = [{} for _ in BOUNDS]
    sums: dict[int, float] = {}
    reached, total, centre = [0.0] * places, 0.0, rng.uniform(2.0, 5.5) + skew
    for i in range(SCRAPES):
        if i in pod.restarts:
            reached, total = [0.0] * places, 0.0
        for _ in range(3):
            place, count = min(places - 1, max(0, int(rng.gauss(centre, 1.6)))), rng.randrange(2 * weight + 2)
            reached = [old + (count if k >= place else 0) for k, old in enumerate(reached)]
            total += count * min(4.0, float(BOUNDS[place])) * 0.7
        for k, value in enumerate(reached):
            buckets[k][i] = value
        sums[i] = round(total, 6)
    for bound, values in zip(BOUNDS, buckets, strict=True):
        yield _series(f"{name}_bucket", {**pod.labels, "le": bound}, pod, values)
    yield _series(f"{name}_sum", pod.labels, pod, sums)
    yield _series(f"{name}_count", pod.labels, pod, buckets[-1])


def _gauges(rng: random.Random, pod: Pod) -> Iterator[Series]:
    memory, lean = rng.uniform(5e7, 9e8), rng.uniform(-2e4, 6e4)
    depth, nan_from, nan_length = 0, rng.randrange(SCRAPES), rng.choice([0, 0, 8, 60])
    bytes_used, hits, depths = {}, {}, {}
    for i in range(SCRAPES):
        memory = max(1e7, memory + lean + rng.gauss(0, 2e5))
        depth = max(0, depth + rng.choice([-2, -1, 0, 0, 1, 2]))
        bytes_used[i], depths[i] = float(int(memory)), float(depth)
        hits[i] = float("nan") if nan_from <= i < nan_from + nan_length else round(rng.uniform(0.5, 1), 4)
    yield _series("container_memory_working_set_bytes", pod.labels, pod, bytes_used)
    yield _series("cache_hit_ratio", pod.labels, pod, hits)
    yield _series("queue_depth", pod.labels, pod, depths)
    yield _series("up", pod.labels, pod, {i: float(rng.random() >= 0.01) for i in range(SCRAPES)})
