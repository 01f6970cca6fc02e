#!/usr/bin/env python3
"""Compare a candidate's PromQL answers with an oracle Prometheus; measure time and bytes.

usage: compare.py ORACLE_URL CANDIDATE_URL [--queries FILE] [--rounds N]
                  [--stats http://127.0.0.1:PORT] [--rtol 1e-9] [--json OUT] [--header K=V]

Prints one row per query:
  same / tie (topk chose others of equal value) / DIFF (with the reason) / ERROR (candidate failed, oracle did not) /
  both-error / MISSED-ERROR (oracle refuses, candidate answers)
With --stats (wanproxy control URL): bytes and requests on the cluster links.
Order of series does not matter except for sort(). Values: NaN equals NaN.
Answer sizes are of the identity-coded JSON body, and gzip level 6 of it.
"""

import argparse
import gzip
import http.client
import json
import math
import os
import time
from urllib.parse import urlencode, urlsplit

T0 = 1790006400


class Api:
    """One keep-alive connection to a Prometheus-compatible HTTP API."""

    def __init__(self, url, timeout, headers=None):
        u = urlsplit(url)
        self.host, self.prefix, self.timeout = u.netloc, u.path.rstrip("/"), timeout
        self.headers = headers or {}
        self.conn = None

    def get(self, path):
        for again in (True, False):
            try:
                if self.conn is None:
                    self.conn = http.client.HTTPConnection(self.host, timeout=self.timeout)
                self.conn.request("GET", self.prefix + path, headers={"Accept-Encoding": "identity", **self.headers})
                r = self.conn.getresponse()
                return r.status, r.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.conn = None
                if not again:
                    raise
            except Exception:
                self.conn = None
                raise

    def query(self, when, expr):
        if when.startswith("i@"):
            path = "/api/v1/query?" + urlencode({"query": expr, "time": T0 + int(when[2:])})
        else:
            span, step = when[2:].split("/")
            a, b = span.split("-")
            path = "/api/v1/query_range?" + urlencode(
                {"query": expr, "start": T0 + int(a), "end": T0 + int(b), "step": step}
            )
        t = time.perf_counter()
        try:
            status, body = self.get(path)
        except OSError as e:
            return {"status": "error", "error": f"{type(e).__name__}: {e}"}, b"", time.perf_counter() - t
        took = time.perf_counter() - t
        try:
            doc = json.loads(body)
        except ValueError:
            doc = {"status": "error", "error": f"HTTP {status}: {body[:120]!r}"}
        return doc, body, took


def close(a, b, rtol):
    a, b = float(a), float(b)
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=rtol, abs_tol=1e-12)


def flat(data):
    """{labels: {ts: value}} for any result type; also the order of the keys."""
    rt, res = data["resultType"], data["result"]
    if rt in ("scalar", "string"):
        return rt, {(): {res[0]: res[1]}}, [()], 0
    out, order, dup = {}, [], 0
    for s in res:
        key = tuple(sorted(s["metric"].items()))
        dup += key in out
        order.append(key)
        out[key] = {float(t): v for t, v in (s["values"] if "values" in s else [s["value"]])}
    return rt, out, order, dup


def diff(want, got, rtol, ordered):
    """'' when equal, otherwise a short reason."""
    wt, w, wo, _ = flat(want)
    gt, g, go, gdup = flat(got)
    if wt != gt:
        return f"type {wt} -> {gt}"
    why = []
    if gdup:
        why.append(f"{gdup} duplicate label sets")
    lost, extra = w.keys() - g.keys(), g.keys() - w.keys()
    if lost or extra:
        why.append(f"series {len(w)} -> {len(g)} (lost {len(lost)}, extra {len(extra)})")
    pl = pe = bad = n = 0
    sample = None
    for k in w.keys() & g.keys():
        a, b = w[k], g[k]
        pl += len(a.keys() - b.keys())
        pe += len(b.keys() - a.keys())
        for t in a.keys() & b.keys():
            n += 1
            if not close(a[t], b[t], rtol):
                bad += 1
                sample = sample or f"{a[t]} -> {b[t]}"
    if pl or pe:
        why.append(f"points lost {pl}, extra {pe}")
    if bad:
        why.append(f"values wrong {bad}/{n} (e.g. {sample})")
    if not why and ordered and wo != go:
        why.append("order")
    return "; ".join(why)


def tied(want, got, rtol):
    """True when the same values stand at every time, whatever series carry them (topk's choice among equals)."""

    def by_time(data):
        out = {}
        for points in flat(data)[1].values():
            for t, v in points.items():
                out.setdefault(t, []).append(float(v))
        return {t: sorted(vs) for t, vs in out.items()}

    w, g = by_time(want), by_time(got)
    return w.keys() == g.keys() and all(
        len(w[t]) == len(g[t]) and all(close(a, b, rtol) for a, b in zip(w[t], g[t], strict=True)) for t in w
    )


