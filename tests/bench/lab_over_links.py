"""The lab's queries over links of 80 ms of round trip, beside one Prometheus that holds everything, as far away.

Six worker processes with a real Prometheus next to each are behind links of their own; Redis, the merge worker and the
web role are near the client, which asks `/prometheus` and, in turn, the one Prometheus behind a link of the same delay.
Every query in `ROUNDS` rounds after one whose answers are compared; the times are from sending a query to the last byte
of its answer, the quantiles over all queries and rounds. On two cores the servers of six clusters share what each has
for itself elsewhere, and what they have to compute is in the times.

`up_bytes` and `down_bytes` are everything that the links carried in a round, on average, heartbeats included as they
fell (`idle_up_bytes_per_s`); `parts_bytes` is what rests in Redis. `round_trips` is counted: the links' delay is
doubled, and how much later a query's answer comes is divided by the round trip that was added; the most of all queries
is the figure. `tasks` are the messages that Redis saw pushed to clusters' queues. A row per query goes to
`bench/lab_over_links.json`.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from federation_core.query import TimeRange
from tests.oracle.answers import difference, read
from tests.support.redis_monitor import monitoring
from tests.support.stack import PROJECT
from tests.support.timed_client import TimedAnswer
from tests.support.wide_area_lab import WideAreaLab, lab_folder, lab_queries, wide_area_lab
from webapp.auth import OPEN_TENANT

BUDGETS = {
    "parts_bytes": 400_000,
    "up_bytes": 650_000,
    "p50_ms": 110,
    "p95_ms": 130,
    "round_trips": 1,
    "different": 0,
    "incomplete": 0,
    "tasks_beside_clusters_asked": 0,
}
ROUNDS, FAR_ROUNDS = 5, 3
DELAY_MS, LONGER_MS = 40, 80
TABLE = PROJECT / "bench" / "lab_over_links.json"
_REQUESTS = re.compile(rb'prometheus_http_requests_total\{.*handler="/api/v1/.*"\} (\d+)')


@dataclass
class _Row:
    """One query, and what was seen of it in each round."""

    query: str
    asked: TimeRange
    links: int = 0
    tasks: int = 0
    parts_bytes: int = 0
    ours_ms: list[float] = field(default_factory=list)
    theirs_ms: list[float] = field(default_factory=list)
    up_bytes: list[int] = field(default_factory=list)
    down_bytes: list[int] = field(default_factory=list)
    far_ms: list[float] = field(default_factory=list)

    @property
    def round_trips(self) -> float:
        """How many round trips the answer waits for: what comes later, by what was added to each.

        Of the least of each: a plan waits for as many every time, and what else the machine does only adds to some.
        """
        return (min(self.far_ms) - min(self.ours_ms)) / (2 * (LONGER_MS - DELAY_MS))


@dataclass(frozen=True)
class _Told:
    """A row of the table."""

    query: str
    links: int
    parts_bytes: int
    up_bytes: int
    down_bytes: int
    p50_ms: float
    oracle_p50_ms: float
    round_trips: float


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """Return the figures; write the table."""
    source, prometheus = lab_folder(), shutil.which("prometheus")
    if source is None or prometheus is None or shutil.which("promtool") is None:
        print("lab_over_links: needs prometheus and promtool, and the lab's generator", file=sys.stderr)
        return {}
    rows = [_Row(query, asked) for query, asked in lab_queries(source)]
    with TemporaryDirectory() as folder, wide_area_lab(prometheus, Path(folder), source, DELAY_MS) as lab:
        figures: dict[str, float] = {"queries": len(rows), "rounds": rounds, **_compared(lab, rows)}
        figures |= _idle(lab)
        for _ in range(rounds):
            _time(lab, rows)
        figures |= _counted(lab, rows)
        lab.set_delay(LONGER_MS)
        for row in rows * FAR_ROUNDS:
            row.far_ms.append(lab.ours.ask(row.query, row.asked).took_ms)
    told = [_told(row) for row in rows]
    _keep(told)
    near, far = ([ms for row in rows for ms in of(row)] for of in (lambda row: row.ours_ms, lambda row: row.far_ms))
    return {
        **figures,
        **_quantiles("", near),
        **_quantiles("oracle_", [ms for row in rows for ms in row.theirs_ms]),
        "up_bytes": round(sum(sum(row.up_bytes) for row in rows) / rounds),
        "down_bytes": round(sum(sum(row.down_bytes) for row in rows) / rounds),
        "round_trips_measured": round((median(far) - median(near)) / (2 * (LONGER_MS - DELAY_MS)), 3),
        "round_trips_most_measured": max(one.round_trips for one in told),
        "round_trips": max(round(one.round_trips) for one in told),
    }


def _compared(lab: WideAreaLab, rows: Sequence[_Row]) -> dict[str, float]:
    """Ask everything once, which also warms what keeps something; count what is not as the oracle has it."""
    different, incomplete = 0, 0
    for row in rows:
        mine, theirs = lab.ours.ask(row.query, row.asked), lab.theirs.ask(row.query, row.asked)
        chosen, sorts = "topk" in row.query or "bottomk" in row.query, row.query.startswith("sort")
        found = difference(read(mine.json), read(theirs.json), chosen=chosen, ordered=sorts and not row.asked.step_ms)
        if found:
            print(f"{row.query}: {found}", file=sys.stderr)
        different += bool(found)
        incomplete += not _is_complete(mine)
    return {"different": different, "incomplete": incomplete}


def _is_complete(answer: TimedAnswer) -> bool:
    answered, _, asked = answer.headers["x-federation-coverage"].partition("/")
    return answered == asked


def _idle(lab: WideAreaLab, seconds: float = 5.0) -> dict[str, float]:
    before, _ = _carried(lab)
    time.sleep(seconds)
    return {"idle_up_bytes_per_s": round((_carried(lab)[0] - before) / seconds)}


def _carried(lab: WideAreaLab) -> tuple[int, int]:
    """Return the bytes that all links have carried up and down."""
    links = lab.stack.wan.traffic().values()
    return sum(link.up_bytes for link in links), sum(link.down_bytes for link in links)


def _time(lab: WideAreaLab, rows: Sequence[_Row]) -> None:
    """Ask everything once, the oracle in turn with us."""
    up, down = _carried(lab)
    for row in rows:
        row.ours_ms.append(lab.ours.ask(row.query, row.asked).took_ms)
        row.theirs_ms.append(lab.theirs.ask(row.query, row.asked).took_ms)
        # What a query leaves behind on its link, and a heartbeat, falls to the query that is under way.
        up_now, down_now = _carried(lab)
        row.up_bytes.append(up_now - up)
        row.down_bytes.append(down_now - down)
        up, down = up_now, down_now


def _counted(lab: WideAreaLab, rows: Sequence[_Row]) -> dict[str, float]:
    """Ask everything once, looking at what it rests on: the ledger, the messages, the requests to the backends."""
    requests = _requests(lab)
    for row in rows:
        with monitoring(lab.stack.url) as seen:
            answer = lab.ours.ask(row.query, row.asked)
        row.tasks = sum(said["command"].startswith("LPUSH cluster.") for said in seen)
        job = lab.stack.dispatch.jobs.job(OPEN_TENANT, answer.headers["x-query-id"])
        row.links = len(job.plan.shards)
        row.parts_bytes = sum(cluster.bytes for cluster in job.progress)
    asked = sum(row.links for row in rows)
    return {
        "parts_bytes": sum(row.parts_bytes for row in rows),
        "clusters_asked": asked,
        "tasks": sum(row.tasks for row in rows),
        "tasks_beside_clusters_asked": sum(abs(row.tasks - row.links) for row in rows),
        "requests_per_task": round((_requests(lab) - requests) / asked, 3),
    }


def _requests(lab: WideAreaLab) -> int:
    """Return how many requests to their API the clusters' servers have answered."""
    return sum(int(number) for address in lab.backends.values() for number in _numbers(address))


