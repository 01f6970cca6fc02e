#!/usr/bin/env python3
"""Deterministic OpenMetrics data set for six clusters plus one oracle.

usage: gen.py OUTDIR [--seed 7] [--series-label]

Writes OUTDIR/<cluster>.om (what that cluster's own Prometheus holds) and
OUTDIR/oracle.om (everything; each series carries cluster=<name>).
By default the per-cluster files do NOT carry the `cluster` label, as with a real
Prometheus whose `cluster` is an external label; --series-label adds it there too.

Window: T0 .. T0+6h, one sample per 15 s, each target at its own scrape phase
(so that no sample falls on a query step: left-open and left-closed range
selectors then agree, and engine versions can be compared).
Planted on purpose:
  * counter resets (pod restarts), a roll-out at +2 h (old pods end, new start)
  * 12-minute holes in single pods, a 20-minute outage of all of `stage`
    (+9000..+10200 s), sporadic lost scrapes
  * NaN values in cache_hit_ratio
  * services shared by several clusters, StatefulSet pods of the same name in
    several clusters, one table (service_owner_info) that only one cluster has
  * a service that only one cluster has (batch, in test)
  * 10-bucket classic histograms
"""

import argparse
import os
import random

T0, STEP, N = 1790006400, 15, 1440  # 2026-09-21T16:00:00Z, 6 h
CLUSTERS = ["dev", "test", "stage", "prod", "app-prod", "shared-services"]
SERVICES = {  # name -> (namespace, replicas)
    "gateway": ("edge", 2),
    "checkout": ("shop", 3),
    "catalog": ("shop", 2),
    "payments": ("pay", 2),
    "redis": ("data", 2),
    "search": ("shop", 2),
    "auth": ("platform", 2),
    "dns": ("platform", 2),
    "batch": ("jobs", 2),
}
PLACED = {
    "dev": ["gateway", "checkout", "catalog", "auth", "redis"],
    "test": ["gateway", "checkout", "payments", "redis", "batch"],
    "stage": ["gateway", "checkout", "catalog", "payments", "redis", "search"],
    "prod": ["gateway", "checkout", "catalog", "payments", "redis", "search"],
    "app-prod": ["gateway", "checkout", "catalog", "payments", "redis", "search"],
    "shared-services": ["auth", "dns", "redis", "search", "gateway"],
}
WEIGHT = {"dev": 1, "test": 2, "stage": 3, "prod": 40, "app-prod": 25, "shared-services": 8}
LE = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"]
OUTAGE = {"stage": (9000, 10200)}


def fmt(v):
    return "NaN" if v != v else repr(round(v, 6)) if isinstance(v, float) else str(v)


def labels(d):
    return "{" + ",".join(f'{k}="{v}"' for k, v in d.items()) + "}"


class Pod:
    """One scrape target: its life span, holes and lost scrapes."""

    def __init__(self, rnd, cluster, svc, ns, name, node, start, end):
        self.cluster, self.svc, self.ns, self.name, self.node = cluster, svc, ns, name, node
        phase = rnd.randrange(200, 14800) / 1000
        hole = rnd.randrange(1500, 19000) if rnd.random() < 0.35 else None
        out = OUTAGE.get(cluster)
        self.ticks = []  # (index, "timestamp")
        for i in range(N):
            t = i * STEP + phase
            if not start <= t < end:
                continue
            if hole and hole <= t < hole + 720:
                continue
            if out and out[0] <= t < out[1]:
                continue
            if rnd.random() < 0.004:
                continue
            self.ticks.append((i, f"{T0 + t:.3f}"))
        self.restarts = {rnd.randrange(N) for _ in range(rnd.choice([0, 0, 1, 2]))}


def pods_of(rnd, cluster):
    for svc in PLACED[cluster]:
        ns, reps = SERVICES[svc]
        for r in range(reps + (1 if cluster in ("prod", "app-prod") and svc == "checkout" else 0)):
            node = f"{cluster}-node-{rnd.randrange(3)}"
            if svc == "redis":  # StatefulSet: same pod name in every cluster
                yield Pod(rnd, cluster, svc, ns, f"redis-{r}", node, 0, N * STEP)
            elif svc == "checkout" and r == 0:  # rolled at +2 h
                yield Pod(rnd, cluster, svc, ns, f"checkout-{rnd.randrange(16**5):05x}", node, 0, 7230)
                yield Pod(rnd, cluster, svc, ns, f"checkout-{rnd.randrange(16**5):05x}", node, 7170, N * STEP)
            else:
                yield Pod(rnd, cluster, svc, ns, f"{svc}-{rnd.randrange(16**5):05x}", node, 0, N * STEP)