def judge(expr, want, got, rtol):
    """The verdict on one answer, and the reason for it."""
    ok, gok = want.get("status") == "success", got.get("status") == "success"
    if ok and gok:
        why = diff(want["data"], got["data"], rtol, expr.startswith("sort"))
        verdict = "DIFF" if why else "same"
        if why and ("topk" in expr or "bottomk" in expr) and tied(want["data"], got["data"], rtol):
            verdict = "tie"
    elif ok:
        verdict, why = "ERROR", str(got.get("error"))[:150]
    elif gok:
        verdict, why = "MISSED-ERROR", "oracle: " + str(want.get("error"))[:120]
    else:
        verdict, why = "both-error", ""
    return verdict, why


def read_queries(path):
    """[(when, expr)] of a file like queries.txt."""
    with open(path) as f:
        lines = [line.rstrip("\n") for line in f]
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def pct(xs, p):
    xs = sorted(xs)
    return xs[min(len(xs) - 1, max(0, math.ceil(p / 100 * len(xs)) - 1))]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("oracle")
    ap.add_argument("candidate")
    ap.add_argument("--queries", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "queries.txt"))
    ap.add_argument("--rounds", type=int, default=1)
    ap.add_argument("--stats")
    ap.add_argument("--rtol", type=float, default=1e-9)
    ap.add_argument("--timeout", type=float, default=30)
    ap.add_argument("--json")
    ap.add_argument("--header", action="append", default=[])
    ap.add_argument("--quiet", action="store_true", help="only what is not the same, and totals")
    a = ap.parse_args()
    hdr = dict(h.split("=", 1) for h in a.header)
    oracle, cand = Api(a.oracle, a.timeout), Api(a.candidate, a.timeout, hdr)
    ctl = Api(a.stats, 5) if a.stats else None

    def links():
        return json.loads(ctl.get("/stats")[1])["links"] if ctl else {}

    rows, tally = [], {}
    lat = {"oracle": [], "candidate": []}
    for when, expr in read_queries(a.queries):
        want, wbody, _ = oracle.query(when, expr)
        cand.query(when, expr)  # warm connections
        if ctl:
            ctl.get("/reset")
        got, _, first = cand.query(when, expr)
        if ctl:
            time.sleep(0.02)
        ls = links()
        verdict, why = judge(expr, want, got, a.rtol)
        tally[verdict] = tally.get(verdict, 0) + 1
        lo, lc = [], [first]
        for _ in range(a.rounds - 1):
            lc.append(cand.query(when, expr)[2])
        for _ in range(a.rounds if a.rounds > 1 else 0):
            lo.append(oracle.query(when, expr)[2])
        lat["oracle"] += lo
        lat["candidate"] += lc
        row = {
            "when": when,
            "query": expr,
            "verdict": verdict,
            "why": why,
            "warnings": len(got.get("warnings") or []),
            "answer_bytes": len(wbody),
            "answer_gzip": len(gzip.compress(wbody, 6)),
            "link_down": sum(x["down"] for x in ls.values()),
            "link_up": sum(x["up"] for x in ls.values()),
            "requests": sum(x["requests"] for x in ls.values()),
            "links_used": sum(x["down"] > 0 for x in ls.values()),
            "cand_ms": [round(x * 1e3, 3) for x in lc],
            "oracle_ms": [round(x * 1e3, 3) for x in lo],
        }
        rows.append(row)
        if not a.quiet or verdict not in ("same", "tie", "both-error"):
            extra = f" links={row['links_used']} req={row['requests']} down={row['link_down']}" if ctl else ""
            print(
                f"{verdict:12s} {pct(lc, 50) * 1e3:8.1f} ms  ans={len(wbody)}/{row['answer_gzip']}gz{extra}  "
                f"{when}  {expr}" + (f"\n{'':13s}^ {why}" if why else "")
            )
    print("\nverdicts:", ", ".join(f"{k} {v}" for k, v in sorted(tally.items())), "of", len(rows))
    for who, xs in lat.items():
        if xs:
            print(
                f"{who}: n={len(xs)} p50={pct(xs, 50) * 1e3:.1f} p95={pct(xs, 95) * 1e3:.1f} "
                f"p99={pct(xs, 99) * 1e3:.1f} max={max(xs) * 1e3:.1f} ms"
            )
    if ctl:
        d, g, r = (sum(x[k] for x in rows) for k in ("link_down", "answer_gzip", "answer_bytes"))
        print(
            f"links: down {d} B, up {sum(x['link_up'] for x in rows)} B, "
            f"requests {sum(x['requests'] for x in rows)}; answers {r} B, gzip {g} B; "
            f"down/answer {d / max(1, r):.2f}, down/gzip {d / max(1, g):.2f}"
        )
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"tally": tally, "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
