"""A whole stack for tests: a real redis-server, real Celery workers as processes, six real embedded stores.

The stores hold one counter and a few log lines per cluster, written through the OTLP path. What a backend does wrong
can be switched while the stack runs (`Stack.break_clusters`); everything else is as in production.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from federation_core import federate
from federation_core.connectors.files import load
from federation_core.connectors.otlp.ingest import Ingest
from federation_core.connectors.stores.redis import EmbeddedRedis
from federation_core.connectors.stores.segments import SegmentStore
from federation_core.outcome import Result
from federation_core.plan import Plan
from federation_core.query import Query, Requirement, TimeRange
from federation_core.tenancy import Scope
from webapp.cli.stack import commands
from workers.dispatch import Dispatch, wall_clock_ms

PROJECT = Path(__file__).parents[2]
ENVIRONMENTS = {
    "app-prod": "prod",
    "dev": "dev",
    "prod": "prod",
    "shared-services": "prod",
    "stage": "stage",
    "test": "test",
}
CLUSTERS = tuple(ENVIRONMENTS)
#: Each cluster's counter stands at its own number, so that a sum says which clusters are in it.
COUNTS = {name: 10**place for place, name in enumerate(CLUSTERS)}
METRIC = "jobs_done_total"


def write_stores(folder: Path, now_ms: int) -> None:
    """Write one store per cluster: a counter that has stood still for ten minutes."""
    for name in CLUSTERS:
        with SegmentStore(folder / name, cluster=name) as store:
            ingest = Ingest(store)
            ingest.add(_counter(name, now_ms))
            ingest.flush()
            assert not ingest.report.rejected, ingest.report


def write_config(folder: Path, stores: Path) -> None:
    """Write the configuration of the six clusters over the stores."""
    lines = ["clusters:"]
    for name, environment in ENVIRONMENTS.items():
        lines += [f"  - name: {name}", f"    environment: {environment}", "    backends:"]
        lines += [
            f"      {signal}: {{kind: embedded, path: {stores / name}}}" for signal in ("metrics", "logs", "traces")
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clusters.yaml").write_text("\n".join(lines) + "\n")


@dataclass
class Stack:
    """Starts and ends the parts of a stack in one folder; a context manager that leaves no process behind."""

    folder: Path
    worker_module: str = "tests.support.worker_with_faults"
    url: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Stack:
        self.now_ms = wall_clock_ms()
        write_stores(self.folder / "stores", self.now_ms)
        write_config(self.folder / "config", self.folder / "stores")
        self.redis = EmbeddedRedis(self.folder / "redis")
        self.url = self.redis.start()
        self.break_clusters({})
        self.environ = commands.environment(
            os.environ,
            APPSENTRY_CONFIG=str(self.folder / "config"),
            REDIS_URL=self.url,
            AUTH_ENABLED="false",
            TEST_FAULTS=str(self.folder / "faults.json"),
        )
        self.settings = load(self.environ)
        self.dispatch = Dispatch(self.settings)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        for process in self.processes:
            process.wait()
        self.redis.stop()

    def start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        """Start a role as it is started in production, except for what `worker_module` adds."""
        module = argv.index("workers")
        behind = {"REDIS_URL": self.redis_url_of(argv)}
        return self.run([*argv[:module], self.worker_module, *argv[module + 1 :]], **behind)

    def redis_url_of(self, argv: list[str]) -> str:
        """Return where a role with this command line finds Redis."""
        return self.url

    def run(self, argv: list[str], **environ: str) -> subprocess.Popen[bytes]:
        """Start any process in the stack's environment, some of it changed; it ends with the stack."""
        with (self.folder / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                argv,
                env={**self.environ, **environ},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def start_worker(self, clusters: Iterable[str] = CLUSTERS) -> subprocess.Popen[bytes]:
        """Start a worker for some clusters and wait until it serves them."""
        names = frozenset(clusters)
        process = self.start(commands.cluster_worker(sorted(names)))
        self.until(lambda: names <= self.dispatch.served(), process)
        return process

    def start_merge(self, *, with_beat: bool = False) -> subprocess.Popen[bytes]:
        """Start a merge worker; a query before it is up waits in its queue."""
        return self.start(commands.merge_worker(with_beat=with_beat))

    def until(self, happened: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait for something that must happen within 20 seconds."""
        end = time.monotonic() + 20
        while not happened():
            if time.monotonic() > end or (process is not None and process.poll() is not None):
                raise AssertionError("it did not happen:\n" + self.log()[-4000:])
            time.sleep(0.01)

    def log(self) -> str:
        """Everything the workers have logged."""
        file = self.folder / "workers.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def break_clusters(self, faults: Mapping[str, Mapping[str, Any]]) -> None:
        """Say what each cluster's backend does from the next query on; see `worker_with_faults`."""
        file = self.folder / "faults.json"
        file.with_suffix(".new").write_text(json.dumps(faults))
        file.with_suffix(".new").replace(file)

    def plan(
        self,
        text: str = f"sum({METRIC})",
        *,
        timeout_ms: int = 10_000,
        tenant_id: str = "acme",
        require: str = "best_effort",
        clusters: tuple[str, ...] = (),
        time_range: TimeRange | None = None,
    ) -> Plan:
        """Plan a metrics query, an instant one at the time the stores were written unless a range is given."""
        query = Query(
            signal="metrics",
            text=text,
            time_range=time_range or TimeRange(self.now_ms, self.now_ms),
            tenant_id=tenant_id,
            clusters=clusters,
            requirement=Requirement.parse(require),
            timeout_ms=timeout_ms,
        )
        scope = Scope(tenant_id, dict.fromkeys(CLUSTERS, ()))
        return federate.plan(
            query,
            scope,
            self.settings.clusters,
            query_id=uuid.uuid4().hex,
            served=self.dispatch.served(),
            now_ms=wall_clock_ms(),
        )

    def ask(self, **how: Any) -> Result:
        """Plan, submit and wait."""
        plan = self.plan(**how)
        self.dispatch.submit(plan)
        result = self.dispatch.wait(plan)
        assert result is not None
        return result


def verdicts(result: Result) -> dict[str, str]:
    """Return cluster → verdict."""
    return {row.cluster: row.verdict.value for row in result.coverage.clusters}


def total(result: Result) -> float:
    """Return the one value of a `sum(…)` answer; 0 where nothing is in it."""
    values = result.payload.values if result.payload is not None else ()
    return float(values[0][0]) if len(values) else 0.0


def facts(result: Result | None) -> tuple[Any, ...]:
    """Return what two readings of one result must have in common."""
    assert result is not None
    rows = [(row.cluster, row.verdict.value, row.reason, row.elapsed_ms, row.stats) for row in result.coverage.clusters]
    return result.query_id, result.status, total(result), rows, result.warnings, result.merge_ms


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listing.stdout.split()]


def running(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker as the kernel does when memory runs out: it can say nothing."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def _counter(cluster: str, now_ms: int) -> dict[str, Any]:
    points = [
        {
            "startTimeUnixNano": str((now_ms - 3_600_000) * 1_000_000),
            "timeUnixNano": str((now_ms - age_ms) * 1_000_000),
            "asInt": str(COUNTS[cluster]),
        }
        for age_ms in range(600_000, -1, -15_000)
    ]
    attributes = [
        {"key": key, "value": {"stringValue": value}}
        for key, value in (("service.name", "batch"), ("k8s.pod.name", f"batch-{cluster}"))
    ]
    counter = {"name": "jobs.done", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": points}}
    return {"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": [counter]}]}]}
