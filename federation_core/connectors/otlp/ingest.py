"""OTLP requests into a store: decode, derive, append; the one way in for files and for live telemetry.

Rule: `add` only gathers, `flush` commits: rows, derived samples and the state to go on from become visible together
or not at all. A bad record is rejected with its line and reason, never the request around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from federation_core.connectors.otlp.columns import join, log_columns, span_columns
from federation_core.connectors.otlp.derive import FOREVER, Derivation, pack, unpack
from federation_core.connectors.otlp.derive_counters import STEP_MS, step_of_ms
from federation_core.connectors.otlp.derive_index import Stored, fingerprint
from federation_core.connectors.otlp.logs import LogRow, read_logs
from federation_core.connectors.otlp.metrics import read_metrics
from federation_core.connectors.otlp.report import ImportReport
from federation_core.connectors.otlp.resources import Owner, Resource, Resources
from federation_core.connectors.otlp.samples import Samples
from federation_core.connectors.otlp.spans import SpanRow, read_spans
from federation_core.connectors.otlp.values import Json, camelise
from federation_core.connectors.stores import segments_duckdb
from federation_core.connectors.stores.segments import SegmentStore, wall_clock_ms
from federation_core.connectors.stores.segments_layout import Columns, Table
from federation_core.errors import StoreUnavailable

#: How far behind the watermark steps close while live: late enough for what an exporter sends in batches.
LAG_MS: Final = 10_000
#: Clocks further ahead than this are wrong, and would close every step up to then.
AHEAD_MS: Final = 86_400_000
_FIELDS: Final = {
    "resourceSpans": ("spans", "scopeSpans", "spans"),
    "resourceLogs": ("logs", "scopeLogs", "logRecords"),
    "resourceMetrics": ("metrics", "scopeMetrics", "metrics"),
}


class Ingest:
    """The way into one store. Not safe for use from several threads at once.

    Args:
        cluster: name of the cluster; recorded in the store. Telemetry that names another one is rejected.
        lag_ms: how far behind the watermark of a live flush steps close.
    Raises StoreUnavailable: the store holds another cluster's telemetry, or state that cannot be read.
    """

    def __init__(
        self,
        store: SegmentStore,
        *,
        cluster: str | None = None,
        lag_ms: int = LAG_MS,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        if cluster:
            store.name_cluster(cluster)
        self.store = store
        self.report = ImportReport()
        #: Progress by file, kept with the store (see `files`): first line's digest → lines done, their digest.
        self.imported: dict[str, list[Any]] = {}
        self._lag_ms, self._clock_ms = lag_ms, clock_ms
        self._resources = Resources()
        self._samples = Samples(store.series)
        self._spans: list[SpanRow] = []
        self._logs: list[LogRow] = []
        self._ready: list[tuple[Table, Columns]] = []
        self._newest_ms = 0
        self._next_ordinal = 0
        self._idle_checked_ms = 0
        span_segments = store.manifest.of("spans")
        stored_max_ns = max((s.max_ms for s in span_segments), default=0) * 1_000_000
        self._derivation = Derivation(store.series, self._stored_spans, stored_max_ns)
        if store.state:
            try:
                state = unpack(store.state)
                self._derivation.load(state)
                self.imported, self._newest_ms = state["imported"], state["newest_ms"]
                self._next_ordinal = state["next_ordinal"]
            except (ValueError, KeyError, TypeError) as error:
                raise StoreUnavailable(f"the derivation state of {store.path} cannot be read: {error}") from error

    @property
    def waiting(self) -> int:
        """Number of rows gathered and not yet flushed."""
        return len(self._spans) + len(self._logs) + len(self._samples)

    def add(self, request: Json, line: int | None = None) -> None:
        """Gather one export request: an object with resourceSpans, resourceLogs or resourceMetrics."""
        if not isinstance(request, dict):
            self.report.reject(line, "lines", f"a JSON object was expected, not {type(request).__name__}")
            return
        if any("_" in field for field in request):
            request = camelise(request)
        known = [field for field in _FIELDS if field in request]
        if not known:
            self.report.reject(line, "lines", f"none of {', '.join(_FIELDS)} in it")
        for field in known:
            signal, scopes, records = _FIELDS[field]
            for part in request[field] or ():
                try:
                    self._add_part(signal, part, scopes, records, line)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    self.report.reject(line, signal, f"malformed {field}: {error}")

    def _add_part(self, signal: str, part: Any, scopes: str, records: str, line: int | None) -> None:
        """Gather what one resource sent."""
        if scopes not in part:
            part = camelise(part)
        resource, scoped = self._resources.read(part.get("resource")), part.get(scopes) or ()
        if self._is_foreign(resource):
            count = sum(len(scope.get(records) or ()) for scope in scoped)
            mine = self.store.manifest.cluster
            self.report.reject(line, signal, f"is of cluster {resource.cluster!r}, this store is {mine!r}'s", count)
            return
        latest_ns = (self._clock_ms() + AHEAD_MS) * 1_000_000

        def reject(reason: str, count: int = 1) -> None:
            self.report.reject(line, signal, reason, count)

        if signal == "spans":
            self._spans.extend(read_spans(scoped, resource, latest_ns, reject))
        elif signal == "logs":
            before = len(self._logs)
            self._logs.extend(read_logs(scoped, resource, latest_ns, reject))
            self.report.logs += len(self._logs) - before
        else:
            before = len(self._samples)
            read_metrics(scoped, resource, latest_ns, self._samples, reject)
            self.report.samples += len(self._samples) - before

    def _is_foreign(self, resource: Resource) -> bool:
        return bool(resource.cluster and self.store.manifest.cluster not in ("", resource.cluster))

    def flush(self, watermark_ms: int | None = None) -> None:
        """Commit what was gathered, and the derived samples of every step that closes.

        With a watermark (live: the time now) steps close a little behind it; without one (the end of an
        import) all steps up to the last telemetry seen close, and no parent is waited for any longer.

        Raises StoreUnavailable: nothing was committed; what was gathered is kept, and the call may be repeated.
        """
        self._derive()
        if watermark_ms is None:
            now_ms = self._newest_ms
            self._derivation.judge_orphans(FOREVER, everything=True)
            # What came late waits in a step that may lie after the last telemetry; it closes too.
            until_step = max(step_of_ms(now_ms), self._derivation.last_waiting_step)
        else:
            now_ms = watermark_ms
            until_step = (now_ms - self._lag_ms) // STEP_MS
            self._derivation.judge_orphans(until_step)
        self._close(until_step)
        self.store.maintain(now_ms)
        self._forget_idle(now_ms)

    def spill(self) -> None:
        """Commit what was gathered without closing steps, unless memory demands it: more of an import follows.

        Raises StoreUnavailable: as `flush`.
        """
        self._derive()
        step = self._derivation.crowded_step
        if step is None:
            self._commit()
        else:
            self._derivation.judge_orphans(step)
            self._close(step)
        self.store.maintain(self._newest_ms)

    def _derive(self) -> None:
        """Turn gathered rows into columns ready to be written, and count them."""
        steps: set[int] = set()
        if self._spans:
            rows, self._spans = self._spans, []
            fresh = self._derivation.add_spans(rows)
            self.report.spans += len(fresh)
            self.report.duplicates += len(rows) - len(fresh)
            if fresh:
                columns = span_columns(fresh)
                self._ready.append(("spans", columns))
                self._note(-(-(columns["start_ns"] + columns["duration_ns"]) // 1_000_000), steps)
        if self._logs:
            logs, self._logs = self._logs, []
            self._derivation.add_logs(logs)
            columns = log_columns(logs, self._next_ordinal)
            self._next_ordinal += len(logs)
            self._ready.append(("logs", columns))
            self._note(-(-columns["t_ns"] // 1_000_000), steps)
        if len(self._samples):
            columns = self._samples.columns()
            self._ready.append(("samples", columns))
            self._note(columns["t_ms"], steps)
            self._samples.clear()
        self._derivation.touch(steps)

    def _note(self, times_ms: np.ndarray[Any, np.dtype[Any]], steps: set[int]) -> None:
        steps.update(np.unique(-(-times_ms // STEP_MS)).tolist())
        self._newest_ms = max(self._newest_ms, int(times_ms.max()))

    def _close(self, until_step: int) -> None:
        """Close steps and commit, in as many stages as memory demands."""
        for step in self._derivation.stages(until_step):
            self._ready.extend(("samples", columns) for columns in self._derivation.close(step))
            self._commit()

    def _commit(self) -> None:
        batches: dict[Table, Columns] = {}
        for table in ("spans", "logs", "samples"):
            parts = [columns for name, columns in self._ready if name == table]
            if parts:
                batches[table] = join(parts)
        state = self._derivation.dump() | {
            "imported": self.imported,
            "newest_ms": self._newest_ms,
            "next_ordinal": self._next_ordinal,
        }
        self.store.append(batches, pack(state))
        self._ready.clear()

    def _forget_idle(self, now_ms: int) -> None:
        retention_ms = self.store.retention_ms
        if retention_ms is not None and now_ms - self._idle_checked_ms > retention_ms // 8:
            self._idle_checked_ms = now_ms
            self._derivation.forget_idle(now_ms - retention_ms)

    def _stored_spans(self, trace_ids: list[str], first_ns: int, last_ns: int) -> list[Stored]:
        """Return the spans of some traces that the store holds around a time."""
        low_ms, high_ms = first_ns // 1_000_000, last_ns // 1_000_000 + 1
        segments = [s for s in self.store.manifest.of("spans") if s.overlaps(low_ms, high_ms)]
        if not segments:
            return []
        # DuckDB finds the wanted ids by the name of this variable.
        wanted = {"trace_id": np.array(trace_ids, dtype=object)}  # noqa: F841
        rows = segments_duckdb.cursor().execute(
            "SELECT trace_id, span_id, namespace, service, pod, instance, name, start_ns, duration_ns"
            f" FROM {segments_duckdb.parquet(self.store.path, segments)} SEMI JOIN wanted USING (trace_id)"
        )
        return [
            (trace_id, span_id, Owner(*owner), fingerprint(name, start_ns, duration_ns))
            for trace_id, span_id, *owner, name, start_ns, duration_ns in rows.fetchall()
        ]