def series_of(rnd, cluster):
    """Yield (family, type, sample name, labels, [(ts, value)])."""
    w = WEIGHT[cluster]
    pods = list(pods_of(rnd, cluster))
    out = []
    for p in pods:
        base = {"namespace": p.ns, "service": p.svc, "pod": p.name}
        for method in ("GET", "POST"):
            for code, share in (("200", 1.0), ("404", 0.06), ("500", 0.02 if cluster != "dev" else 0)):
                if code == "500" and (share == 0 or (p.svc == "catalog" and method == "POST")):
                    continue  # some series never exist
                acc, pts = 0, []
                rate = w * share * (3 if method == "GET" else 1) * rnd.uniform(0.6, 1.6)
                ticks = dict(p.ticks)
                for i in range(N):
                    if i in p.restarts:
                        acc = 0
                    burst = 4 if code == "500" and 700 <= i < 760 and cluster == "prod" else 1
                    acc += int(rnd.random() * 2 * rate * burst * STEP)
                    if i in ticks:
                        pts.append((ticks[i], acc))
                out.append(
                    ("http_requests", "counter", "http_requests_total", {**base, "code": code, "method": method}, pts)
                )
        cum, tot = [0] * 10, 0.0
        bp = [[] for _ in range(10)]
        sp, cp = [], []
        ticks = dict(p.ticks)
        centre = rnd.uniform(2.0, 5.5) + (1.0 if cluster == "app-prod" else 0)
        for i in range(N):
            if i in p.restarts:
                cum, tot = [0] * 10, 0.0
            for _ in range(3):
                b = min(9, max(0, int(rnd.gauss(centre, 1.6))))
                n = rnd.randrange(0, 2 * w + 2)
                for j in range(b, 10):
                    cum[j] += n
                tot += n * (float(LE[b]) if b < 9 else 4.0) * 0.7
            if i in ticks:
                for j in range(10):
                    bp[j].append((ticks[i], cum[j]))
                sp.append((ticks[i], float(tot)))
                cp.append((ticks[i], cum[9]))
        f = "http_request_duration_seconds"
        for j in range(10):
            out.append((f, "histogram", f + "_bucket", {**base, "le": LE[j]}, bp[j]))
        out.append((f, "histogram", f + "_sum", base, sp))
        out.append((f, "histogram", f + "_count", base, cp))
        # gauges
        mem, pts, nan_from = rnd.uniform(5e7, 9e8), [], rnd.randrange(N)
        nan_len = rnd.choice([0, 0, 8, 60])
        hit, dep = [], []
        lean = rnd.uniform(-2e4, 6e4)
        depth = 0
        for i in range(N):
            mem = max(1e7, mem + lean + rnd.gauss(0, 2e5))
            depth = max(0, depth + rnd.choice([-2, -1, 0, 0, 1, 2]))
            if i in ticks:
                pts.append((ticks[i], float(int(mem))))
                hit.append(
                    (ticks[i], float("nan") if nan_from <= i < nan_from + nan_len else round(rnd.uniform(0.5, 1), 4))
                )
                dep.append((ticks[i], depth))
        out.append(
            (
                "container_memory_working_set_bytes",
                "gauge",
                "container_memory_working_set_bytes",
                {**base, "node": p.node},
                pts,
            )
        )
        out.append(("cache_hit_ratio", "gauge", "cache_hit_ratio", base, hit))
        out.append(("queue_depth", "gauge", "queue_depth", base, dep))
        out.append(
            (
                "up",
                "gauge",
                "up",
                {"job": p.svc, "namespace": p.ns, "pod": p.name},
                [(t, 0 if rnd.random() < 0.01 else 1) for _, t in p.ticks],
            )
        )
        out.append(
            (
                "kube_pod_info",
                "gauge",
                "kube_pod_info",
                {"namespace": p.ns, "pod": p.name, "node": p.node},
                [(t, 1) for _, t in p.ticks],
            )
        )
    every = Pod(rnd, cluster, "", "", "", "", 0, N * STEP).ticks
    for svc in PLACED[cluster]:
        ver = f"1.{rnd.randrange(3)}.0" if w < 20 else "1.1.0"
        out.append(
            (
                "service_build_info",
                "gauge",
                "service_build_info",
                {"service": svc, "version": ver},
                [(t, 1) for _, t in every],
            )
        )
    for n in range(3):
        out.append(
            (
                "node_load1",
                "gauge",
                "node_load1",
                {"node": f"{cluster}-node-{n}"},
                [(t, round(rnd.uniform(0, 8), 2)) for _, t in every],
            )
        )
    if cluster == "shared-services":
        for k, svc in enumerate(SERVICES):
            out.append(
                (
                    "service_owner_info",
                    "gauge",
                    "service_owner_info",
                    {"service": svc, "team": f"team-{k % 3}"},
                    [(t, 1) for _, t in every],
                )
            )
    return out


def write(f, rows, extra):
    last = None
    for fam, typ, name, lab, pts in rows:
        if fam != last:
            f.write(f"# TYPE {fam} {typ}\n")
            last = fam
        head = name + labels({**extra, **lab}) + " "
        f.write("".join(f"{head}{fmt(v)} {t}\n" for t, v in pts))


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("outdir")
    ap.add_argument("--seed", type=int, default=7)
    ap.add_argument("--series-label", action="store_true")
    a = ap.parse_args()
    os.makedirs(a.outdir, exist_ok=True)
    with open(os.path.join(a.outdir, "oracle.om"), "w") as oracle:
        for cluster in CLUSTERS:
            rows = series_of(random.Random(f"{a.seed}/{cluster}"), cluster)
            rows.sort(key=lambda r: (r[0], r[2]))
            with open(os.path.join(a.outdir, cluster + ".om"), "w") as f:
                write(f, rows, {"cluster": cluster} if a.series_label else {})
                f.write("# EOF\n")
            write(oracle, rows, {"cluster": cluster})
            print(cluster, len(rows), "series", sum(len(r[4]) for r in rows), "samples")
        oracle.write("# EOF\n")


if __name__ == "__main__":
    main()