def _numbers(address: str) -> Iterator[bytes]:
    with urlopen(f"http://{address}/metrics") as response:
        for found in _REQUESTS.finditer(response.read()):
            yield found[1]


def _quantiles(name: str, took_ms: list[float]) -> dict[str, float]:
    ordered = sorted(took_ms)
    return {f"{name}p{p}_ms": round(ordered[len(ordered) * p // 100], 1) for p in (50, 95, 99)}


def _told(row: _Row) -> _Told:
    return _Told(
        row.query,
        row.links,
        row.parts_bytes,
        round(mean(row.up_bytes)),
        round(mean(row.down_bytes)),
        round(median(row.ours_ms), 1),
        round(median(row.theirs_ms), 1),
        round(row.round_trips, 2),
    )


def _keep(table: Sequence[_Told]) -> None:
    """Print the table, the longest first, and write it, a query a line."""
    for row in sorted(table, key=lambda row: -row.p50_ms):
        numbers = f"{row.p50_ms:7.1f} ms {row.oracle_p50_ms:7.1f} oracle  {row.links} links"
        print(f"{numbers} {row.parts_bytes:7} parts {row.up_bytes:7} up  {row.query}", file=sys.stderr)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("[\n" + ",\n".join(json.dumps(asdict(row)) for row in table) + "\n]\n")


if __name__ == "__main__":
    for figure, value in measure().items():
        print(f"{figure:30} {value:12.3f}")
